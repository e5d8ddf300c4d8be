//! The lease on the feed, shared by the ingesters of one token: a thread serves its group and tells when the
//! feed may be held. People are told here who holds it, and why not.
//!
//! Deliberately not in here: what makes it safe ([`crate::journal::kafka::lease`]), and the feed.

use std::future::pending;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use tokio::runtime::Handle;
use tokio::sync::mpsc as tasks;

use super::{Failure, Shutdown};
use crate::config::Config;
use crate::journal::kafka::appender::{self, TopicError};
use crate::journal::kafka::client::{self, ClientError};
use crate::journal::kafka::lease::{self, Candidate, Change, CreateError, Held, Loss};
use crate::telemetry::health::Readiness;
use crate::telemetry::metrics::IngestMetrics;
use crate::telemetry::rarely::{REMINDER_EVERY, Rarely};

/// The lease's part of readiness.
const LEASE: &str = "lease";
/// One wait for the group.
const TURN: Duration = Duration::from_millis(50);
/// How long leaving the group may take; the whole stop takes 5 s at most.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);
/// How often the brokers are asked for the lease's topic.
const TOPIC_PAUSE: Duration = Duration::from_millis(200);
/// Terms that wait to be taken up; the next one begins only when the last is over.
const TERMS_MAX: usize = 1;

/// Nothing is known of the lease yet.
pub(super) fn awaits_topic(readiness: &Readiness) {
    readiness.awaits(LEASE, "its topic");
}

/// A member of the lease's group.
pub(super) struct Lease {
    terms: tasks::Receiver<Held>,
    /// Closed when the group is left.
    left: mpsc::Receiver<()>,
    readiness: Readiness,
}

impl Lease {
    /// Joins the group once there is its topic, which it makes; `None` when told to stop first. Needs a tokio
    /// runtime, and blocks.
    pub(super) fn join(
        config: &Config,
        metrics: IngestMetrics,
        readiness: Readiness,
        shutdown: &Shutdown,
    ) -> Result<Option<Self>, Failure> {
        let topic = config.lease_topic();
        if !wait_for_topic(config, &topic, &readiness, shutdown)? {
            return Ok(None);
        }
        readiness.awaits(LEASE, "a place in its group");
        let base = client::base_config(&config.kafka, "ingest-lease");
        let candidate = Candidate::join(base, &config.lease_group(), &topic)
            .map_err(|error| Failure::settings(ClientError::Settings(error)))?;
        let (sender, terms) = tasks::channel(TERMS_MAX);
        let (leaving, left) = mpsc::channel();
        let mut watch = Watch {
            config: config.clone(),
            runtime: Handle::current(),
            terms: sender,
            metrics,
            readiness: readiness.clone(),
            stood_by: false,
            errors: Rarely::every(REMINDER_EVERY),
        };
        let takes_all = TakesAll(shutdown.clone());
        let serve = move || {
            let (_leaving, takes_all) = (leaving, takes_all);
            watch.serve(candidate, &takes_all.0);
        };
        thread::Builder::new().name("lease".to_owned()).spawn(serve).map_err(Failure::breach)?;
        Ok(Some(Self { terms, left, readiness }))
    }

    /// Waits for the lease. It is to be dropped once nothing is done under it any more.
    pub(super) async fn taken(&mut self) -> Held {
        match self.terms.recv().await {
            Some(held) => held,
            None => pending().await,
        }
    }

    /// The feed is held now: from here on its own part of readiness tells how it is.
    pub(super) fn taken_up(&self) {
        self.readiness.met(LEASE);
    }

    /// Waits until the group is left, for `within` at most. The feed must have been let go.
    pub(super) fn finish(self, within: Duration) {
        drop(self.terms);
        if self.left.recv_timeout(within) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the lease's group could not be left in time; it finds out by itself");
        }
    }
}

/// An ingester whose lease is not served any more would stand there for ever.
struct TakesAll(Shutdown);

impl Drop for TakesAll {
    fn drop(&mut self) {
        self.0.request();
    }
}

/// The thread's half.
struct Watch {
    config: Config,
    runtime: Handle,
    terms: tasks::Sender<Held>,
    metrics: IngestMetrics,
    readiness: Readiness,
    /// Whether people know that the lease is another's.
    stood_by: bool,
    errors: Rarely,
}

impl Watch {
    fn serve(&mut self, mut candidate: Candidate, shutdown: &Shutdown) {
        while !shutdown.is_requested() {
            match candidate.turn(TURN) {
                Ok(None) => {}
                Ok(Some(change)) => self.tell(change),
                Err(error) => {
                    if let Some(held_back) = self.errors.admit(Instant::now()) {
                        tracing::warn!(held_back, "the lease's group is in trouble: {error}");
                    }
                    self.mend(&error);
                }
            }
        }
        if self.metrics.lease_held.get() == 1 {
            self.tell(Change::Ended(Loss::GivenUp));
        }
        candidate.leave(LEAVE_WITHIN);
    }

    fn tell(&mut self, change: Change) {
        match change {
            Change::StandsBy => {
                if !std::mem::replace(&mut self.stood_by, true) {
                    tracing::info!("stands by: another ingester holds the lease on the feed");
                }
                self.readiness.met(LEASE);
            }
            Change::Taken(held) => {
                self.stood_by = false;
                tracing::info!("took the lease on the feed");
                self.metrics.lease_held.set(1);
                // It can't be full: the term before this one is over. If it is closed, the role ends.
                let _ = self.terms.try_send(held);
            }
            Change::Ended(Loss::GivenUp) => {
                tracing::info!("gave the lease on the feed back: {}", Loss::GivenUp);
                self.metrics.lease_held.set(0);
            }
            Change::Ended(loss) => {
                self.stood_by = false;
                tracing::warn!("lost the lease on the feed: {loss}");
                self.metrics.lease_held.set(0);
                self.readiness.awaits(LEASE, format!("a place in its group ({loss})"));
                if let Loss::NotRenewed(Some(error)) = loss {
                    self.mend(&error);
                }
            }
        }
    }

    /// Makes the topic anew if it was deleted.
    fn mend(&self, error: &KafkaError) {
        if lease::is_topic_gone(error) {
            let topic = self.config.lease_topic();
            if let Err(error) = self.runtime.block_on(create(&self.config, &topic)) {
                tracing::warn!("the lease has no topic: {error}");
            }
        }
    }
}

/// Waits until there is the lease's topic; `false` when told to stop first.
fn wait_for_topic(
    config: &Config,
    topic: &str,
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> Result<bool, Failure> {
    let mut said = String::new();
    loop {
        let awaited = match appender::check_topic(config, topic) {
            Ok(()) => return Ok(true),
            Err(TopicError::Client(error)) => return Err(Failure::settings(error)),
            Err(TopicError::Missing(_)) => match Handle::current().block_on(create(config, topic)) {
                Ok(()) => String::new(),
                Err(CreateError::Client(error)) => return Err(Failure::settings(error)),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        readiness.awaits(LEASE, format!("its topic {awaited}"));
        if said != awaited && !awaited.is_empty() {
            tracing::warn!("waits for the lease's topic: {awaited}");
            said = awaited;
        }
        if shutdown.wait(TOPIC_PAUSE) {
            return Ok(false);
        }
    }
}

async fn create(config: &Config, topic: &str) -> Result<(), CreateError> {
    if lease::create_topic(&config.kafka, topic, config.topics.replication).await? {
        tracing::info!("made the lease's topic `{topic}`");
    }
    Ok(())
}
