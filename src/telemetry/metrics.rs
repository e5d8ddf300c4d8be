//! THE table of metrics: every one that any role shows, with its name, unit and help.
//!
//! Handles are cheap to clone and to use from any thread. A role registers its own part only: a gauge
//! that nobody sets would be a false zero. A test holds each help text equal to its field's doc comment;
//! `docs/metrics.md` is made from the table, and `prometheus/` and `grafana/` may name nothing that is not in it.

mod feed;
mod ingest;
mod lag;
mod serve;
mod sink;
mod table;

use std::sync::{Arc, Mutex};

use prometheus::{
    Encoder, Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
    process_collector::ProcessCollector,
};

use crate::model::{Kind as Header, Rule, Severity};
use table::plain;

pub use feed::{RecordMetrics, SimulateMetrics};
pub use ingest::IngestMetrics;
pub use lag::{Lag, Standing};
pub use serve::ServeMetrics;
pub use sink::SinkMetrics;
pub use table::{Entry, Kind};

/// What `/metrics` shows of this process.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    entries: Arc<Mutex<Vec<Entry>>>,
}

/// What `process` counts.
#[derive(Debug, Clone)]
pub struct GateMetrics {
    /// Records of staging in committed rounds, by result: accepted, rejected, removed, unsendable.
    pub records: IntCounterVec,
    /// Broken rules in rejections; a record counts once for each rule it breaks.
    pub rejections: IntCounterVec,
    /// Accepted records that are marked as suspect, by rule.
    pub suspects: IntCounterVec,
    /// Events written to `bad_data`, by kind.
    pub events: IntCounterVec,
    /// Rounds, by outcome: committed, aborted, fenced, unknown.
    pub rounds: IntCounterVec,
    /// Seconds from a round's first record to its commit.
    pub round_duration: Histogram,
    /// Records in a committed round.
    pub round_records: Histogram,
    /// Seconds from a record's Kafka time to the commit of its round.
    pub append_to_commit: Histogram,
    /// Seconds from a record's event time to the commit of its round.
    pub event_to_commit: Histogram,
    /// When a round was last committed, in seconds since 1970.
    pub last_commit_timestamp: Gauge,
    /// Partitions of staging that this instance owns.
    pub partitions_assigned: IntGauge,
    /// Changelog rows read to restore.
    pub restored_rows: IntCounter,
    /// Seconds from a partition's assignment until its state was up to date.
    pub restore_duration: Histogram,
    /// Changelog rows that restores under way have yet to read, at most.
    pub restore_left: IntGauge,
    /// Partitions of the changelog that this instance follows as a replica.
    pub replica_partitions: IntGauge,
    /// Changelog offsets that the replica has not taken in yet, over all partitions that it follows.
    pub replica_lag: IntGauge,
    /// Changelog rows that the replica has taken in.
    pub replica_rows: IntCounter,
    /// Dead owners' transactional ids fenced.
    pub fenced: IntCounter,
    /// Rebalances of the group seen here.
    pub rebalances: IntCounter,
    /// Partitions that this instance is taking over and does not read yet.
    pub partitions_restoring: IntGauge,
    /// Symbols that are silent now, by the highest level reported.
    pub stale_symbols: IntGaugeVec,
    /// Classes that are silent as a whole, of those whose home is here.
    pub silent_feeds: IntGauge,
    /// Symbols that are watched.
    pub symbols: IntGauge,
    /// Size of the store on disk.
    pub store_size: IntGauge,
    /// Rows in the store, as `RocksDB` estimates them.
    pub store_keys: IntGauge,
    /// What is free on the disk that the store is on.
    pub disk_free: IntGauge,
    /// The size of the disk that the store is on.
    pub disk_size: IntGauge,
    /// Lag of the partitions that this instance owns.
    pub lag: Lag,
}

impl Metrics {
    /// A table with what every process shows: its version, and the system's view of it.
    pub fn new() -> Self {
        let table = Self { registry: Registry::new(), entries: Arc::default() };
        plain(table.registry.register(Box::new(ProcessCollector::for_self())));
        let help = "The running version, and whether it is a build for tests; always 1.";
        let for_tests = if cfg!(feature = "fault-points") { "yes" } else { "no" };
        table
            .gauges("tickgate_build_info", help, &["version", "for_tests"], &[])
            .with_label_values(&[env!("CARGO_PKG_VERSION"), for_tests])
            .set(1);
        table
    }

    /// Adds the gate's part; at most once.
    #[allow(clippy::too_many_lines)] // a table: an entry for each metric
    pub fn gate(&self) -> GateMetrics {
        GateMetrics {
            records: self.counters(
                "tickgate_records_total",
                "Records of staging in committed rounds, by result: accepted, rejected, removed, unsendable.",
                "result",
                &["accepted", "rejected", "removed", "unsendable"],
            ),
            rejections: self.counters(
                "tickgate_rejections_total",
                "Broken rules in rejections; a record counts once for each rule it breaks.",
                "rule",
                &rules(Rule::may_reject),
            ),
            suspects: self.counters(
                "tickgate_suspects_total",
                "Accepted records that are marked as suspect, by rule.",
                "rule",
                &rules(|rule| rule.severity() == Severity::Suspect),
            ),
            events: self.counters(
                "tickgate_events_total",
                "Events written to `bad_data`, by kind.",
                "kind",
                &[Header::Stale, Header::Recovered, Header::FeedSilent, Header::FeedRecovered].map(Header::name),
            ),
            rounds: self.counters(
                "tickgate_rounds_total",
                "Rounds, by outcome: committed, aborted, fenced, unknown.",
                "outcome",
                &["committed", "aborted", "fenced", "unknown"],
            ),
            round_duration: self.seconds(
                "tickgate_round_duration_seconds",
                "Seconds from a round's first record to its commit.",
            ),
            round_records: self.histogram(
                "tickgate_round_records",
                "Records in a committed round.",
                &[0.0, 1.0, 10.0, 100.0, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6],
            ),
            append_to_commit: self.seconds(
                "tickgate_append_to_commit_seconds",
                "Seconds from a record's Kafka time to the commit of its round.",
            ),
            event_to_commit: self.seconds(
                "tickgate_event_to_commit_seconds",
                "Seconds from a record's event time to the commit of its round.",
            ),
            last_commit_timestamp: self.moment(
                "tickgate_last_commit_timestamp_seconds",
                "When a round was last committed, in seconds since 1970.",
            ),
            partitions_assigned: self
                .gauge("tickgate_partitions_assigned", "Partitions of staging that this instance owns."),
            restored_rows: self.counter("tickgate_restored_rows_total", "Changelog rows read to restore."),
            restore_duration: self.seconds(
                "tickgate_restore_seconds",
                "Seconds from a partition's assignment until its state was up to date.",
            ),
            restore_left: self.gauge(
                "tickgate_restore_remaining_rows",
                "Changelog rows that restores under way have yet to read, at most.",
            ),
            replica_partitions: self.gauge(
                "tickgate_replica_partitions",
                "Partitions of the changelog that this instance follows as a replica.",
            ),
            replica_lag: self.gauge(
                "tickgate_replica_lag_records",
                "Changelog offsets that the replica has not taken in yet, over all partitions that it follows.",
            ),
            replica_rows: self
                .counter("tickgate_replica_rows_total", "Changelog rows that the replica has taken in."),
            fenced: self.counter("tickgate_fenced_total", "Dead owners' transactional ids fenced."),
            rebalances: self.counter("tickgate_rebalances_total", "Rebalances of the group seen here."),
            partitions_restoring: self.gauge(
                "tickgate_partitions_restoring",
                "Partitions that this instance is taking over and does not read yet.",
            ),
            stale_symbols: self.gauges(
                "tickgate_stale_symbols",
                "Symbols that are silent now, by the highest level reported.",
                &["level"],
                &["warn", "error"],
            ),
            silent_feeds: self.gauge(
                "tickgate_silent_feeds",
                "Classes that are silent as a whole, of those whose home is here.",
            ),
            symbols: self.gauge("tickgate_symbols", "Symbols that are watched."),
            store_size: self.gauge("tickgate_store_bytes", "Size of the store on disk."),
            store_keys: self.gauge("tickgate_store_keys", "Rows in the store, as `RocksDB` estimates them."),
            disk_free: self
                .gauge("tickgate_disk_free_bytes", "What is free on the disk that the store is on."),
            disk_size: self.gauge("tickgate_disk_size_bytes", "The size of the disk that the store is on."),
            lag: self.lag(),
        }
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        let encoded = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        encoded.expect("families of this table are encodable, and memory takes any bytes");
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The names of the rules of a severity.
fn rules(are: impl Fn(Rule) -> bool) -> Vec<&'static str> {
    Rule::ALL.iter().filter(|rule| are(**rule)).map(|rule| rule.name()).collect()
}

#[cfg(test)]
mod tests;
