//! The part of `sink`.

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};

use super::Metrics;

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
                "reason",
                &[
                    "timeout", "overloaded", "unavailable", "connection", "unauthorized", "other",
                    "schema_unknown",
                ],
            ),
            refused: self.counters(
                "tickgate_sink_refused_total",
                "Records that became dead letters, by reason.",
                "reason",
                &["no_source", "bad_value", "unwritable", "refused"],
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
}
