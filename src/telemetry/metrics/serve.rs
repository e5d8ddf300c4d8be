//! The part of `serve`.

use prometheus::{IntCounterVec, IntGauge};

use super::Metrics;

/// What `serve` counts.
#[derive(Debug, Clone)]
pub struct ServeMetrics {
    /// Records read, by topic: `stock_data`, `bad_data`.
    pub records: IntCounterVec,
    /// Requests answered, by class of status: 2xx (and below 400), 4xx, 5xx.
    pub requests: IntCounterVec,
    /// Pages that are kept up to date.
    pub streams: IntGauge,
}

impl Metrics {
    /// Adds the part of `serve`; at most once.
    pub fn serve(&self) -> ServeMetrics {
        ServeMetrics {
            records: self.counters(
                "tickgate_serve_records_total",
                "Records read, by topic: `stock_data`, `bad_data`.",
                "topic",
                &["stock_data", "bad_data"],
            ),
            requests: self.counters(
                "tickgate_serve_requests_total",
                "Requests answered, by class of status: 2xx (and below 400), 4xx, 5xx.",
                "status",
                &["2xx", "4xx", "5xx"],
            ),
            streams: self.gauge("tickgate_serve_streams", "Pages that are kept up to date."),
        }
    }
}
