//! A membership in a consumer group: a worker's in the gate's, or the sink's.
//!
//! The rebalance callback only records what the group said; [`Membership::next_event`] hands it to the loop,
//! which answers with [`Membership::assign`] or [`Membership::unassign`] once the round is finished. Until
//! then the group withholds revoked partitions from their next owner. Each event is answered exactly once: an
//! answer that nobody waits for would be taken for that to the next event, and librdkafka may wait for ever when
//! that one is answered again while the consumer closes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset as RdOffset, TopicPartitionList};

use super::empty_handed::EmptyHanded;
use super::{REQUEST_TIMEOUT, client};
use crate::model::{Claim, Offset, Partition};

/// What the gate reads staging with. A queued message takes four to five times its bytes, so the queue is kept
/// short, and asked again soon once it was full.
pub const TUNING: [(&str, &str); 5] = [
    ("fetch.wait.max.ms", "100"),
    ("fetch.max.bytes", "1048576"),
    ("fetch.queue.backoff.ms", "5"),
    ("queued.min.messages", "100000"),
    ("queued.max.messages.kbytes", "8192"),
];

/// One wait for what makes a membership fatal.
const REPLACED_STEP: Duration = Duration::from_millis(20);

/// One wait for the answer to a commit.
const COMMIT_STEP: Duration = Duration::from_millis(10);

/// What the group said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupEvent {
    /// These partitions are the worker's now.
    Assigned(Vec<Partition>),
    /// These partitions are wanted back, in order.
    Revoked(Vec<Partition>),
    /// These partitions are somebody else's already.
    Lost(Vec<Partition>),
}

/// A member of the group that reads a topic.
pub struct Membership {
    /// Shared with a thread while that commits.
    consumer: Arc<BaseConsumer<GroupContext>>,
    topic: String,
}

/// What a commit inside a transaction must show: the membership that its records were read under.
pub struct Metadata(pub(super) ConsumerGroupMetadata);

#[derive(Default)]
struct GroupContext {
    events: Mutex<VecDeque<GroupEvent>>,
    /// What the event that was handed over last waits for.
    awaited: Mutex<Option<Answer>>,
    empty_handed: Mutex<EmptyHanded>,
    count: AtomicU64,
    closing: AtomicBool,
    /// What became of the last plain commit.
    committed: Mutex<Option<Result<(), KafkaError>>>,
}

/// What librdkafka takes as the answer to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Assign,
    Unassign,
}

impl GroupContext {
    fn events(&self) -> MutexGuard<'_, VecDeque<GroupEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn empty_handed(&self) -> MutexGuard<'_, EmptyHanded> {
        self.empty_handed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn awaited(&self) -> MutexGuard<'_, Option<Answer>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GroupEvent {
    fn answer(&self) -> Answer {
        match self {
            Self::Assigned(_) => Answer::Assign,
            Self::Revoked(_) | Self::Lost(_) => Answer::Unassign,
        }
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log_error(&error, reason);
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        self.count.fetch_add(1, Ordering::SeqCst);
        if self.closing.load(Ordering::SeqCst) {
            // The worker is gone; an answer is all that the group waits for.
            if let Err(error) = consumer.unassign() {
                tracing::debug!(%error, "could not answer the group while closing");
            }
            return;
        }
        let list = partitions
            .elements()
            .iter()
            .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
            .collect();
        let event = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => GroupEvent::Assigned(list),
            _ if consumer.assignment_lost() => GroupEvent::Lost(list),
            _ => GroupEvent::Revoked(list),
        };
        self.events().push_back(event);
    }
}

impl Membership {
    /// Joins the group. `config` has brokers and security; group, protocol and isolation are set here.
    pub fn join(mut config: ClientConfig, settings: &Joining<'_>) -> Result<Self, KafkaError> {
        let session_ms = settings.session_timeout.as_millis().to_string();
        config
            .set("group.id", settings.group)
            .set("session.timeout.ms", session_ms)
            // By the next heartbeat a member hears that another one has left.
            .set("heartbeat.interval.ms", "300")
            .set("partition.assignment.strategy", "range")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false");
        client::tune(&mut config, settings.tuning);
        if let Some(instance_id) = settings.instance_id {
            config.set("group.instance.id", instance_id);
        }
        let consumer: BaseConsumer<GroupContext> = config.create_with_context(GroupContext::default())?;
        consumer.subscribe(&[settings.topic])?;
        Ok(Self { consumer: Arc::new(consumer), topic: settings.topic.to_owned() })
    }

    /// Whether the group has assigned nothing so far, and is asked again.
    pub fn is_empty_handed(&self) -> bool {
        self.consumer.context().empty_handed().is_doubtful()
    }

    /// How many times the group has said something: taken before a poll, it tells under which membership the
    /// records were read.
    pub fn generation(&self) -> u64 {
        self.consumer.context().count.load(Ordering::SeqCst)
    }

    /// The metadata for commits of what is polled from now on; `None` before the first join.
    pub fn metadata(&self) -> Option<Arc<Metadata>> {
        self.consumer.group_metadata().map(|metadata| Arc::new(Metadata(metadata)))
    }

    /// What the group said next. It waits for its answer from here on. To be called again and again: here a member
    /// without partitions asks the group anew.
    pub fn next_event(&self) -> Option<GroupEvent> {
        let event = self.take_event();
        let now = Instant::now();
        let mut empty_handed = self.consumer.context().empty_handed();
        match &event {
            Some(GroupEvent::Assigned(partitions)) => empty_handed.assigned(partitions.len(), now),
            None if empty_handed.take_due(now) => {
                tracing::info!("the group had no partitions of `{}` to give; joining again", self.topic);
                if let Err(error) = self.consumer.subscribe(&[&self.topic]) {
                    tracing::warn!(%error, "could not join the group again");
                }
            }
            _ => {}
        }
        event
    }

    fn take_event(&self) -> Option<GroupEvent> {
        let context = self.consumer.context();
        let event = context.events().pop_front()?;
        *context.awaited() = Some(event.answer());
        Some(event)
    }

    fn has_event(&self) -> bool {
        !self.consumer.context().events().is_empty()
    }

    /// Waits up to `wait` for a first record, then takes what is there, at most `max` records. Ends early when
    /// the group says something. An error is of the fetch, not of a record.
    pub fn poll<'a>(
        &'a self,
        wait: Duration,
        max: usize,
        into: &mut Vec<BorrowedMessage<'a>>,
    ) -> Result<(), KafkaError> {
        let mut wait = wait;
        while into.len() < max && !self.has_event() {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => into.push(message),
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    /// The next record, if one is there and the group has said nothing. An error is of the fetch; of them
    /// [`KafkaError::PartitionEOF`] only says that a partition was read to its end, where that was asked for.
    pub fn next(&self) -> Option<Result<BorrowedMessage<'_>, KafkaError>> {
        if self.has_event() { None } else { self.consumer.poll(Duration::ZERO) }
    }

    /// Stops fetching, or goes on, for all partitions: what was fetched and not read is fetched again then.
    pub fn hold(&self, holds: bool) -> Result<(), KafkaError> {
        let assigned = self.consumer.assignment()?;
        if holds { self.consumer.pause(&assigned) } else { self.consumer.resume(&assigned) }
    }

    /// Begins to commit these offsets outside a transaction, under the current generation; what becomes of it
    /// is [`Self::take_commit`]'s to say. One at a time.
    pub fn commit(&self, offsets: &[(Partition, Offset)]) -> Result<(), KafkaError> {
        self.take_commit();
        let (consumer, list) = (Arc::clone(&self.consumer), self.list(offsets)?);
        // librdkafka tells nobody how a commit ended that nobody waited for.
        let wait = move || {
            let result = consumer.commit(&list, CommitMode::Sync);
            consumer.context().committed.lock().unwrap_or_else(PoisonError::into_inner).replace(result);
        };
        let spawned = thread::Builder::new().name("commit".to_owned()).spawn(wait);
        spawned.map(drop).map_err(|_| KafkaError::ConsumerCommit(RDKafkaErrorCode::CriticalSystemResource))
    }

    /// What became of the last [`Self::commit`], once it is known.
    pub fn take_commit(&self) -> Option<Result<(), KafkaError>> {
        self.consumer.context().committed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits up to `wait` for the answer to a commit. For a member that reads no more; records are dropped.
    pub fn wait_commit(&self, wait: Duration) -> Option<Result<(), KafkaError>> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(result) = self.take_commit() {
                return Some(result);
            }
            if Instant::now() >= deadline {
                return None;
            }
            drop(self.consumer.poll(COMMIT_STEP));
        }
    }

    /// Takes an assignment on before anything of it is read: the answer to it. While one waits for its answer,
    /// librdkafka does not hear that the group rebalances or has ended the session, and the group waits for it.
    pub fn accept(&self) -> Result<(), KafkaError> {
        let awaited = self.consumer.context().awaited().take_if(|answer| *answer == Answer::Assign);
        if awaited.is_some() { self.consumer.assign(&TopicPartitionList::new()) } else { Ok(()) }
    }

    /// Waits up to `wait` for the group to say something; whether it has. For a member that reads nothing yet: a
    /// record is an error.
    pub fn listen(&self, wait: Duration) -> Result<bool, KafkaError> {
        if self.has_event() {
            return Ok(true);
        }
        match self.consumer.poll(wait) {
            // It would be lost.
            Some(Ok(_)) => Err(KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::State)),
            Some(Err(error)) => Err(error),
            None => Ok(self.has_event()),
        }
    }

    /// Starts reading these partitions, and no others, here: an answer to an assignment too.
    pub fn assign(&self, offsets: &[(Partition, Offset)]) -> Result<(), KafkaError> {
        let list = self.list(offsets)?;
        *self.consumer.context().awaited() = None;
        self.consumer.assign(&list)
    }

    /// Gives all partitions up: the answer to a revocation, and to an assignment that is not taken. Without an
    /// event that waits for one it does nothing; leaving the group gives them up then.
    pub fn unassign(&self) -> Result<(), KafkaError> {
        let awaited = self.consumer.context().awaited().take();
        match awaited {
            // librdkafka takes nothing but an assign as the answer to an assignment: after an unassign it would
            // wait on for ever, deaf to the group.
            Some(Answer::Assign) => self.consumer.assign(&TopicPartitionList::new()),
            Some(Answer::Unassign) => self.consumer.unassign(),
            None => Ok(()),
        }
    }

    /// Whether another process has joined under the same static name. The group says so with a heartbeat: waits
    /// up to `wait` for it. For a member that reads no more; records and events are dropped.
    pub fn is_replaced(&self, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        loop {
            match self.consumer.client().fatal_error() {
                Some((code, _)) => return code == RDKafkaErrorCode::FencedInstanceId,
                None if Instant::now() >= deadline => return false,
                None => drop(self.consumer.poll(REPLACED_STEP)),
            }
        }
    }

    /// Reads these partitions again from here.
    pub fn rewind(&self, offsets: &[(Partition, Offset)]) -> Result<(), KafkaError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let done = self.consumer.seek_partitions(self.list(offsets)?, REQUEST_TIMEOUT)?;
        done.elements().iter().try_for_each(rdkafka::topic_partition_list::TopicPartitionListElem::error)
    }

    /// Commits these very offsets outside a transaction with the own id, under the current generation.
    pub fn claim(&self, offsets: &[(Partition, Offset)], id: &str) -> Result<(), KafkaError> {
        let claim = Claim { transactional_id: id.to_owned(), released: false }.encode();
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (partition, offset) in offsets {
            let mut element = list.add_partition(&self.topic, *partition);
            element.set_offset(RdOffset::Offset(*offset))?;
            element.set_metadata(&claim);
        }
        self.consumer.commit(&list, CommitMode::Sync)
    }

    fn list(&self, offsets: &[(Partition, Offset)]) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (partition, offset) in offsets {
            list.add_partition_offset(&self.topic, *partition, RdOffset::Offset(*offset))?;
        }
        Ok(list)
    }
}

impl Drop for Membership {
    /// Leaves the group; from here on its events are answered in the callback.
    fn drop(&mut self) {
        let context = self.consumer.context();
        context.closing.store(true, Ordering::SeqCst);
        // An event that was handed over or queued but not answered would keep the close waiting for ever. What is
        // on its way to the callback is answered there.
        while self.take_event().is_some() {}
        if let Err(error) = self.unassign() {
            tracing::debug!(%error, "could not give partitions up before leaving the group");
        }
    }
}

/// What a member tells the group.
pub struct Joining<'a> {
    /// The group.
    pub group: &'a str,
    /// The topic to read.
    pub topic: &'a str,
    /// A name that survives restarts, for static membership.
    pub instance_id: Option<&'a str>,
    /// How long a silent member keeps its partitions.
    pub session_timeout: Duration,
    /// librdkafka properties that only bear on speed and memory.
    pub tuning: &'a [(&'a str, &'a str)],
}

/// Whether an error of a fetch says that the member can do nothing more but start over.
pub fn is_final(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal)
}

/// Whether an error of a plain commit says that the membership has moved on.
pub fn is_stale_membership(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::FencedInstanceId
                | RDKafkaErrorCode::AssignmentLost
                | RDKafkaErrorCode::State
        )
    )
}
