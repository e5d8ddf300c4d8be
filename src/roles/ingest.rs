//! `tickgate ingest`: the feed into `staging`.
//!
//! It doesn't judge: a trade goes on as it came, and the gate rejects it with the evidence. What can't be
//! expressed as a record of a symbol goes to `bad_data` as `not_a_trade`. Nothing is dropped while Kafka is
//! slow or away: the websocket is read only as fast as records are taken.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;

use super::{Exit, Failure, Shutdown};
use crate::config::{Config, FinnhubConfig, Secret, expand_symbols};
use crate::finnhub::message::{Message, NotATrade};
use crate::finnhub::stream::{self, BackoffSettings, End, Endpoint, Event};
use crate::journal::kafka::appender::{self, Addition, Appender, Fatal, TopicError};
use crate::journal::kafka::client;
use crate::model::headers;
use crate::telemetry::health::{self, Pages, Readiness};
use crate::telemetry::metrics::{IngestMetrics, Metrics};

/// How many messages of the feed wait for their records to be taken.
const EVENTS_MAX: usize = 64;
/// How long a stop waits for acknowledgements; the whole stop takes 5 s at most.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a connect to the feed may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the brokers are asked for a topic that is not there.
const TOPIC_PAUSE: Duration = Duration::from_secs(1);
/// How often counts are shown.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// Parts of readiness.
const KAFKA: &str = "kafka";
const FEED: &str = "feed";

/// Arguments of `tickgate ingest`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Feeds `staging` until told to stop.
pub fn run(_args: &Args, config: &Config) -> Result<Exit, Failure> {
    let shutdown = Shutdown::on_signals().map_err(Failure::breach)?;
    client::check_properties(&config.kafka).map_err(Failure::settings)?;
    let settings = stream_settings(&config.finnhub)?;
    let metrics = Metrics::new();
    let (shown, readiness) = (metrics.ingest(), Readiness::default());
    readiness.awaits(FEED, "a connection");
    let pages = Pages { metrics, readiness: readiness.clone(), instance: None };
    health::serve(config.ingest.http, None, pages).map_err(Failure::settings)?;

    for topic in [&config.topics.staging, &config.topics.bad_data] {
        if !wait_for_topic(config, topic, &readiness, &shutdown)? {
            return Ok(Exit::Whole);
        }
    }
    let appender = Appender::new(config, "ingest", config.ingest.max_in_flight).map_err(Failure::settings)?;
    let mut ingest =
        Ingest { config, appender, metrics: shown, readiness, trades: 0, others: 0, shown: (0, 0) };
    let fed = tokio::runtime::Handle::current().block_on(ingest.feed(settings, &shutdown));
    let undelivered = ingest.finish();
    fed.map_err(Failure::breach)?;
    Ok(if undelivered == 0 { Exit::Whole } else { Exit::Breach })
}

fn stream_settings(finnhub: &FinnhubConfig) -> Result<stream::Settings, Failure> {
    let token = finnhub.token.as_ref().map(Secret::reveal);
    // A simulator takes any token; the real feed is not to be bothered with a made-up one.
    let token = match token {
        Some(token) => token,
        None if finnhub.url.starts_with("ws://") => "simulated",
        None => {
            return Err(Failure::settings(anyhow::anyhow!(
                "expected Finnhub's token in `TICKGATE_FINNHUB__TOKEN` or a file with it in \
                 `TICKGATE_FINNHUB__TOKEN_FILE`, found none; only a `ws://` feed (the simulator) needs none"
            )));
        }
    };
    Ok(stream::Settings {
        endpoint: Endpoint::new(&finnhub.url, token).map_err(Failure::settings)?,
        symbols: expand_symbols(&finnhub.symbols),
        silent_after: finnhub.silent_after,
        connect_timeout: CONNECT_TIMEOUT,
        backoff: BackoffSettings::default(),
    })
}

/// Waits until brokers answer and have `topic`; `false` when told to stop first.
fn wait_for_topic(
    config: &Config,
    topic: &str,
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> Result<bool, Failure> {
    let mut said = String::new();
    loop {
        match appender::check_topic(config, topic) {
            Ok(()) => {
                readiness.met(KAFKA);
                return Ok(true);
            }
            Err(TopicError::Client(error)) => return Err(Failure::settings(error)),
            Err(error) => {
                readiness.awaits(KAFKA, format!("topic `{topic}`: {error}"));
                if said != error.to_string() {
                    said = error.to_string();
                    tracing::warn!("waits for topic `{topic}`: {said}");
                }
            }
        }
        if shutdown.wait(TOPIC_PAUSE) {
            return Ok(false);
        }
    }
}

struct Ingest<'a> {
    config: &'a Config,
    appender: Appender,
    metrics: IngestMetrics,
    readiness: Readiness,
    /// Records for staging, counted before they are handed to the producer.
    trades: u64,
    /// Records for `bad_data`, likewise.
    others: u64,
    /// Delivered and failed records that the metrics show.
    shown: (u64, u64),
}

impl Ingest<'_> {
    async fn feed(&mut self, settings: stream::Settings, shutdown: &Shutdown) -> Result<(), Fatal> {
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let symbols = settings.symbols.len();
        let chance = ChaCha8Rng::from_rng(&mut rand::rng());
        tokio::spawn(stream::run(settings, chance, sender));
        let mut stop = std::pin::pin!(shutdown.requested());
        let mut show = tokio::time::interval(SHOW_EVERY);
        let mut connects = 0_u64;
        loop {
            let event = tokio::select! {
                () = &mut stop => return Ok(()),
                _ = show.tick() => {
                    self.show();
                    continue;
                }
                event = events.recv() => match event {
                    Some(event) => event,
                    None => return Ok(()),
                },
            };
            match event {
                Event::Connected => {
                    connects += 1;
                    self.connected(connects, symbols);
                }
                Event::Ended { end, retry_in } => self.ended(&end, retry_in),
                Event::Received(bytes) => tokio::select! {
                    taken = self.take(&bytes) => taken?,
                    // What of the message was not taken is counted as undelivered.
                    () = &mut stop => return Ok(()),
                },
            }
        }
    }

    fn connected(&self, connects: u64, symbols: usize) {
        tracing::info!(symbols, "connected to the feed; subscribes to {symbols} symbols");
        self.readiness.met(FEED);
        self.metrics.connected.set(1);
        if connects > 1 {
            self.metrics.reconnects.inc();
        }
    }

    fn ended(&self, end: &End, retry_in: Duration) {
        let wait = humantime::format_duration(Duration::from_millis(
            u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX),
        ));
        tracing::warn!(end = end.as_str(), "{end}; tries again in {wait}");
        self.readiness.awaits(FEED, format!("a connection ({end})"));
        self.metrics.connected.set(0);
        self.metrics.ends.with_label_values(&[end.as_str()]).inc();
    }

    /// Hands on every trade of a message, waiting while Kafka is slow.
    async fn take(&mut self, bytes: &[u8]) -> Result<(), Fatal> {
        let message = Message::read(bytes);
        let kind = match &message {
            Message::Trades(_) => "trade",
            Message::Ping => "ping",
            Message::Error(_) => "error",
            Message::Unreadable(_) => "unreadable",
        };
        self.metrics.messages.with_label_values(&[kind]).inc();
        match message {
            Message::Ping => {}
            Message::Error(words) => tracing::error!("the feed complains: {words}"),
            Message::Unreadable(bad) => {
                self.others += 1;
                self.take_other(bad).await?;
            }
            Message::Trades(trades) => {
                let good = trades.iter().filter(|trade| trade.is_ok()).count() as u64;
                self.trades += good;
                self.others += trades.len() as u64 - good;
                self.metrics.trades.inc_by(good);
                for trade in trades {
                    match trade {
                        Ok(trade) => {
                            let (key, value) = (Some(trade.symbol().as_bytes()), trade.staging_value());
                            let topic = &self.config.topics.staging;
                            self.append(Addition { topic, key, value: &value, header: None }).await?;
                        }
                        Err(bad) => self.take_other(bad).await?,
                    }
                }
            }
        }
        Ok(())
    }

    async fn take_other(&self, bad: NotATrade<'_>) -> Result<(), Fatal> {
        self.metrics.not_trades.with_label_values(&[bad.reason.as_str()]).inc();
        let header = Some((headers::KIND, "not_a_trade"));
        let topic = &self.config.topics.bad_data;
        self.append(Addition { topic, key: None, value: bad.bytes, header }).await
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
        self.show_readiness();
        self.metrics.in_flight.set(i64::try_from(self.appender.in_flight()).unwrap_or(i64::MAX));
    }

    fn show_readiness(&self) {
        if self.appender.reports().are_brokers_down() {
            self.readiness.awaits(KAFKA, "brokers: none is reachable");
        } else {
            self.readiness.met(KAFKA);
        }
    }

    fn show(&mut self) {
        self.show_waiting();
        let reports = self.appender.reports();
        let now = (reports.delivered(), reports.failed());
        self.metrics.delivered.inc_by(now.0 - self.shown.0);
        self.metrics.delivery_failures.inc_by(now.1 - self.shown.1);
        self.shown = now;
    }

    /// Flushes; what is left then, or was refused, is lost: the feed can't send it again.
    fn finish(&mut self) -> u64 {
        self.appender.flush(FLUSH_TIMEOUT);
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
}
