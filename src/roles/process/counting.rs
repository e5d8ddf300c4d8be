//! What a round will have counted once it is committed: an aborted round counts nothing.

use std::collections::BTreeMap;

use crate::core::Output;
use crate::model::Partition;
use crate::telemetry::metrics::GateMetrics;

/// One open round's counts.
#[derive(Default)]
pub(super) struct Tally {
    accepted: u64,
    rejected: u64,
    removed: u64,
    unsendable: u64,
    rules: BTreeMap<&'static str, u64>,
    suspects: BTreeMap<&'static str, u64>,
    events: BTreeMap<&'static str, u64>,
    /// Kafka times of the records, ms since 1970.
    kafka_times: Vec<i64>,
    /// The newest of them in each run of records of one partition; the last run of a partition counts.
    newest: Vec<(Partition, i64)>,
    /// Event times of the accepted ones, ms since 1970.
    event_times: Vec<i64>,
    began_ms: Option<i64>,
}

impl Tally {
    pub(super) fn begin(&mut self, monotonic_ms: i64) {
        *self = Self { began_ms: Some(monotonic_ms), ..Self::default() };
    }

    /// Takes in what is sent; partition and Kafka time are its input's.
    pub(super) fn output(&mut self, output: &Output, partition: Partition, kafka_time: Option<i64>) {
        if let Some(kafka_time) = kafka_time {
            match self.newest.last_mut() {
                Some((last, newest)) if *last == partition => *newest = kafka_time,
                _ => self.newest.push((partition, kafka_time)),
            }
        }
        match output {
            Output::Forward { suspects, event_time, .. } => {
                self.accepted += 1;
                self.event_times.push(*event_time);
                self.kafka_times.extend(kafka_time);
                for rule in suspects.iter() {
                    *self.suspects.entry(rule.name()).or_default() += 1;
                }
            }
            Output::Reject { rules, .. } => {
                self.rejected += 1;
                self.kafka_times.extend(kafka_time);
                for rule in rules {
                    *self.rules.entry(rule.name()).or_default() += 1;
                }
            }
            Output::Remove { .. } => self.removed += 1,
            Output::Unsendable { .. } => self.unsendable += 1,
            Output::Event { kind, .. } => *self.events.entry(kind.name()).or_default() += 1,
        }
    }

    /// The round is committed: count it. Returns the Kafka times of the newest records by partition, of which the
    /// last one of a partition counts.
    #[allow(clippy::cast_precision_loss)] // milliseconds and counts far below 2^52
    pub(super) fn commit(
        &mut self,
        metrics: &GateMetrics,
        wall_ms: i64,
        monotonic_ms: i64,
    ) -> Vec<(Partition, i64)> {
        let tally = std::mem::take(self);
        for (result, count) in [
            ("accepted", tally.accepted),
            ("rejected", tally.rejected),
            ("removed", tally.removed),
            ("unsendable", tally.unsendable),
        ] {
            metrics.records.with_label_values(&[result]).inc_by(count);
        }
        for (rule, count) in tally.rules {
            metrics.rejections.with_label_values(&[rule]).inc_by(count);
        }
        for (rule, count) in tally.suspects {
            metrics.suspects.with_label_values(&[rule]).inc_by(count);
        }
        for (kind, count) in tally.events {
            metrics.events.with_label_values(&[kind]).inc_by(count);
        }
        metrics.rounds.with_label_values(&["committed"]).inc();
        let records = tally.accepted + tally.rejected + tally.removed + tally.unsendable;
        metrics.round_records.observe(records as f64);
        if let Some(began_ms) = tally.began_ms {
            metrics.round_duration.observe((monotonic_ms - began_ms) as f64 / 1e3);
        }
        for (histogram, times) in
            [(&metrics.append_to_commit, tally.kafka_times), (&metrics.event_to_commit, tally.event_times)]
        {
            let latency = histogram.local();
            for time in times {
                latency.observe(wall_ms.saturating_sub(time).max(0) as f64 / 1e3);
            }
            latency.flush();
        }
        metrics.last_commit_timestamp.set(wall_ms as f64 / 1e3);
        tally.newest
    }
}
