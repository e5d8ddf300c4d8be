//! What a worker asks of Kafka while it takes partitions over: who owned them, how far everything is, and
//! the end of a dead owner.
//!
//! Two consumers of the same group that never subscribe: one that sees past open transactions and one that
//! does not. Each call is one attempt, bounded in time: one that fails may take a second more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset as RdOffset, TopicPartitionList};

use super::client::Logged;
use super::membership::{self, Metadata};
use super::{REQUEST_TIMEOUT, TopicEnds};
use crate::model::{Claim, Offset, Partition};

/// Asks about partitions without being a member.
pub struct Owners {
    config: ClientConfig,
    uncommitted: BaseConsumer<Logged>,
    committed: BaseConsumer<Logged>,
    /// Bound on one request.
    patience: Duration,
}

/// A partition's committed offset, if there is one, and what was noted with it.
pub type Noted = (Partition, Option<(Offset, String)>);

/// How long one fencing may take; it waits for the dead owner's transaction to be aborted.
const FENCE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a note that no broker takes by its defaults (`offset.metadata.max.bytes` of 4096), and that a request can hold.
const TOO_LONG: usize = 30_000;
/// How long to wait for who leads, after a failure: the client takes it in also when it comes later.
const LEADERS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to read for one record that should be there.
const PEEK_TIMEOUT: Duration = Duration::from_secs(5);

impl Owners {
    /// `config` has brokers and security.
    pub fn new(config: ClientConfig, group: &str) -> Result<Self, KafkaError> {
        Self::with_patience(config, group, REQUEST_TIMEOUT)
    }

    /// The same, with another bound on one request.
    pub fn with_patience(config: ClientConfig, group: &str, patience: Duration) -> Result<Self, KafkaError> {
        let consumer = |isolation: &str| -> Result<BaseConsumer<Logged>, KafkaError> {
            let mut config = config.clone();
            config
                .set("group.id", group)
                .set("isolation.level", isolation)
                .set("enable.auto.commit", "false")
                .set("enable.partition.eof", "true")
                .set("auto.offset.reset", "error")
                .set("fetch.wait.max.ms", "10");
            config.create_with_context(Logged)
        };
        let (uncommitted, committed) = (consumer("read_uncommitted")?, consumer("read_committed")?);
        Ok(Self { config, uncommitted, committed, patience })
    }

    /// Who committed last, pending commits ignored.
    pub fn claims(
        &self,
        topic: &str,
        of: &[Partition],
    ) -> Result<Vec<(Partition, Option<Claim>)>, KafkaError> {
        let found = self.uncommitted.committed_offsets(list(topic, of, RdOffset::Invalid)?, self.patience)?;
        found
            .elements()
            .iter()
            .map(|element| {
                element.error()?;
                Ok((element.partition(), Claim::decode(element.metadata())))
            })
            .collect()
    }

    /// The committed offsets once none is pending; an error while one is.
    pub fn stable_offsets(
        &self,
        topic: &str,
        of: &[Partition],
    ) -> Result<Vec<(Partition, Option<Offset>)>, KafkaError> {
        self.offsets(&self.committed, topic, of)
    }

    /// The committed offsets, pending commits ignored.
    pub fn committed_offsets(
        &self,
        topic: &str,
        of: &[Partition],
    ) -> Result<Vec<(Partition, Option<Offset>)>, KafkaError> {
        self.offsets(&self.uncommitted, topic, of)
    }

    fn offsets(
        &self,
        consumer: &BaseConsumer<Logged>,
        topic: &str,
        of: &[Partition],
    ) -> Result<Vec<(Partition, Option<Offset>)>, KafkaError> {
        let found = consumer.committed_offsets(list(topic, of, RdOffset::Invalid)?, self.patience)?;
        found
            .elements()
            .iter()
            .map(|element| {
                element.error()?;
                let offset = match element.offset() {
                    RdOffset::Offset(offset) => Some(offset),
                    _ => None,
                };
                Ok((element.partition(), offset))
            })
            .collect()
    }

    /// The committed offsets and what was noted with them, once none is pending; an error while one is.
    pub fn noted_offsets(&self, topic: &str, of: &[Partition]) -> Result<Vec<Noted>, KafkaError> {
        let found = self.committed.committed_offsets(list(topic, of, RdOffset::Invalid)?, REQUEST_TIMEOUT)?;
        found
            .elements()
            .iter()
            .map(|element| {
                element.error()?;
                let noted = match element.offset() {
                    RdOffset::Offset(offset) => Some((offset, element.metadata().to_owned())),
                    _ => None,
                };
                Ok((element.partition(), noted))
            })
            .collect()
    }

    /// Start, last stable offset and high watermark of these partitions.
    pub fn ends(&self, topic: &str, of: &[Partition]) -> Result<BTreeMap<Partition, TopicEnds>, KafkaError> {
        let stable = times(&self.committed, topic, of, RdOffset::End, self.patience)?;
        let high = times(&self.uncommitted, topic, of, RdOffset::End, self.patience)?;
        let start = times(&self.uncommitted, topic, of, RdOffset::Beginning, self.patience)?;
        Ok(of
            .iter()
            .filter_map(|partition| {
                let ends = TopicEnds {
                    start: *start.get(partition)?,
                    last_stable: *stable.get(partition)?,
                    high_watermark: *high.get(partition)?,
                };
                Some((*partition, ends))
            })
            .collect())
    }

    /// The first offset whose record has this Kafka time (ms since 1970) or a later one; partitions without any are
    /// left out.
    pub fn at_time(
        &self,
        topic: &str,
        of: &[Partition],
        time_ms: i64,
    ) -> Result<BTreeMap<Partition, Offset>, KafkaError> {
        // Below 0 Kafka takes it for something else than a time; no record is older than 0.
        let asked = list(topic, of, RdOffset::Offset(time_ms.max(0)))?;
        let found = ask_leaders(&self.uncommitted, topic, asked, REQUEST_TIMEOUT)?;
        let mut offsets = BTreeMap::new();
        for element in found.elements() {
            if let RdOffset::Offset(offset) = element.offset() {
                offsets.insert(element.partition(), offset);
            }
        }
        Ok(offsets)
    }

    /// The high watermarks alone.
    pub fn high_watermarks(
        &self,
        topic: &str,
        of: &[Partition],
    ) -> Result<BTreeMap<Partition, Offset>, KafkaError> {
        times(&self.uncommitted, topic, of, RdOffset::End, self.patience)
    }

    /// The last stable offsets alone.
    pub fn last_stable(
        &self,
        topic: &str,
        of: &[Partition],
    ) -> Result<BTreeMap<Partition, Offset>, KafkaError> {
        times(&self.committed, topic, of, RdOffset::End, self.patience)
    }

    /// How many partitions the topic has.
    pub fn partitions(&self, topic: &str) -> Result<Partition, KafkaError> {
        let metadata = self.committed.fetch_metadata(Some(topic), self.patience)?;
        let found = metadata.topics().first().map_or(0, |found| found.partitions().len());
        Ok(Partition::try_from(found).unwrap_or(Partition::MAX))
    }

    /// How many members the group has, as far as members of a classic protocol go.
    pub fn members(&self, group: &str) -> Result<usize, KafkaError> {
        let groups = self.committed.fetch_group_list(Some(group), self.patience)?;
        Ok(groups.groups().iter().filter(|of| of.name() == group).map(|of| of.members().len()).sum())
    }

    /// Whether the group has members, whatever their protocol: asks for a commit of what is committed, with a note that is
    /// too long. Brokers first ask whether a stranger may commit, which none may while there are members; then they refuse
    /// the note, so nothing is written. `false` also where nothing was ever committed.
    pub fn refuses_strangers(&self, topic: &str, of: &[Partition]) -> Result<bool, KafkaError> {
        let found = self.uncommitted.committed_offsets(list(topic, of, RdOffset::Invalid)?, self.patience)?;
        let mut again = TopicPartitionList::new();
        for element in found.elements() {
            element.error()?;
            if let RdOffset::Offset(offset) = element.offset() {
                let mut same = again.add_partition(topic, element.partition());
                same.set_offset(RdOffset::Offset(offset))?;
                // A broker that would take it had the same owner from it.
                same.set_metadata(format!("{};{}", element.metadata(), "x".repeat(TOO_LONG)));
            }
        }
        if again.count() == 0 {
            return Ok(false);
        }
        match self.committed.commit(&again, CommitMode::Sync) {
            Ok(()) => Ok(false),
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OffsetMetadataTooLarge) => {
                Ok(false)
            }
            Err(error) if membership::is_stale_membership(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// For commits of a group without members.
    pub fn metadata(&self) -> Option<Arc<Metadata>> {
        self.committed.group_metadata().map(|metadata| Arc::new(Metadata(metadata)))
    }

    /// Ends whatever transaction this id has open, and every producer that uses it.
    pub fn fence(&self, id: &str) -> Result<(), KafkaError> {
        fence(&self.config, id)
    }

    /// Offset and Kafka time of the first record at or after an offset, in what is committed; `None` when the
    /// partition ends before one comes.
    pub fn peek(
        &self,
        topic: &str,
        partition: Partition,
        from: Offset,
    ) -> Result<Option<(Offset, Option<i64>)>, KafkaError> {
        let mut at = TopicPartitionList::with_capacity(1);
        at.add_partition_offset(topic, partition, RdOffset::Offset(from))?;
        self.committed.assign(&at)?;
        let give_up = Instant::now() + PEEK_TIMEOUT;
        let found = loop {
            match self.committed.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => break Ok(Some((message.offset(), message.timestamp().to_millis()))),
                Some(Err(KafkaError::PartitionEOF(_))) => break Ok(None),
                Some(Err(error)) => break Err(error),
                None if Instant::now() > give_up => {
                    break Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
                }
                None => {}
            }
        };
        self.committed.unassign()?;
        found
    }
}

/// Ends whatever transaction this id has open, and every producer that uses it. `config` has brokers and security. One
/// attempt, bounded in time.
pub fn fence(config: &ClientConfig, id: &str) -> Result<(), KafkaError> {
    let mut config = config.clone();
    config.set("transactional.id", id);
    let producer: BaseProducer = config.create()?;
    producer.init_transactions(FENCE_TIMEOUT)
}

fn list(topic: &str, of: &[Partition], offset: RdOffset) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(of.len());
    for partition in of {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}

/// Kafka's `ListOffsets` for all partitions at once: the "times" -1 and -2 ask for the ends.
fn times(
    consumer: &BaseConsumer<Logged>,
    topic: &str,
    of: &[Partition],
    end: RdOffset,
    patience: Duration,
) -> Result<BTreeMap<Partition, Offset>, KafkaError> {
    let found = ask_leaders(consumer, topic, list(topic, of, end)?, patience)?;
    found
        .elements()
        .iter()
        .map(|element| match element.offset() {
            RdOffset::Offset(offset) => Ok((element.partition(), offset)),
            _ => Err(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset)),
        })
        .collect()
}

/// Kafka's `ListOffsets`, of whom the client takes for the partitions' leaders. It keeps to a leader that has died until
/// that one is back, whoever leads now: a failure makes it ask who does, so that the next attempt is better.
fn ask_leaders(
    consumer: &BaseConsumer<Logged>,
    topic: &str,
    asked: TopicPartitionList,
    patience: Duration,
) -> Result<TopicPartitionList, KafkaError> {
    let found = consumer.offsets_for_times(asked, patience).and_then(|found| {
        found.elements().iter().try_for_each(TopicPartitionListElem::error)?;
        Ok(found)
    });
    if found.is_err()
        && let Err(error) = consumer.fetch_metadata(Some(topic), patience.min(LEADERS_TIMEOUT))
    {
        tracing::debug!(%error, topic, "could not ask who leads");
    }
    found
}
