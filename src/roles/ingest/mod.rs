//! `tickgate ingest`: the feed into `staging`.
//!
//! It doesn't judge: a trade goes on as it came, and the gate rejects it with the evidence. What can't be
//! expressed as a record of a symbol goes to `bad_data` as `not_a_trade`. Nothing is dropped while Kafka is
//! slow or away: the feed is read only as fast as records are taken.
//!
//! `source` says which feed runs and whether it does, `lease` when it may, `delivery` hands records to Kafka,
//! `status` tells people how the feed is; here they are tied together.

mod delivery;
mod lease;
mod source;
mod status;
mod term;

pub(in crate::roles) use self::source::stream_settings;

use std::future::pending;
use std::time::Duration;

use tokio::time::Instant;

use self::{
    delivery::Delivery,
    lease::Lease,
    source::{Event, Permit, Source},
    status::Status,
    term::Term,
};
use super::{Exit, Failure, Shutdown};
use crate::config::{Config, FeedMode, LeaseKind, expand_symbols};
use crate::finnhub::message::NotATradeReason;
use crate::finnhub::poll::Outcome;
use crate::finnhub::{Message, NotATrade, recording, stream};
use crate::journal::kafka::appender::Fatal;
use crate::journal::kafka::client;
use crate::journal::kafka::lease::Held;
use crate::telemetry::health::{self, Pages, Readiness};
use crate::telemetry::metrics::{IngestMetrics, Metrics};

/// How long a stop takes, acknowledgements included; 5 s are promised.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);
/// How much of it Kafka's client has to take what the feed had handed on.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long leaving the lease's group may take after everything else.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often counts are shown.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// Arguments of `tickgate ingest`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ends by itself after so long, with 0 when all that it received was delivered, or when another ingester held
    /// the lease; with 3 when there was neither a feed nor brokers to deliver to in all that time
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    lasts: Option<Duration>,
}

/// Feeds `staging` until told to stop, or for as long as asked.
pub fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    let shutdown = Shutdown::on_signals().map_err(Failure::breach)?;
    let readiness = Readiness::default();
    let term = args.lasts.map(|lasts| Term::begin(lasts, &shutdown, &readiness));
    let metrics = Metrics::new();
    let shown = metrics.ingest();
    let exit = feed(config, &shutdown, metrics, &shown, &readiness)?;
    match term {
        Some(term) if shown.delivered.get() == 0 => term.end().map(|()| exit),
        _ => Ok(exit),
    }
}

fn feed(
    config: &Config,
    shutdown: &Shutdown,
    metrics: Metrics,
    shown: &IngestMetrics,
    readiness: &Readiness,
) -> Result<Exit, Failure> {
    client::check_properties(&config.kafka).map_err(Failure::settings)?;
    let source = Source::new(&config.finnhub)?;
    let symbols = expand_symbols(&config.finnhub.symbols).len();
    let status = Status::new(shown.clone(), readiness.clone(), symbols, config.finnhub.token.clone());
    // A recording is nobody else's.
    let is_shared = config.finnhub.mode != FeedMode::File && config.ingest.lease == LeaseKind::Kafka;
    // Told before it is looked for: in between, nothing would seem to be waited for.
    delivery::awaits_brokers(readiness);
    if is_shared {
        lease::awaits_topic(readiness);
    } else {
        status.held();
    }
    let pages = Pages { metrics, readiness: readiness.clone(), instance: None };
    health::serve(config.ingest.http, None, pages).map_err(Failure::settings)?;

    if !delivery::wait_for_topics(config, readiness, shutdown)? {
        return Ok(Exit::Whole);
    }
    let delivery = Delivery::new(config, shown.clone(), readiness.clone()).map_err(Failure::settings)?;
    let lease = if is_shared {
        let Some(lease) = Lease::join(config, shown.clone(), readiness.clone(), shutdown)? else {
            return Ok(Exit::Whole);
        };
        Some(lease)
    } else {
        None
    };
    let mut ingest = Ingest { source, delivery, status, lease, is_broken: false };
    let fed = tokio::runtime::Handle::current().block_on(ingest.feed(shutdown));
    // The thread leaves the group on its own when the stop is asked for, and when the feed is let go.
    shutdown.request();
    let undelivered = ingest.delivery.finish(fed.as_ref().copied().unwrap_or(STOP_TIMEOUT));
    if let Some(lease) = ingest.lease {
        lease.finish(LEAVE_TIMEOUT);
    }
    fed.map_err(Failure::breach)?;
    Ok(if undelivered == 0 && !ingest.is_broken { Exit::Whole } else { Exit::Breach })
}

struct Ingest {
    source: Source,
    delivery: Delivery,
    status: Status,
    /// None where this ingester is alone.
    lease: Option<Lease>,
    /// Whether the feed could not be read to its end.
    is_broken: bool,
}

impl Ingest {
    /// Hands on what the feed yields until told to stop, then what it had yielded already, as far as Kafka's
    /// client takes it in time. Returns what is left of the time for a stop.
    async fn feed(&mut self, shutdown: &Shutdown) -> Result<Duration, Fatal> {
        let mut stop = std::pin::pin!(shutdown.requested());
        let mut cut_off = std::pin::pin!(async {
            shutdown.requested().await;
            let asked = Instant::now();
            tokio::time::sleep(DRAIN_TIMEOUT).await;
            asked
        });
        let mut show = tokio::time::interval(SHOW_EVERY);
        let mut asked = None;
        if self.lease.is_none() {
            self.hold(Permit(None));
        }
        loop {
            let event = tokio::select! {
                biased;
                () = &mut stop, if asked.is_none() => {
                    asked = Some(Instant::now());
                    self.source.let_go();
                    if self.source.is_over() {
                        break;
                    }
                    continue;
                }
                since = &mut cut_off => {
                    asked = Some(since);
                    break;
                }
                _ = show.tick() => {
                    self.delivery.show();
                    continue;
                }
                held = taken(&mut self.lease), if asked.is_none() => {
                    self.hold(Permit(Some(held)));
                    continue;
                }
                event = self.source.next() => event,
            };
            match event {
                Event::Over => break,
                Event::LetGo if asked.is_some() => break,
                _ => {}
            }
            tokio::select! {
                handled = self.handle(event) => handled?,
                since = &mut cut_off => {
                    // What of a message was not taken is counted as undelivered.
                    asked = Some(since);
                    break;
                }
            }
        }
        self.leave();
        Ok(STOP_TIMEOUT.saturating_sub(asked.map_or(Duration::ZERO, |asked| asked.elapsed())))
    }

    fn hold(&mut self, permit: Permit) {
        self.status.held();
        if let Some(lease) = &self.lease {
            // Not before: between the two, nothing would seem to be waited for.
            lease.taken_up();
        }
        self.source.hold(permit);
    }

    async fn handle(&mut self, event: Event) -> Result<(), Fatal> {
        match event {
            Event::Stream(stream::Event::Connected) => self.status.connected(),
            Event::Stream(stream::Event::Ended { end, retry_in }) => self.status.lost(&end, retry_in),
            Event::Stream(stream::Event::Received(bytes)) => {
                let message = Message::read(&bytes);
                self.status.received(&message);
                self.delivery.take_message(message).await?;
            }
            Event::Poll(call) => {
                self.status.called(&call);
                match call.outcome {
                    Outcome::New(value) => self.delivery.take_record(&call.symbol, &value).await?,
                    Outcome::Unreadable { bytes, reason } => {
                        self.delivery.take_other(NotATrade { bytes: &bytes, reason }).await?;
                    }
                    _ => {}
                }
            }
            Event::File(event) => {
                self.status.played(&event);
                match event {
                    recording::Event::Received(bytes) => {
                        let message = Message::read(&bytes);
                        self.status.received(&message);
                        self.delivery.take_message(message).await?;
                    }
                    recording::Event::Damaged { bytes, .. } => {
                        let reason = NotATradeReason::DamagedLine;
                        self.delivery.take_other(NotATrade { bytes: &bytes, reason }).await?;
                    }
                    recording::Event::Finished { .. } => {}
                    recording::Event::Broken { .. } => self.is_broken = true,
                }
            }
            Event::LetGo => self.status.let_go(),
            Event::Over => {}
        }
        Ok(())
    }

    /// Counts what the feed had yielded and Kafka's client had no room for.
    fn leave(&mut self) {
        self.source.let_go();
        while let Some(event) = self.source.next_now() {
            match event {
                Event::Stream(stream::Event::Received(bytes))
                | Event::File(recording::Event::Received(bytes)) => {
                    self.delivery.forgo_message(&Message::read(&bytes));
                }
                Event::File(recording::Event::Damaged { .. }) => self.delivery.forgo_record(),
                Event::Poll(call) if matches!(call.outcome, Outcome::New(_) | Outcome::Unreadable { .. }) => {
                    self.delivery.forgo_record();
                }
                _ => {}
            }
        }
    }
}

/// Waits for the lease; for ever where there is none.
async fn taken(lease: &mut Option<Lease>) -> Held {
    match lease {
        Some(lease) => lease.taken().await,
        None => pending().await,
    }
}
