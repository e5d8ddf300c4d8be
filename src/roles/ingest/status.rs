//! How the feed is, for people: the log, readiness, metrics.

use std::time::Duration;

use crate::finnhub::Message;
use crate::finnhub::stream::End;
use crate::telemetry::health::Readiness;
use crate::telemetry::metrics::IngestMetrics;

/// The feed's part of readiness.
const FEED: &str = "feed";

/// Tells what happens to the feed.
pub(super) struct Status {
    metrics: IngestMetrics,
    readiness: Readiness,
    /// How many symbols are subscribed to.
    symbols: usize,
    connects: u64,
}

impl Status {
    /// A feed that is not there yet, and asks for so many symbols.
    pub(super) fn new(metrics: IngestMetrics, readiness: Readiness, symbols: usize) -> Self {
        Self { metrics, readiness, symbols, connects: 0 }
    }

    /// The feed is to be connected.
    pub(super) fn held(&self) {
        self.readiness.awaits(FEED, "a connection");
    }

    /// The feed is closed, and is to be.
    pub(super) fn let_go(&self) {
        tracing::info!("let the feed go; nothing of it is open");
        self.readiness.met(FEED);
        self.metrics.connected.set(0);
    }

    /// A connection is open.
    pub(super) fn connected(&mut self) {
        let symbols = self.symbols;
        tracing::info!(symbols, "connected to the feed; subscribes to {symbols} symbols");
        self.readiness.met(FEED);
        self.metrics.connected.set(1);
        self.connects += 1;
        if self.connects > 1 {
            self.metrics.reconnects.inc();
        }
    }

    /// The connection ended, or none was to be had.
    pub(super) fn lost(&self, end: &End, retry_in: Duration) {
        tracing::warn!(end = end.as_str(), "{end}; tries again in {}", in_words(retry_in));
        self.readiness.awaits(FEED, format!("a connection ({end})"));
        self.metrics.connected.set(0);
        self.metrics.ends.with_label_values(&[end.as_str()]).inc();
    }

    /// A message came.
    pub(super) fn received(&self, message: &Message<'_>) {
        let kind = match message {
            Message::Trades(_) => "trade",
            Message::Ping => "ping",
            Message::Error(_) => "error",
            Message::Unreadable(_) => "unreadable",
        };
        self.metrics.messages.with_label_values(&[kind]).inc();
        if let Message::Error(words) = message {
            tracing::error!("the feed complains: {words}");
        }
    }
}

/// Rounded to what people read.
fn in_words(wait: Duration) -> String {
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}
