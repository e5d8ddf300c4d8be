//! The parts of `record` and `simulate`.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::Metrics;
use crate::finnhub::simulator::FaultKind;

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

impl Metrics {
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
                "kind",
                &FaultKind::ALL.map(FaultKind::name).each_ref().map(String::as_str),
            ),
            connections: self.gauge("tickgate_simulate_connections", "Connections that are open."),
        }
    }
}
