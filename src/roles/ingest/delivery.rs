//! Records into Kafka, and what becomes of them.
//!
//! Promises: a record that was handed over is delivered once or counted; while Kafka's client has no room,
//! whoever hands records over waits; what could not be delivered when the role stops is counted and logged.
//! Deliberately not in here: where records come from.

use std::time::{Duration, Instant};

use super::super::waiting;
use super::{Failure, SHOW_EVERY, Shutdown};
use crate::config::{Config, TopicsConfig};
use crate::finnhub::{Message, NotATrade, Trade};
use crate::journal::kafka::appender::{Addition, Appender, Fatal};
use crate::journal::kafka::client::ClientError;
use crate::model::headers;
use crate::telemetry::health::Readiness;
use crate::telemetry::metrics::IngestMetrics;

/// Kafka's part of readiness.
const KAFKA: &str = "kafka";

/// Nothing is known of the brokers yet.
pub(super) fn awaits_brokers(readiness: &Readiness) {
    readiness.awaits(KAFKA, "brokers");
}

/// Waits until brokers answer and have the topics; `false` when told to stop first.
pub(super) fn wait_for_topics(
    config: &Config,
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> Result<bool, Failure> {
    let topics = [&*config.topics.staging, &config.topics.bad_data];
    let are_there = waiting::wait_for_topics(config, topics, KAFKA, readiness, shutdown)?;
    if are_there {
        readiness.met(KAFKA);
    }
    Ok(are_there)
}

/// The way into `staging` and `bad_data`.
pub(super) struct Delivery {
    topics: TopicsConfig,
    appender: Appender,
    metrics: IngestMetrics,
    readiness: Readiness,
    /// Records for staging, counted before they are handed to Kafka's client.
    trades: u64,
    /// Records for `bad_data`, likewise.
    others: u64,
    /// Delivered and failed records that the metrics show.
    shown: (u64, u64),
}

impl Delivery {
    /// A producer of its own, with nothing handed over yet.
    pub(super) fn new(
        config: &Config,
        metrics: IngestMetrics,
        readiness: Readiness,
    ) -> Result<Self, ClientError> {
        let appender = Appender::new(config, "ingest", config.ingest.max_in_flight)?;
        let topics = config.topics.clone();
        Ok(Self { topics, appender, metrics, readiness, trades: 0, others: 0, shown: (0, 0) })
    }

    /// Hands on what a message holds, waiting while Kafka is slow. Cancelled, what it had not handed on yet
    /// counts as undelivered.
    pub(super) async fn take_message(&mut self, message: Message<'_>) -> Result<(), Fatal> {
        self.count(&message);
        match message {
            Message::Ping | Message::Error(_) => {}
            Message::Unreadable(bad) => self.append_other(bad).await?,
            Message::Trades(trades) => {
                for trade in trades {
                    match trade {
                        Ok(trade) => self.append_trade(&trade).await?,
                        Err(bad) => self.append_other(bad).await?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Hands on a record for `staging`, likewise.
    pub(super) async fn take_record(&mut self, symbol: &str, value: &[u8]) -> Result<(), Fatal> {
        self.trades += 1;
        let (topic, key) = (&self.topics.staging, Some(symbol.as_bytes()));
        self.append(Addition { topic, key, value: Some(value), header: None }).await
    }

    /// Hands on what was received and is no trade, likewise.
    pub(super) async fn take_other(&mut self, bad: NotATrade<'_>) -> Result<(), Fatal> {
        self.others += 1;
        self.append_other(bad).await
    }

    /// Counts a record as undelivered.
    pub(super) fn forgo_record(&mut self) {
        self.trades += 1;
    }

    /// Counts what a message holds as undelivered.
    pub(super) fn forgo_message(&mut self, message: &Message<'_>) {
        self.count(message);
    }

    /// Brings metrics and readiness up to date.
    pub(super) fn show(&mut self) {
        self.show_waiting();
        let reports = self.appender.reports();
        let now = (reports.delivered(), reports.failed());
        self.metrics.delivered.inc_by(now.0 - self.shown.0);
        self.metrics.delivery_failures.inc_by(now.1 - self.shown.1);
        self.shown = now;
    }

    /// Flushes for `timeout` at most; how many records could not be delivered. They are lost: the feed can't
    /// send them again.
    pub(super) fn finish(mut self, timeout: Duration) -> u64 {
        self.appender.flush(timeout);
        self.show();
        let undelivered = (self.trades + self.others).saturating_sub(self.shown.0);
        let (trades, others, delivered) = (self.trades, self.others, self.shown.0);
        if undelivered == 0 {
            tracing::info!(trades, others, delivered, "stopped; everything received was delivered");
        } else {
            tracing::error!(
                trades,
                others,
                delivered,
                undelivered,
                "stopped; {undelivered} records that were received could not be delivered"
            );
        }
        undelivered
    }

    fn count(&mut self, message: &Message<'_>) {
        match message {
            Message::Ping | Message::Error(_) => {}
            Message::Unreadable(_) => self.others += 1,
            Message::Trades(trades) => {
                let good = trades.iter().filter(|trade| trade.is_ok()).count() as u64;
                self.trades += good;
                self.others += trades.len() as u64 - good;
                self.metrics.trades.inc_by(good);
            }
        }
    }

    async fn append_trade(&self, trade: &Trade<'_>) -> Result<(), Fatal> {
        let (key, value) = (Some(trade.symbol().as_bytes()), trade.staging_value());
        self.append(Addition { topic: &self.topics.staging, key, value: Some(&value), header: None }).await
    }

    async fn append_other(&self, bad: NotATrade<'_>) -> Result<(), Fatal> {
        self.metrics.not_trades.with_label_values(&[bad.reason.as_str()]).inc();
        let header = Some((headers::KIND, "not_a_trade"));
        self.append(Addition { topic: &self.topics.bad_data, key: None, value: Some(bad.bytes), header })
            .await
    }

    async fn append(&self, addition: Addition<'_>) -> Result<(), Fatal> {
        let mut appending = std::pin::pin!(self.appender.append(addition));
        let mut since = Instant::now();
        // Shows what it waits for while it waits: nothing else runs then.
        let appended = loop {
            tokio::select! {
                biased;
                appended = &mut appending => break appended,
                () = tokio::time::sleep(SHOW_EVERY) => self.show_waiting(),
            }
            self.metrics.held_back.inc_by(since.elapsed().as_secs_f64());
            since = Instant::now();
        };
        self.metrics.held_back.inc_by(since.elapsed().as_secs_f64());
        appended
    }

    fn show_waiting(&self) {
        if self.appender.reports().are_brokers_down() {
            self.readiness.awaits(KAFKA, "brokers: none is reachable");
        } else {
            self.readiness.met(KAFKA);
        }
        self.metrics.in_flight.set(i64::try_from(self.appender.in_flight()).unwrap_or(i64::MAX));
    }
}
