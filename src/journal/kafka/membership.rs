//! A membership in a consumer group: a worker's in the gate's, or the sink's.
//!
//! The rebalance callback only records what the group said; [`Membership::next_event`] hands it to the loop,
//! which answers with [`Membership::assign`] or [`Membership::unassign`] once the round is finished. Until
//! then the group withholds revoked partitions from their next owner. Each event is answered exactly once: an
//! answer that nobody waits for would be taken for that to the next event, and librdkafka may wait for ever when
//! that one is answered again while the consumer closes.
//!
//! Under an eager protocol an event is about all partitions, under an incremental one about those that come or go.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset as RdOffset, TopicPartitionList};

use super::empty_handed::EmptyHanded;
use super::{REQUEST_TIMEOUT, client};
use crate::config::GroupProtocol;
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

/// Brokers that share out say nothing to a member that gets nothing. What it hears it hears within this long: by default
/// they wait 45 s for a member that was killed.
const FIRST_WORD_WITHIN: Duration = Duration::from_mins(1);

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
    is_incremental: bool,
    events: Mutex<VecDeque<GroupEvent>>,
    /// The event that was handed over last, while it waits for its answer.
    awaited: Mutex<Option<GroupEvent>>,
    /// What the group has given, answered or not.
    owned: Mutex<BTreeSet<Partition>>,
    empty_handed: Mutex<EmptyHanded>,
    /// Until when the group is to say something; none where it always does, or has.
    first_word_due: Mutex<Option<Instant>>,
    closing: AtomicBool,
    /// What became of the last plain commit.
    committed: Mutex<Option<Result<(), KafkaError>>>,
}

impl GroupContext {
    fn events(&self) -> MutexGuard<'_, VecDeque<GroupEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn empty_handed(&self) -> MutexGuard<'_, EmptyHanded> {
        self.empty_handed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first_word_due(&self) -> MutexGuard<'_, Option<Instant>> {
        self.first_word_due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn awaited(&self) -> MutexGuard<'_, Option<GroupEvent>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whose the partitions are now; how many are this member's.
    fn own(&self, event: &GroupEvent) -> usize {
        let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            GroupEvent::Assigned(given) => owned.extend(given),
            GroupEvent::Revoked(gone) | GroupEvent::Lost(gone) => owned.retain(|of| !gone.contains(of)),
        }
        owned.len()
    }

    /// Answers an event without taking anything on: librdkafka takes nothing but an assign as the answer to an
    /// assignment, and after an unassign would wait on for ever, deaf to the group.
    fn decline(&self, consumer: &BaseConsumer<Self>, event: &GroupEvent) -> KafkaResult<()> {
        match (self.is_incremental, event) {
            (false, GroupEvent::Assigned(_)) => consumer.assign(&TopicPartitionList::new()),
            (false, _) => consumer.unassign(),
            (true, GroupEvent::Assigned(_)) => consumer.incremental_assign(&TopicPartitionList::new()),
            (true, GroupEvent::Revoked(gone) | GroupEvent::Lost(gone)) => {
                // Of what was never taken on there is nothing to give back.
                let mut list = TopicPartitionList::new();
                for element in consumer.assignment()?.elements() {
                    if gone.contains(&element.partition()) {
                        list.add_partition(element.topic(), element.partition());
                    }
                }
                consumer.incremental_unassign(&list)
            }
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
        if !self.closing.load(Ordering::SeqCst) {
            self.events().push_back(event);
        } else if let Err(error) = self.decline(consumer, &event) {
            // The worker is gone; an answer is all that the group waits for.
            tracing::debug!(%error, "could not answer the group while closing");
        }
    }
}

impl Membership {
    /// Joins the group. `config` has brokers and security; group, protocol and isolation are set here.
    pub fn join(mut config: ClientConfig, settings: &Joining<'_>) -> Result<Self, KafkaError> {
        let session_ms = settings.session_timeout.as_millis().to_string();
        let assignor = match settings.protocol {
            GroupProtocol::Range => Some("range"),
            GroupProtocol::Cooperative => Some("cooperative-sticky"),
            GroupProtocol::Consumer => None,
        };
        match assignor {
            Some(assignor) => config
                .set("session.timeout.ms", session_ms)
                // By the next heartbeat a member hears that another one has left.
                .set("heartbeat.interval.ms", "300")
                .set("partition.assignment.strategy", assignor),
            // The brokers have a say in all of that.
            None => config.set("group.protocol", "consumer"),
        };
        config
            .set("group.id", settings.group)
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false");
        client::tune(&mut config, settings.tuning);
        if let Some(instance_id) = settings.instance_id {
            config.set("group.instance.id", instance_id);
        }
        let by_brokers = settings.protocol == GroupProtocol::Consumer;
        let context = GroupContext {
            is_incremental: settings.protocol != GroupProtocol::Range,
            first_word_due: Mutex::new(by_brokers.then(|| Instant::now() + FIRST_WORD_WITHIN)),
            // They know the topic.
            empty_handed: Mutex::new(if by_brokers { EmptyHanded::never() } else { EmptyHanded::default() }),
            ..GroupContext::default()
        };
        let consumer: BaseConsumer<GroupContext> = config.create_with_context(context)?;
        consumer.subscribe(&[settings.topic])?;
        Ok(Self { consumer: Arc::new(consumer), topic: settings.topic.to_owned() })
    }

    /// Whether the group has assigned nothing so far, and is asked again.
    pub fn is_empty_handed(&self) -> bool {
        self.consumer.context().empty_handed().is_doubtful()
    }

    /// Whether the group tells of each partition only when it comes or goes.
    pub fn is_incremental(&self) -> bool {
        self.consumer.context().is_incremental
    }

    /// The metadata for commits of what is polled from now on.
    pub fn metadata(&self) -> Option<Arc<Metadata>> {
        self.consumer.group_metadata().map(|metadata| Arc::new(Metadata(metadata)))
    }

    /// What the group said next. It waits for its answer from here on. To be called again and again: here a member
    /// without partitions asks the group anew.
    pub fn next_event(&self) -> Option<GroupEvent> {
        let event = self.take_event().or_else(|| self.take_silence());
        let now = Instant::now();
        let mut empty_handed = self.consumer.context().empty_handed();
        let owned = event.as_ref().map(|event| self.consumer.context().own(event));
        match (&event, owned) {
            (Some(GroupEvent::Assigned(_)), Some(owned)) => empty_handed.assigned(owned, now),
            (None, _) if empty_handed.take_due(now) => self.join_again(),
            _ => {}
        }
        event
    }

    fn join_again(&self) {
        tracing::info!("the group had no partitions of `{}` to give; joining again", self.topic);
        if self.is_incremental() {
            // A subscription that is the same is no reason to join there.
            self.consumer.unsubscribe();
        }
        if let Err(error) = self.consumer.subscribe(&[&self.topic]) {
            tracing::warn!(%error, "could not join the group again");
        }
    }

    /// Where nothing is said of nothing: that there is nothing. It waits for no answer.
    fn take_silence(&self) -> Option<GroupEvent> {
        let mut due = self.consumer.context().first_word_due();
        due.take_if(|due| Instant::now() >= *due).map(|_| GroupEvent::Assigned(Vec::new()))
    }

    fn take_event(&self) -> Option<GroupEvent> {
        let context = self.consumer.context();
        let event = context.events().pop_front()?;
        *context.first_word_due() = None;
        *context.awaited() = Some(event.clone());
        Some(event)
    }

    /// Whether the group has said something that was not handed over.
    pub fn has_event(&self) -> bool {
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
    ///
    /// What is read already is held until the next [`Self::assign`] or [`Self::unassign`].
    pub fn accept(&self) -> Result<(), KafkaError> {
        let context = self.consumer.context();
        if context.is_incremental {
            self.hold(true)?;
        }
        let assigned = |event: &mut GroupEvent| matches!(event, GroupEvent::Assigned(_));
        let awaited = context.awaited().take_if(assigned);
        awaited.map_or(Ok(()), |event| context.decline(&self.consumer, &event))
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

    /// Starts reading these partitions here, and no others but those that are retained where the protocol is
    /// incremental: an answer to an assignment too.
    pub fn assign(&self, offsets: &[(Partition, Offset)]) -> Result<(), KafkaError> {
        let list = self.list(offsets)?;
        let context = self.consumer.context();
        let is_answer = context.awaited().take().is_some();
        if !context.is_incremental {
            return self.consumer.assign(&list);
        }
        if offsets.is_empty() && !is_answer {
            return Ok(());
        }
        self.consumer.incremental_assign(&list)?;
        self.hold(false)
    }

    /// Gives up what the event is about that waits for an answer: a revocation, or an assignment that is not taken.
    /// Without one it does nothing; leaving the group gives all up then.
    pub fn unassign(&self) -> Result<(), KafkaError> {
        let context = self.consumer.context();
        let Some(event) = context.awaited().take() else { return Ok(()) };
        if context.is_incremental {
            // Before: what is held when it goes is held when it comes again.
            self.hold(false)?;
        }
        context.decline(&self.consumer, &event)
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
    /// How long a silent member keeps its partitions, unless the protocol leaves that to the brokers.
    pub session_timeout: Duration,
    /// How the group shares out.
    pub protocol: GroupProtocol,
    /// librdkafka properties that only bear on speed and memory.
    pub tuning: &'a [(&'a str, &'a str)],
}

/// Whether an error of a fetch says that the member can do nothing more but start over.
pub fn is_final(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal)
}

/// Whether an error of a fetch says that a partition does not have what comes next.
pub fn is_nowhere(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    )
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
