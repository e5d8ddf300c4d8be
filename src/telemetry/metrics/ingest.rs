//! The part of `ingest`.

use prometheus::{Counter, Gauge, IntCounter, IntCounterVec, IntGauge};

use super::Metrics;
use crate::finnhub::message::NotATradeReason;

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
    /// When the feed last sent or answered something, pings too, in seconds since 1970; 0 before.
    pub last_message_timestamp: Gauge,
}

impl Metrics {
    /// Adds the part of `ingest`; at most once.
    pub fn ingest(&self) -> IngestMetrics {
        IngestMetrics {
            messages: self.counters(
                "tickgate_ingest_messages_total",
                "Messages received from the feed, by kind.",
                "kind",
                &["trade", "ping", "error", "unreadable", "damaged"],
            ),
            trades: self.counter("tickgate_ingest_trades_total", "Trades received from the feed."),
            calls: self.counters(
                "tickgate_ingest_calls_total",
                "Calls of the REST interface, by outcome.",
                "outcome",
                &[
                    "new",
                    "unchanged",
                    "unknown",
                    "denied",
                    "unreadable",
                    "limited",
                    "unauthorized",
                    "status",
                    "no_answer",
                    "too_large",
                    "broken",
                ],
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
                "reason",
                &NotATradeReason::ALL.map(NotATradeReason::as_str),
            ),
            ends: self.counters(
                "tickgate_ingest_connection_ends_total",
                "Connections to the feed that ended or failed, by how.",
                "how",
                &["silent", "taken_over", "closed", "refused", "no_answer", "broken"],
            ),
            in_flight: self.gauge(
                "tickgate_ingest_in_flight_records",
                "Records handed to Kafka's client and not acknowledged yet.",
            ),
            held_back: self.total(
                "tickgate_ingest_held_back_seconds_total",
                "Seconds that the feed was not read because Kafka's client had no room.",
            ),
            last_message_timestamp: self.moment(
                "tickgate_ingest_last_message_timestamp_seconds",
                "When the feed last sent or answered something, pings too, in seconds since 1970; 0 before.",
            ),
        }
    }
}
