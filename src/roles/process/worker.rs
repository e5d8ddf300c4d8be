//! One worker: an OS thread, a group member, a transactional producer, a core, and the loop between them.
//!
//! The loop carries effects out one at a time and feeds the answers back; only when the core wants nothing
//! does it listen to the group or read records. Everything that was true before a rejoin is dropped with the
//! [`Life`] it belonged to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};

use super::counting::Tally;
use super::lag::{Look, Watch};
use super::tokens::Token;
use super::{Shared, naming};
use crate::core::effect::Notice;
use crate::core::input::Failure;
use crate::core::{Effect, Generation, Input, Processor, Record, Stop};
use crate::journal::kafka::client;
use crate::journal::kafka::membership::{self, GroupEvent, Joining, Membership, Metadata};
use crate::journal::kafka::owners::Owners;
use crate::journal::kafka::producer::{RoundProducer, Trouble};
use crate::model::{Offset, Partition};

/// How many records one poll takes at most; bounds what is held between two effects.
const BATCH_MAX: usize = 10_000;
/// Memberships that are kept: the open round's, and one for each of two events that it may end with.
const MEMBERSHIPS: usize = 3;
/// How long the loop waits for records when nothing else is due.
const POLL_MAX: Duration = Duration::from_millis(200);
/// How often ends are asked for, for the lag.
const LAG_EVERY: Duration = Duration::from_secs(2);
/// Pause before a worker starts over; doubled, up to 32 times as long, while it cannot even start.
const REJOIN_PAUSE: Duration = Duration::from_millis(200);
/// Pause after a commit that failed; doubled, up to 64 times as long, while they go on failing.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// How long a static member that lost everything waits to hear whether another has taken its name.
const REPLACED_WITHIN: Duration = Duration::from_secs(1);

/// A worker's number and what it shares with its instance.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) index: u32,
    incarnation: u32,
}

/// From joining the group to leaving it.
pub(super) struct Life<'a> {
    pub(super) shared: &'a Shared,
    pub(super) index: u32,
    pub(super) membership: &'a Membership,
    pub(super) producer: &'a RoundProducer,
    pub(super) owners: &'a Owners,
    pub(super) batch: Vec<BorrowedMessage<'a>>,
    /// The right to write each owned partition's state.
    pub(super) writers: BTreeMap<Partition, Token>,
    /// Whether the effect under way ends when the group says something.
    pub(super) listens: bool,
    /// Wall time at which the changelog of the own partitions was last known to hold nothing that this worker does
    /// not have or is about to restore: what it writes to the store is as current as that.
    pub(super) current_at_ms: i64,
    /// Coordinates of what the open round has sent, by tag.
    pub(super) sent: Vec<(Partition, Offset)>,
    pub(super) tally: Tally,
    pub(super) lag: Watch,
    /// The memberships taken last: that of the open round is one of them.
    metadata: Vec<(Generation, Arc<Metadata>)>,
    lag_asked: Instant,
    /// Commits that failed since one succeeded.
    failures: u32,
    told_to_stop: bool,
}

enum Ended {
    Rejoin(String),
    Stopped(Stop),
}

/// What a worker is called where people read it.
pub(super) fn name(index: u32) -> String {
    format!("worker {index}")
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, index: u32) -> Self {
        Self { shared, index, incarnation: 0 }
    }

    /// Works until it is told to stop or may not go on.
    pub(super) fn run(mut self) -> Stop {
        let mut failures = 0;
        loop {
            match self.live() {
                Ok(Ended::Stopped(stop)) => return stop,
                Ok(Ended::Rejoin(reason)) => {
                    tracing::warn!(worker = self.index, reason, "the worker starts over with a new id");
                    failures = 0;
                }
                Err(error) => {
                    tracing::error!(worker = self.index, error, "the worker could not start; trying again");
                    failures += 1;
                }
            }
            self.shared.view.update(self.index, |worker| worker.partitions.clear());
            self.shared.partitions_changed();
            self.shared.readiness.awaits(&self.name(), "rejoining the group");
            if self.shared.shutdown.wait(REJOIN_PAUSE * 2_u32.pow(failures.min(5))) {
                return Stop::Interrupted;
            }
        }
    }

    fn name(&self) -> String {
        name(self.index)
    }

    fn live(&mut self) -> Result<Ended, String> {
        self.incarnation += 1;
        let shared = Arc::clone(&self.shared);
        let config = &shared.config;
        let id = naming::transactional_id(
            &config.process.group,
            &shared.instance,
            self.index,
            shared.started_ms,
            self.incarnation,
        );
        let words = |error: KafkaError| error.to_string();
        let member_name = |instance: &str| naming::member_name(instance, self.index);
        let base = || -> ClientConfig {
            client::base_config(&config.kafka, &format!("process-{}", member_name(&shared.instance)))
        };
        let owners = Owners::new(base(), &config.process.group).map_err(words)?;
        self.shared.readiness.awaits(&self.name(), "a transactional id from the brokers");
        let producer = match self.start_producer(base(), &id) {
            Ok(producer) => producer,
            Err(Trouble::Interrupted) => return Ok(Ended::Stopped(Stop::Interrupted)),
            Err(trouble) => return Err(format!("{trouble:?}")),
        };
        shared.remembered.note(self.index, &id);
        let instance_id = config.process.instance_id.as_ref().map(|name| member_name(name));
        let joining = Joining {
            group: &config.process.group,
            topic: &config.topics.staging,
            instance_id: instance_id.as_deref(),
            session_timeout: config.process.session_timeout,
            protocol: config.process.group_protocol,
            tuning: &membership::TUNING,
        };
        self.shared.readiness.awaits(&self.name(), "partitions from the group");
        let membership = Membership::join(base(), &joining).map_err(words)?;
        tracing::info!(worker = self.index, id, "joining the group {}", config.process.group);
        shared.view.update(self.index, |worker| worker.transactional_id.clone_from(&id));
        let core = Processor::new(shared.settings.clone(), id, shared.now());
        let life = Life {
            shared: &shared,
            index: self.index,
            membership: &membership,
            producer: &producer,
            owners: &owners,
            batch: Vec::new(),
            writers: BTreeMap::new(),
            listens: false,
            current_at_ms: shared.now().wall.0,
            sent: Vec::new(),
            tally: Tally::default(),
            lag: Watch::default(),
            metadata: Vec::new(),
            lag_asked: Instant::now(),
            failures: 0,
            told_to_stop: false,
        };
        let ended = life.run(core);
        // Joining again would throw the other one out in turn.
        let is_static = instance_id.is_some() && matches!(ended, Ended::Rejoin(_));
        if is_static && membership.is_replaced(REPLACED_WITHIN) {
            return Ok(Ended::Stopped(Stop::Replaced));
        }
        Ok(ended)
    }

    fn start_producer(&self, base: ClientConfig, id: &str) -> Result<RoundProducer, Trouble> {
        let config = &self.shared.config;
        let waiting = Arc::clone(&self.shared);
        let patience = Box::new(move || waiting.may_wait());
        let max_bytes = usize::try_from(config.topics.max_output_bytes()).unwrap_or(usize::MAX);
        RoundProducer::start(base, id, config.process.transaction_timeout, max_bytes, patience)
    }
}

impl Life<'_> {
    fn run(mut self, mut core: Processor) -> Ended {
        let mut ticked = false;
        loop {
            if let Some(ended) = self.carry_out(&mut core) {
                self.leave(&ended);
                return ended;
            }
            self.show(&core);
            // A tick may take longer than it is until the next is due: the group and the records have their
            // turn in between. Nothing is begun while there is something that the group has said.
            let ticks = !ticked
                && !self.membership.has_event()
                && core.poll_timeout(self.shared.now()).is_some_and(|(wait, _)| wait.is_zero());
            ticked = ticks;
            if ticks {
                let generation = self.generation(&core);
                core.handle(Input::Tick { generation }, self.shared.now());
            } else if let Some(event) = self.membership.next_event() {
                self.group_said(event, &mut core);
            } else if self.shared.shutdown.is_requested() && !self.told_to_stop {
                self.told_to_stop = true;
                let generation = self.take_membership();
                core.handle(Input::Shutdown { generation }, self.shared.now());
            } else if let Some(ended) = self.read(&mut core) {
                self.leave(&ended);
                return ended;
            }
        }
    }

    /// Carries out what the core wants, answer by answer.
    fn carry_out(&mut self, core: &mut Processor) -> Option<Ended> {
        while let Some(effect) = core.poll_effect() {
            let what = tracing::enabled!(tracing::Level::DEBUG).then(|| effect.to_string());
            let began = Instant::now();
            match effect {
                Effect::Notice(notice) => self.tell(&notice),
                Effect::Rejoin(reason) => {
                    self.say_done(what, None, began);
                    return Some(Ended::Rejoin(reason));
                }
                Effect::Stop(stop) => {
                    self.say_done(what, None, began);
                    return Some(Ended::Stopped(stop));
                }
                effect => {
                    #[cfg(feature = "fault-points")]
                    let name = effect.name();
                    #[cfg(feature = "fault-points")]
                    self.shared.fault_point.pass(super::fault_point::Instant::Before, name);
                    let answer = self.perform(effect);
                    #[cfg(feature = "fault-points")]
                    self.shared.fault_point.pass(super::fault_point::Instant::After, name);
                    self.say_done(what, answer.failure(), began);
                    self.pause_after(&answer);
                    core.handle(answer, self.shared.now());
                }
            }
        }
        None
    }

    /// A line of the log for every effect, in the words that the simulation has for them.
    fn say_done(&self, what: Option<String>, failure: Option<&Failure>, began: Instant) {
        let Some(effect) = what else { return };
        let (worker, ms) = (self.index, began.elapsed().as_secs_f64() * 1e3);
        let failure = failure.map(Failure::name);
        tracing::debug!(worker, ms, effect, failure, "carried out");
    }

    fn group_said(&mut self, event: GroupEvent, core: &mut Processor) {
        tracing::info!(worker = self.index, "the group said: {event:?}");
        self.shared.metrics.rebalances.inc();
        let generation = self.take_membership();
        let input = match event {
            GroupEvent::Assigned(partitions) => Input::Assigned { partitions, generation },
            GroupEvent::Revoked(partitions) => Input::Revoked { partitions, generation },
            GroupEvent::Lost(partitions) => Input::Lost { partitions },
        };
        core.handle(input, self.shared.now());
    }

    /// Reads records and hands them to the core. The membership they belong to is taken before.
    fn read(&mut self, core: &mut Processor) -> Option<Ended> {
        let generation = self.generation(core);
        let wait = core.poll_timeout(self.shared.now()).map_or(POLL_MAX, |(wait, _)| wait.min(POLL_MAX));
        self.batch.clear();
        let polled = self.membership.poll(wait, BATCH_MAX, &mut self.batch);
        self.producer.serve();
        if !self.batch.is_empty() {
            let records: Vec<Record<'_>> = self.batch.iter().map(record).collect();
            core.handle(Input::Arrivals { records: &records, generation }, self.shared.now());
        }
        let error = polled.err()?;
        // What is committed is checked against the log anew when partitions are taken over.
        if membership::is_nowhere(&error) || membership::is_final(&error) {
            return Some(Ended::Rejoin(error.to_string()));
        }
        client::log_error(&error, "reading staging goes on when it can");
        None
    }

    /// What is read or begun now belongs to the membership as it is now, and while a round is open to that of the round.
    /// Partitions that are retained are told of only once, but each rebalance is another membership.
    fn generation(&mut self, core: &Processor) -> Generation {
        if core.has_round() { self.newest() } else { self.take_membership() }
    }

    fn newest(&self) -> Generation {
        self.metadata.last().map_or(Generation(0), |(generation, _)| *generation)
    }

    /// The membership right now. The group gives nothing that is owned here to anybody else before it was told so here
    /// and has been answered, so it may count for all that is owned.
    pub(super) fn take_membership(&mut self) -> Generation {
        let Some(metadata) = self.membership.metadata() else { return self.newest() };
        let generation = Generation(self.newest().0 + 1);
        self.metadata.push((generation, metadata));
        if self.metadata.len() > MEMBERSHIPS {
            self.metadata.remove(0);
        }
        generation
    }

    pub(super) fn metadata(&self, of: Generation) -> Option<&Arc<Metadata>> {
        self.metadata.iter().find(|(generation, _)| *generation == of).map(|(_, metadata)| metadata)
    }

    fn leave(&mut self, ended: &Ended) {
        self.batch.clear();
        self.writers.clear();
        let view = self.shared.view.snapshot();
        for partition in view.workers.get(&self.index).iter().flat_map(|worker| worker.partitions.keys()) {
            self.forget_lag(*partition);
        }
        if let Ended::Stopped(stop) = ended {
            tracing::info!(worker = self.index, "the worker stops: {stop:?}");
        }
    }

    pub(super) fn forget_lag(&mut self, partition: Partition) {
        self.lag.forget(partition);
        self.shared.metrics.lag.forget(partition, self.shared.now().wall.0);
    }

    /// What fails again and again is tried less and less often.
    fn pause_after(&mut self, answer: &Input<'_>) {
        match answer {
            Input::Committed(_) => self.failures = 0,
            Input::Failed(Failure::Unknown | Failure::Abort { .. }) => {
                let pause = PAUSE_MIN * 2_u32.pow(self.failures.min(6));
                self.failures += 1;
                self.shared.shutdown.wait(pause);
            }
            _ => {}
        }
    }

    fn tell(&self, notice: &Notice) {
        let worker = self.index;
        match notice {
            Notice::RoundAborted { reason } => {
                self.shared.metrics.rounds.with_label_values(&["aborted"]).inc();
                tracing::warn!(worker, reason, "a round was aborted; its input is read again");
            }
            Notice::ResumedFromCheckpoint { partition, offset } => {
                tracing::warn!(
                    worker,
                    partition,
                    offset,
                    "no committed offset: going on from the checkpoint"
                );
            }
            Notice::Lost { partition, from, to } => {
                tracing::error!(
                    worker,
                    partition,
                    from,
                    to,
                    "records are gone unjudged, as accepted by --accept-loss"
                );
            }
            Notice::ClaimRefused { reason } => {
                tracing::info!(worker, reason, "the claim was refused; waiting for another assignment");
            }
            Notice::SettingsDiffer { partition, found } => {
                // As `/v1/instance` writes it.
                let hex = |fingerprint: u64| format!("{fingerprint:016x}");
                let (found, own) = (hex(*found), hex(self.shared.settings.fingerprint));
                tracing::warn!(
                    worker,
                    partition,
                    found,
                    own,
                    "the partition was judged with other settings before"
                );
            }
            Notice::ClockLeapt { by_ms } => {
                tracing::warn!(worker, by_ms, "the wall clock leapt; silences wait until two looks agree");
            }
        }
    }

    /// Keeps the instance's view and the gauges up to date.
    fn show(&mut self, core: &Processor) {
        if self.lag_asked.elapsed() < LAG_EVERY {
            return;
        }
        self.lag_asked = Instant::now();
        let progress = core.progress();
        self.shared.progress(self.index, &progress);
        let partitions: Vec<Partition> = progress.tasks.iter().map(|(partition, _, _)| *partition).collect();
        if partitions.is_empty() {
            return;
        }
        let (staging, now_ms) = (&self.shared.config.topics.staging, self.shared.now().wall.0);
        // The ends first: the other way round, what was appended in between would seem to be held.
        // Each of them may take its time where no broker answers, and the group is not heard meanwhile.
        let Ok(ends) = self.owners.high_watermarks(staging, &partitions) else { return };
        let Ok(stable) = self.owners.last_stable(staging, &partitions) else { return };
        let mut doubtful = None;
        self.shared.view.update(self.index, |worker| {
            for (partition, committed, _) in &progress.tasks {
                let end = ends.get(partition).copied();
                if let (Some(high_watermark), Some(last_stable)) = (end, stable.get(partition).copied()) {
                    let look = Look { committed: *committed, last_stable, high_watermark, now_ms };
                    let standing = self.lag.look(*partition, look);
                    self.shared.metrics.lag.set(*partition, standing);
                    if self.lag.is_doubtful(*partition, &standing) {
                        doubtful = Some((*partition, *committed, high_watermark));
                    }
                }
                let view = worker.partitions.entry(*partition).or_default();
                view.phase = "running";
                view.next_offset = Some(*committed);
                view.end_offset = end;
            }
        });
        if let Some((partition, committed, end)) = doubtful
            && matches!(self.owners.peek(staging, partition, committed), Ok(None))
        {
            self.lag.is_empty_to(partition, end);
        }
    }
}

pub(super) fn record<'m>(message: &'m BorrowedMessage<'_>) -> Record<'m> {
    Record {
        partition: message.partition(),
        offset: message.offset(),
        kafka_time: message.timestamp().to_millis(),
        key: message.key(),
        value: message.payload(),
    }
}
