//! `tickgate record`: the stream into a file, which `tickgate ingest` can play.
//!
//! Promises: every message is written as it came, with its time; what came is on the disk a second later at
//! most; a file that is there is not touched.

use std::path::PathBuf;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::ingest::stream_settings;
use super::{Exit, Failure, Shutdown};
use crate::config::Config;
use crate::finnhub::recording::{Line, Writer, WriterError};
use crate::finnhub::stream::{self, Event};
use crate::model::WallTime;
use crate::telemetry::health::{self, Pages, Readiness};
use crate::telemetry::metrics::{Metrics, RecordMetrics};

/// How many messages wait for the disk.
const EVENTS_MAX: usize = 1024;
/// How much a crash can cost.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// The feed's part of readiness.
const FEED: &str = "feed";

/// Arguments of `tickgate record`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to make; `.gz` and `.zst` are packed
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Stops after so long
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    r#for: Option<Duration>,
}

/// Records until told to stop, or for as long as was asked for.
pub fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    let shutdown = Shutdown::on_signals().map_err(Failure::breach)?;
    let settings = stream_settings(&config.finnhub)?;
    let writer = Writer::create(&args.out).map_err(Failure::settings)?;
    let metrics = Metrics::new();
    let (shown, readiness) = (metrics.record(), Readiness::default());
    readiness.awaits(FEED, "a connection");
    let pages = Pages { metrics, readiness: readiness.clone(), instance: None };
    health::serve(config.record.http, None, pages).map_err(Failure::settings)?;
    let mut record = Record { writer, metrics: shown, readiness, messages: 0 };
    let recorded = tokio::runtime::Handle::current().block_on(record.follow(settings, args.r#for, &shutdown));
    // What there is ends well, whatever happened.
    let messages = record.messages;
    let finished = record.writer.finish();
    recorded.and(finished).map_err(Failure::breach)?;
    tracing::info!(messages, "stopped; recorded {messages} messages in `{}`", args.out.display());
    Ok(Exit::Whole)
}

struct Record {
    writer: Writer,
    metrics: RecordMetrics,
    readiness: Readiness,
    messages: u64,
}

impl Record {
    async fn follow(
        &mut self,
        settings: stream::Settings,
        lasts: Option<Duration>,
        shutdown: &Shutdown,
    ) -> Result<(), WriterError> {
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let chance = ChaCha8Rng::from_rng(&mut rand::rng());
        tokio::spawn(stream::run(settings, chance, sender));
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = std::pin::pin!(async {
            match lasts {
                Some(lasts) => drop(tokio::time::timeout(lasts, shutdown.requested()).await),
                None => shutdown.requested().await,
            }
        });
        let mut is_stopping = false;
        loop {
            let event = tokio::select! {
                biased;
                () = &mut stop, if !is_stopping => {
                    // What was received until now is still in there.
                    is_stopping = true;
                    events.close();
                    continue;
                }
                _ = flush.tick() => {
                    self.writer.flush()?;
                    continue;
                }
                event = events.recv() => event,
            };
            match event {
                Some(event) => self.take(event)?,
                None => return Ok(()),
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<(), WriterError> {
        match event {
            Event::Connected => {
                tracing::info!("connected to the feed");
                self.readiness.met(FEED);
                self.metrics.connected.set(1);
            }
            Event::Ended { end, retry_in } => {
                let wait = humantime::format_duration(Duration::from_secs(retry_in.as_secs()));
                tracing::warn!(end = end.as_str(), "{end}; tries again in {wait}; the recording has a gap");
                self.readiness.awaits(FEED, format!("a connection ({end})"));
                self.metrics.connected.set(0);
            }
            Event::Received(message) => {
                self.messages += 1;
                self.metrics.messages.inc();
                self.metrics.size.inc_by(message.len() as u64);
                self.writer.write(&Line { at: WallTime::now().0, message })?;
            }
        }
        Ok(())
    }
}
