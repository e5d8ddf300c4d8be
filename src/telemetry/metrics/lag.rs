//! How far behind an instance is, over all its workers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{Gauge, IntGauge, IntGaugeVec};

use super::Metrics;
use crate::model::Partition;

/// Partitions with a higher number have no lag of their own in `/metrics`, only a share of the sum: a label
/// value each would cost the monitoring more than it tells.
const LABELLED_PARTITIONS: Partition = 256;

/// How many records of staging are appended but not yet committed by the group, and for how long.
#[derive(Debug, Clone)]
pub struct Lag {
    /// Records of staging that are not yet committed by the group, over all partitions owned.
    sum: IntGauge,
    /// Records of staging that are not yet committed by the group, by partition.
    by_partition: IntGaugeVec,
    /// For how many seconds the oldest record that is not yet committed by the group has waited.
    seconds: Gauge,
    /// Records of staging that no reader gets to see yet because a transaction upstream is open.
    gap: IntGauge,
    /// For how many seconds an open transaction upstream has held a partition's last stable offset in place.
    gap_seconds: Gauge,
    /// When the ends of all partitions owned were last known, in seconds since 1970.
    known_timestamp: Gauge,
    known: Arc<Mutex<BTreeMap<Partition, Standing>>>,
}

/// How a partition of staging stood when its ends were last asked for. Times are in ms since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Records that are appended and not committed by the group.
    pub records: i64,
    /// Since when the oldest of them waits.
    pub waits_since_ms: Option<i64>,
    /// Records above the last stable offset.
    pub gap: i64,
    /// Since when the last stable offset stands still below them.
    pub stuck_since_ms: Option<i64>,
    /// When the ends were asked for.
    pub asked_ms: i64,
}

impl Lag {
    /// Notes how a partition stands that this instance owns.
    pub fn set(&self, partition: Partition, standing: Standing) {
        if partition < LABELLED_PARTITIONS {
            self.by_partition.with_label_values(&[partition.to_string()]).set(standing.records);
        }
        self.change(standing.asked_ms, |known| {
            known.insert(partition, standing);
        });
    }

    /// Forgets a partition that was given up.
    pub fn forget(&self, partition: Partition, now_ms: i64) {
        // It fails when there was none.
        let _ = self.by_partition.remove_label_values(&[partition.to_string()]);
        self.change(now_ms, |known| {
            known.remove(&partition);
        });
    }

    /// Lets time pass: to be called now and then, as a worker that is held up calls nothing.
    pub fn pass_time(&self, now_ms: i64) {
        self.change(now_ms, |_| {});
    }

    #[allow(clippy::cast_precision_loss)] // ms since 1970 are far below 2^52
    fn change(&self, now_ms: i64, change: impl FnOnce(&mut BTreeMap<Partition, Standing>)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        let all = || known.values();
        let since = |moment: Option<i64>| moment.map_or(0.0, |ms| (now_ms - ms).max(0) as f64 / 1e3);
        self.sum.set(all().map(|standing| standing.records).sum());
        self.seconds.set(since(all().filter_map(|standing| standing.waits_since_ms).min()));
        self.gap.set(all().map(|standing| standing.gap).sum());
        self.gap_seconds.set(since(all().filter_map(|standing| standing.stuck_since_ms).min()));
        let asked_ms = all().map(|standing| standing.asked_ms).min().unwrap_or(now_ms);
        self.known_timestamp.set(asked_ms as f64 / 1e3);
    }
}

impl Metrics {
    pub(super) fn lag(&self) -> Lag {
        Lag {
            sum: self.gauge(
                "tickgate_lag_records",
                "Records of staging that are not yet committed by the group, over all partitions owned.",
            ),
            by_partition: self.gauges(
                "tickgate_partition_lag_records",
                "Records of staging that are not yet committed by the group, by partition.",
                &["partition"],
                &[],
            ),
            seconds: self.moment(
                "tickgate_lag_seconds",
                "For how many seconds the oldest record that is not yet committed by the group has waited.",
            ),
            gap: self.gauge(
                "tickgate_stable_gap_records",
                "Records of staging that no reader gets to see yet because a transaction upstream is open.",
            ),
            gap_seconds: self.moment(
                "tickgate_stable_gap_seconds",
                "For how many seconds an open transaction upstream has held a partition's last stable offset in place.",
            ),
            known_timestamp: self.moment(
                "tickgate_lag_known_timestamp_seconds",
                "When the ends of all partitions owned were last known, in seconds since 1970.",
            ),
            known: Arc::default(),
        }
    }
}
