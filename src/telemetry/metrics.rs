//! THE table of metrics: every one that any role shows, with its name, unit and help.
//!
//! Handles are cheap to clone and to use from any thread. A role registers its own part only: a gauge
//! that nobody sets would be a false zero. A test holds each help text equal to its field's doc comment.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{
    Counter, Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder, core::Collector, process_collector::ProcessCollector,
};

use crate::model::Partition;

/// Partitions with a higher number have no lag of their own in `/metrics`, only a share of the sum: a label
/// value each would cost the monitoring more than it tells.
const LABELLED_PARTITIONS: Partition = 256;

/// What `/metrics` shows of this process.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
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
    /// Symbols that are silent now, by level.
    pub stale_symbols: IntGaugeVec,
    /// Symbols that are watched.
    pub symbols: IntGauge,
    /// Size of the store on disk.
    pub store_size: IntGauge,
    /// Lag of the partitions that this instance owns.
    pub lag: Lag,
}

/// How many records of staging are appended but not yet committed by the group.
#[derive(Debug, Clone)]
pub struct Lag {
    /// Records of staging that are not yet committed by the group, over all partitions owned.
    sum: IntGauge,
    /// Records of staging that are not yet committed by the group, by partition.
    by_partition: IntGaugeVec,
    known: Arc<Mutex<BTreeMap<Partition, i64>>>,
}

/// What `ingest` counts.
#[derive(Debug, Clone)]
pub struct IngestMetrics {
    /// Messages received from the feed, by kind.
    pub messages: IntCounterVec,
    /// Trades received from the feed.
    pub trades: IntCounter,
    /// Calls of the REST interface, by outcome.
    pub calls: IntCounterVec,
    /// Connections to the feed after the first.
    pub reconnects: IntCounter,
    /// Records that `staging` and `bad_data` have acknowledged.
    pub delivered: IntCounter,
    /// Records that were refused for good.
    pub delivery_failures: IntCounter,
    /// Whether the feed is connected, or answers: 1 or 0.
    pub connected: IntGauge,
    /// Whether this ingester holds the lease on the feed: 1 or 0.
    pub lease_held: IntGauge,
    /// Parts of messages that could not be read as a trade, by reason.
    pub not_trades: IntCounterVec,
    /// Connections to the feed that ended or failed, by how.
    pub ends: IntCounterVec,
    /// Records handed to Kafka's client and not acknowledged yet.
    pub in_flight: IntGauge,
    /// Seconds that the feed was not read because Kafka's client had no room.
    pub held_back: Counter,
}

/// What `record` counts.
#[derive(Debug, Clone)]
pub struct RecordMetrics {
    /// Messages recorded.
    pub messages: IntCounter,
    /// Bytes of the messages recorded, before packing.
    pub size: IntCounter,
    /// Whether the feed that is recorded is connected: 1 or 0.
    pub connected: IntGauge,
}

/// What `simulate` counts.
#[derive(Debug, Clone)]
pub struct SimulateMetrics {
    /// Trades sent to subscribers, spoilt ones included.
    pub sent: IntCounter,
    /// Trades not sent because their symbol is made silent.
    pub silenced: IntCounter,
    /// Spoilt trades sent, by kind of fault.
    pub spoilt: IntCounterVec,
    /// Connections that are open.
    pub connections: IntGauge,
}

/// What `sink` counts.
#[derive(Debug, Clone)]
pub struct SinkMetrics {
    /// Rows of `stock` that Cassandra has acknowledged.
    pub rows: IntCounter,
    /// Rows of `latest` that Cassandra has acknowledged.
    pub latest: IntCounter,
    /// Writes that are tried again, by reason.
    pub retries: IntCounterVec,
    /// Records that became dead letters, by reason.
    pub refused: IntCounterVec,
    /// Writes that Cassandra has not answered yet.
    pub in_flight: IntGauge,
    /// Dead letters that the brokers have not acknowledged yet.
    pub letters: IntGauge,
    /// Bytes of the records that are read and not done.
    pub bytes: IntGauge,
    /// Whether fetching pauses because Cassandra is slow: 1 or 0.
    pub held: IntGauge,
    /// Seconds from a write's last attempt to its answer.
    pub write_duration: Histogram,
    /// When offsets of `stock_data` were last committed, in seconds since 1970.
    pub last_commit_timestamp: Gauge,
    /// Partitions of `stock_data` that this instance loads.
    pub partitions_assigned: IntGauge,
    /// Records of `stock_data` that are not yet committed by the sink's group, over all partitions loaded here.
    pub lag: IntGauge,
}

impl Metrics {
    /// A table with what every process shows: its version, and the system's view of it.
    pub fn new() -> Self {
        let table = Self { registry: Registry::new() };
        plain(table.registry.register(Box::new(ProcessCollector::for_self())));
        let help = "The running version; always 1.";
        table
            .gauges("tickgate_build_info", help, &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
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
                &["result"],
            ),
            rejections: self.counters(
                "tickgate_rejections_total",
                "Broken rules in rejections; a record counts once for each rule it breaks.",
                &["rule"],
            ),
            suspects: self.counters(
                "tickgate_suspects_total",
                "Accepted records that are marked as suspect, by rule.",
                &["rule"],
            ),
            events: self.counters(
                "tickgate_events_total",
                "Events written to `bad_data`, by kind.",
                &["kind"],
            ),
            rounds: self.counters(
                "tickgate_rounds_total",
                "Rounds, by outcome: committed, aborted, fenced, unknown.",
                &["outcome"],
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
            stale_symbols: self.gauges(
                "tickgate_stale_symbols",
                "Symbols that are silent now, by level.",
                &["level"],
            ),
            symbols: self.gauge("tickgate_symbols", "Symbols that are watched."),
            store_size: self.gauge("tickgate_store_bytes", "Size of the store on disk."),
            lag: self.lag(),
        }
    }

    /// Adds the part of `ingest`; at most once.
    pub fn ingest(&self) -> IngestMetrics {
        IngestMetrics {
            messages: self.counters(
                "tickgate_ingest_messages_total",
                "Messages received from the feed, by kind.",
                &["kind"],
            ),
            trades: self.counter("tickgate_ingest_trades_total", "Trades received from the feed."),
            calls: self.counters(
                "tickgate_ingest_calls_total",
                "Calls of the REST interface, by outcome.",
                &["outcome"],
            ),
            reconnects: self
                .counter("tickgate_ingest_reconnects_total", "Connections to the feed after the first."),
            delivered: self.counter(
                "tickgate_ingest_delivered_total",
                "Records that `staging` and `bad_data` have acknowledged.",
            ),
            delivery_failures: self
                .counter("tickgate_ingest_delivery_failures_total", "Records that were refused for good."),
            connected: self
                .gauge("tickgate_ingest_connected", "Whether the feed is connected, or answers: 1 or 0."),
            lease_held: self.gauge(
                "tickgate_ingest_lease_held",
                "Whether this ingester holds the lease on the feed: 1 or 0.",
            ),
            not_trades: self.counters(
                "tickgate_ingest_not_trades_total",
                "Parts of messages that could not be read as a trade, by reason.",
                &["reason"],
            ),
            ends: self.counters(
                "tickgate_ingest_connection_ends_total",
                "Connections to the feed that ended or failed, by how.",
                &["how"],
            ),
            in_flight: self.gauge(
                "tickgate_ingest_in_flight_records",
                "Records handed to Kafka's client and not acknowledged yet.",
            ),
            held_back: self.add(plain(Counter::with_opts(Opts::new(
                "tickgate_ingest_held_back_seconds_total",
                "Seconds that the feed was not read because Kafka's client had no room.",
            )))),
        }
    }

    /// Adds the part of `record`; at most once.
    pub fn record(&self) -> RecordMetrics {
        RecordMetrics {
            messages: self.counter("tickgate_record_messages_total", "Messages recorded."),
            size: self
                .counter("tickgate_record_bytes_total", "Bytes of the messages recorded, before packing."),
            connected: self.gauge(
                "tickgate_record_connected",
                "Whether the feed that is recorded is connected: 1 or 0.",
            ),
        }
    }

    /// Adds the part of `simulate`; at most once.
    pub fn simulate(&self) -> SimulateMetrics {
        SimulateMetrics {
            sent: self
                .counter("tickgate_simulate_sent_total", "Trades sent to subscribers, spoilt ones included."),
            silenced: self.counter(
                "tickgate_simulate_silenced_total",
                "Trades not sent because their symbol is made silent.",
            ),
            spoilt: self.counters(
                "tickgate_simulate_spoilt_total",
                "Spoilt trades sent, by kind of fault.",
                &["kind"],
            ),
            connections: self.gauge("tickgate_simulate_connections", "Connections that are open."),
        }
    }

    /// Adds the part of `sink`; at most once.
    pub fn sink(&self) -> SinkMetrics {
        SinkMetrics {
            rows: self
                .counter("tickgate_sink_rows_total", "Rows of `stock` that Cassandra has acknowledged."),
            latest: self
                .counter("tickgate_sink_latest_total", "Rows of `latest` that Cassandra has acknowledged."),
            retries: self.counters(
                "tickgate_sink_retries_total",
                "Writes that are tried again, by reason.",
                &["reason"],
            ),
            refused: self.counters(
                "tickgate_sink_refused_total",
                "Records that became dead letters, by reason.",
                &["reason"],
            ),
            in_flight: self
                .gauge("tickgate_sink_in_flight_writes", "Writes that Cassandra has not answered yet."),
            letters: self.gauge(
                "tickgate_sink_in_flight_letters",
                "Dead letters that the brokers have not acknowledged yet.",
            ),
            bytes: self
                .gauge("tickgate_sink_in_flight_bytes", "Bytes of the records that are read and not done."),
            held: self.gauge(
                "tickgate_sink_held",
                "Whether fetching pauses because Cassandra is slow: 1 or 0.",
            ),
            write_duration: self.seconds(
                "tickgate_sink_write_seconds",
                "Seconds from a write's last attempt to its answer.",
            ),
            last_commit_timestamp: self.moment(
                "tickgate_sink_last_commit_timestamp_seconds",
                "When offsets of `stock_data` were last committed, in seconds since 1970.",
            ),
            partitions_assigned: self.gauge(
                "tickgate_sink_partitions_assigned",
                "Partitions of `stock_data` that this instance loads.",
            ),
            lag: self.gauge(
                "tickgate_sink_lag_records",
                "Records of `stock_data` that are not yet committed by the sink's group, over all partitions loaded here.",
            ),
        }
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        let encoded = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        encoded.expect("families of this table are encodable, and memory takes any bytes");
        String::from_utf8_lossy(&text).into_owned()
    }

    fn lag(&self) -> Lag {
        Lag {
            sum: self.gauge(
                "tickgate_lag_records",
                "Records of staging that are not yet committed by the group, over all partitions owned.",
            ),
            by_partition: self.gauges(
                "tickgate_partition_lag_records",
                "Records of staging that are not yet committed by the group, by partition.",
                &["partition"],
            ),
            known: Arc::default(),
        }
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(plain(IntCounter::new(name, help)))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(plain(IntCounterVec::new(Opts::new(name, help), labels)))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(plain(IntGauge::new(name, help)))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(plain(IntGaugeVec::new(Opts::new(name, help), labels)))
    }

    fn moment(&self, name: &str, help: &str) -> Gauge {
        self.add(plain(Gauge::with_opts(Opts::new(name, help))))
    }

    fn seconds(&self, name: &str, help: &str) -> Histogram {
        self.histogram(name, help, &SECONDS)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.add(plain(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))))
    }

    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        plain(self.registry.register(Box::new(collector.clone())));
        collector
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Lag {
    /// Notes the lag of a partition that this instance owns.
    pub fn set(&self, partition: Partition, records: i64) {
        if partition < LABELLED_PARTITIONS {
            self.by_partition.with_label_values(&[partition.to_string()]).set(records);
        }
        self.change(|known| known.insert(partition, records));
    }

    /// Forgets a partition that was given up.
    pub fn forget(&self, partition: Partition) {
        // It fails when there was none.
        let _ = self.by_partition.remove_label_values(&[partition.to_string()]);
        self.change(|known| known.remove(&partition));
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<Partition, i64>) -> Option<i64>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.values().sum::<i64>();
        change(&mut known);
        self.sum.add(known.values().sum::<i64>() - before);
    }
}

/// Upper bounds of durations: from a round on an idle machine to a backlog of hours.
const SECONDS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
    14400.0,
];

fn plain<T>(made: prometheus::Result<T>) -> T {
    made.expect("names, labels and buckets of this table are legal, and each name is used once")
}

#[cfg(test)]
mod tests;
