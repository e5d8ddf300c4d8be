//! A lease by Kafka alone: membership in a group on a topic of one partition. Who is given the partition
//! holds the lease.
//!
//! Promises: there is one holder at a time, as far as the monotonic clocks of two machines run alike. A holder
//! renews by committing an offset, which the group takes from its member alone and counts as a sign of life; it
//! stops before the group could count it out ([`HELD_FOR`]), measured from before the last commit that was
//! answered was asked for. What was done under the lease ends before the group is told that it is free
//! ([`Held`]). Who joins takes nothing from a holder: cooperative assignment leaves a partition where it is.
//! Deliberately not in here: threads that wait, logs of who holds, what is done under the lease.

mod group;
mod held;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use self::group::{GroupContext, Renewals, Said, answer};
pub use self::held::Held;
use self::held::{Lent, lend};
use super::REQUEST_TIMEOUT;
use super::client::{self, ClientError, Logged};
use crate::config::KafkaConfig;

/// How long the group keeps a member that it hears nothing from: the least that brokers allow by default.
pub const SESSION: Duration = Duration::from_secs(6);
/// How long a holder believes in a renewal: less than the session, so that there is time to close what it holds.
pub const HELD_FOR: Duration = Duration::from_secs(5);
const _: () = assert!(HELD_FOR.as_millis() < SESSION.as_millis());

/// A member that is not served for this long has left.
const SERVED_WITHIN: Duration = Duration::from_secs(10);
/// How often a holder renews.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How soon a renewal that was refused is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How long a lost partition is kept for the answer to a renewal.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How often a member that stands by looks whether anybody holds the lease.
const LOOK_EVERY: Duration = Duration::from_secs(4);
/// How long a look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a member keeps away from a group that has others, before it joins. One of these may be itself, from
/// before a crash: until the group has counted that one out it holds everybody up who joins, the holder too, who
/// can't renew then. What is left of the session after this wait is shorter than [`HELD_FOR`], with room for a renewal
/// that was due.
const JOIN_AFTER: Duration = Duration::from_millis(2_500);
const _: () =
    assert!((SESSION.as_millis() - JOIN_AFTER.as_millis()) + RENEW_EVERY.as_millis() < HELD_FOR.as_millis());
/// One wait for the group while leaving.
const LEAVE_STEP: Duration = Duration::from_millis(20);

/// What has changed.
#[derive(Debug)]
pub enum Change {
    /// The group has a place for this member; the lease is another's.
    StandsBy,
    /// The lease is here.
    Taken(Held),
    /// The lease is not here any more.
    Ended(Loss),
}

/// Why a lease ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// The group wants the partition back, in order.
    #[error("the group gives it to another member")]
    Revoked,
    /// The group has counted this member out.
    #[error("the group has counted this member out")]
    CountedOut,
    /// No commit was answered in time.
    #[error("the group has not confirmed it for {}{}", humantime::format_duration(HELD_FOR), because(.0.as_ref()))]
    NotRenewed(Option<KafkaError>),
    /// Nothing is done under it any more.
    #[error("it is not needed here any more")]
    GivenUp,
}

fn because(error: Option<&KafkaError>) -> String {
    error.map_or(String::new(), |error| format!(" (last answer: {error})"))
}

/// A member of the group, with or without the lease.
pub struct Candidate {
    consumer: Arc<BaseConsumer<GroupContext>>,
    group: String,
    topic: String,
    renewals: Renewals,
    is_assigned: bool,
    /// The term here, or one that has ended and is not back yet.
    lent: Option<Lent>,
    last_error: Option<KafkaError>,
    /// When the event that waits for its answer was seen.
    asked: Option<Instant>,
    /// When to look whether anybody holds the lease; `None` where that is known.
    look: Option<Instant>,
    /// When to join; `None` once that is done.
    joins: Option<Instant>,
}

impl Candidate {
    /// Joins the group, at once if nobody is in it. `config` has brokers and security; the rest is set here. The topic
    /// must be there. Blocks for as long as brokers don't answer, twice a second at most.
    pub fn join(mut config: ClientConfig, group: &str, topic: &str) -> Result<Self, KafkaError> {
        config
            .set("group.id", group)
            .set("session.timeout.ms", SESSION.as_millis().to_string())
            .set("heartbeat.interval.ms", "1000")
            .set("max.poll.interval.ms", SERVED_WITHIN.as_millis().to_string())
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("statistics.interval.ms", group::STATE_EVERY.as_millis().to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false");
        let consumer: BaseConsumer<GroupContext> = config.create_with_context(GroupContext::default())?;
        let consumer = Arc::new(consumer);
        let renewals = Renewals::start(&consumer, topic);
        let mut candidate = Self {
            consumer,
            group: group.to_owned(),
            topic: topic.to_owned(),
            renewals,
            is_assigned: false,
            lent: None,
            last_error: None,
            asked: None,
            look: None,
            joins: None,
        };
        let is_first = candidate.is_group_empty().unwrap_or(false);
        candidate.joins = Some(Instant::now() + if is_first { Duration::ZERO } else { JOIN_AFTER });
        Ok(candidate)
    }

    /// Serves the group, waiting for it up to `wait`. To be called again and again: the lease of a member that
    /// isn't served ends.
    pub fn turn(&mut self, wait: Duration) -> Result<Option<Change>, KafkaError> {
        let joined = self.join_when_due();
        let served = joined.and_then(|()| self.serve(wait));
        let change = self.take_answer().or_else(|| self.find_end()).or_else(|| self.answer_group());
        self.renew();
        let looked = self.look_around();
        // An error of the consumer is no reason to forget what has changed.
        if change.is_some() { Ok(change) } else { served.and(looked).map(|()| None) }
    }

    /// Ends the lease, and leaves the group once nothing is done under it any more; takes `within` at most,
    /// after which the group has to find out by itself.
    pub fn leave(mut self, within: Duration) {
        let deadline = Instant::now() + within;
        self.is_assigned = false;
        if let Some(lent) = &self.lent {
            lent.end();
        }
        while !self.is_free() && Instant::now() < deadline {
            let _ = self.serve(LEAVE_STEP);
        }
        // A join that is under way is finished first, by librdkafka, before it leaves: a member that broke off
        // in the middle of it would hold the group up for a whole session.
        self.consumer.unsubscribe();
        let unsubscribed = Instant::now();
        while !self.consumer.context().has_left(unsubscribed) && Instant::now() < deadline {
            let _ = self.serve(LEAVE_STEP);
            let _ = self.answer_group();
        }
    }

    fn join_when_due(&mut self) -> Result<(), KafkaError> {
        if self.joins.is_some_and(|due| Instant::now() >= due) {
            self.consumer.subscribe(&[&self.topic])?;
            self.joins = None;
        }
        Ok(())
    }

    fn serve(&self, wait: Duration) -> Result<(), KafkaError> {
        // Nothing is ever assigned in the client, so no records come.
        self.consumer.poll(wait).map_or(Ok(()), |polled| polled.map(drop))
    }

    /// What the last renewal has come to.
    fn take_answer(&mut self) -> Option<Change> {
        let renewal = self.renewals.answer()?;
        if let Err(error) = renewal.result {
            tracing::debug!(%error, "the lease was not renewed");
            self.renewals.due = Instant::now() + RETRY_AFTER;
            self.last_error = Some(error);
            return None;
        }
        self.last_error = None;
        self.renewals.due = renewal.asked + RENEW_EVERY;
        let until = renewal.asked + HELD_FOR;
        // An answer that waited here while the process slept proves nothing any more.
        if !self.is_assigned || until <= Instant::now() {
            return None;
        }
        if let Some(lent) = &self.lent {
            lent.extend(until);
            return None;
        }
        let (lent, held) = lend(until);
        self.lent = Some(lent);
        Some(Change::Taken(held))
    }

    /// Whether a term has ended by itself, or was given back.
    fn find_end(&mut self) -> Option<Change> {
        let lent = self.lent.as_ref()?;
        if !lent.holds() {
            return self.end(Loss::NotRenewed(self.last_error.clone()));
        }
        if lent.is_back() { self.end(Loss::GivenUp) } else { None }
    }

    /// Ends the term that is on, if any.
    fn end(&mut self, loss: Loss) -> Option<Change> {
        let lent = self.lent.as_ref()?;
        let was_told = lent.was_ended();
        lent.end();
        if lent.is_back() {
            self.lent = None;
        }
        (!was_told).then_some(Change::Ended(loss))
    }

    /// Answers what the group said, each time once: a second answer to one event may block for ever.
    fn answer_group(&mut self) -> Option<Change> {
        let said = self.consumer.context().said()?;
        let change = match said {
            Said::Assigned { is_given } => {
                self.is_assigned |= is_given;
                self.renewals.due = Instant::now();
                self.look = (!self.is_assigned).then(|| Instant::now() + LOOK_EVERY);
                (!self.is_assigned).then_some(Change::StandsBy)
            }
            Said::Revoked { is_lost } => {
                self.is_assigned = false;
                let asked = *self.asked.get_or_insert_with(Instant::now);
                if let Some(change) = self.end(if is_lost { Loss::CountedOut } else { Loss::Revoked }) {
                    return Some(change);
                }
                // The answer to a renewal of before must not find the join that follows under way: it would
                // make librdkafka forget its new member id, and the group wait for that one.
                let is_asked_still = self.renewals.is_pending() && asked.elapsed() < ANSWER_WITHIN;
                if !self.is_free() || is_asked_still {
                    return None;
                }
                None
            }
        };
        self.asked = None;
        self.consumer.context().answered();
        if let Err(error) = answer(&self.consumer, said) {
            tracing::warn!(%error, "the lease's group could not be answered");
        }
        change
    }

    fn renew(&mut self) {
        let may_begin = self.lent.as_ref().is_none_or(|lent| !lent.was_ended());
        if self.is_assigned && may_begin && Instant::now() >= self.renewals.due {
            self.renewals.ask();
        }
    }

    /// Joins anew where nobody holds the lease. A group whose leader had not heard of a new topic yet gives its
    /// partition to nobody, and nothing would make it think again.
    fn look_around(&mut self) -> Result<(), KafkaError> {
        if self.is_assigned || self.look.is_none_or(|due| Instant::now() < due) {
            return Ok(());
        }
        self.look = Some(Instant::now() + LOOK_EVERY);
        if self.consumer.context().said().is_some() || !self.is_nobodys()? {
            return Ok(());
        }
        tracing::info!("nobody holds the lease; joins its group anew");
        self.look = None;
        self.consumer.unsubscribe();
        self.consumer.subscribe(&[&self.topic])
    }

    /// Whether nobody is in the group, as far as its coordinator knows.
    fn is_group_empty(&self) -> Result<bool, KafkaError> {
        // A client that knows no broker yet asks none for groups.
        self.consumer.fetch_metadata(Some(&self.topic), LOOK_TIMEOUT)?;
        let groups = self.consumer.fetch_group_list(Some(&self.group), LOOK_TIMEOUT)?;
        Ok(groups.groups().iter().all(|group| group.name() != self.group || group.members().is_empty()))
    }

    /// Whether the group is settled, and has given the partition to none of its members.
    fn is_nobodys(&self) -> Result<bool, KafkaError> {
        let groups = self.consumer.fetch_group_list(Some(&self.group), LOOK_TIMEOUT)?;
        let own = groups.groups().iter().find(|group| group.name() == self.group);
        Ok(own.is_some_and(|group| {
            let mut members = group.members().iter();
            group.state() == "Stable"
                && !members.any(|member| member.assignment().is_some_and(group::is_given))
        }))
    }

    /// Whether nothing is done under the lease.
    fn is_free(&mut self) -> bool {
        if self.lent.as_ref().is_some_and(Lent::is_back) {
            self.lent = None;
        }
        self.lent.is_none()
    }
}

impl Drop for Candidate {
    /// From here on events are answered as they come; one without its answer would keep the close waiting for
    /// ever.
    fn drop(&mut self) {
        let context = self.consumer.context();
        context.close();
        while let Some(said) = context.said() {
            if let Err(error) = answer(&self.consumer, said) {
                tracing::debug!(%error, "could not answer the group while closing");
            }
            context.answered();
        }
    }
}

/// Makes the lease's topic; `false` when it is there already. Nothing is ever written to it: if there are
/// fewer brokers than `replication`, their default will do.
pub async fn create_topic(kafka: &KafkaConfig, topic: &str, replication: i32) -> Result<bool, CreateError> {
    const BROKERS_DEFAULT: i32 = -1;
    let admin: AdminClient<Logged> =
        client::base_config(kafka, "lease").create_with_context(Logged).map_err(ClientError::Settings)?;
    let options =
        AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT));
    let refused = |cause| CreateError::Refused { topic: topic.to_owned(), cause };
    for replication in [replication, BROKERS_DEFAULT] {
        let new = NewTopic::new(topic, 1, TopicReplication::Fixed(replication));
        let answers = admin.create_topics([&new], &options).await.map_err(refused)?;
        match answers.into_iter().find_map(Result::err) {
            None => return Ok(true),
            Some((_, RDKafkaErrorCode::TopicAlreadyExists)) => break,
            Some((_, RDKafkaErrorCode::InvalidReplicationFactor)) if replication != BROKERS_DEFAULT => {}
            Some((_, code)) => return Err(refused(KafkaError::AdminOp(code))),
        }
    }
    Ok(false)
}

/// Whether an error says that somebody deleted the lease's topic.
pub fn is_topic_gone(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition)
}

/// The lease's topic can't be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// librdkafka refuses the settings.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The brokers don't make it.
    #[error("the brokers don't make the topic `{topic}` ({cause}); make it by hand, with one partition")]
    Refused {
        /// The topic.
        topic: String,
        /// Their words.
        cause: KafkaError,
    },
}
