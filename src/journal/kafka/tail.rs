//! Following all partitions of one topic, committed records only, without a group: for whoever only looks on. It
//! begins a while back, commits nothing, and goes on at what is oldest where records are gone before they were read.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Offset as RdOffset, TopicPartitionList};

use super::client::{self, Logged};
use super::owners::Owners;
use crate::model::{Offset, Partition};

/// librdkafka demands a name even of those who are in no group.
const NO_GROUP: &str = "tickgate-onlooker";
/// What is fetched ahead is bounded; records are taken as they come.
const TUNING: [(&str, &str); 4] = [
    ("fetch.wait.max.ms", "50"),
    ("queued.min.messages", "20000"),
    ("queued.max.messages.kbytes", "16384"),
    ("fetch.max.bytes", "4194304"),
];
/// How long one question about the topic may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// How far back to begin.
#[derive(Debug, Clone, Copy)]
pub struct LookBack {
    /// Records of this Kafka time or later, in ms since 1970.
    pub from_ms: i64,
    /// Of these at most so many over all partitions, the newest.
    pub records: u32,
}

/// Reads a topic without an end.
pub struct Tail {
    consumer: BaseConsumer<Logged>,
    topic: String,
    partitions: Partition,
    is_cut: bool,
}

impl Tail {
    /// Begins. `config` has brokers and security.
    pub fn start(mut config: ClientConfig, topic: &str, back: LookBack) -> Result<Self, KafkaError> {
        client::tune(&mut config, &TUNING);
        let owners = Owners::with_patience(config.clone(), NO_GROUP, ASK_TIMEOUT)?;
        let partitions = owners.partitions(topic)?;
        if partitions == 0 {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        let all: Vec<Partition> = (0..partitions).collect();
        let (ends, times) = (owners.ends(topic, &all)?, owners.at_time(topic, &all, back.from_ms)?);
        let each = Offset::from(back.records) / Offset::from(partitions);
        let mut is_cut = false;
        let mut list = TopicPartitionList::with_capacity(all.len());
        for (partition, end) in ends {
            let since = times.get(&partition).copied().unwrap_or(end.last_stable);
            let newest = end.last_stable - each;
            is_cut |= since < newest;
            list.add_partition_offset(topic, partition, RdOffset::Offset(since.max(newest).max(end.start)))?;
        }
        config
            .set("group.id", NO_GROUP)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer<Logged> = config.create_with_context(Logged)?;
        consumer.assign(&list)?;
        Ok(Self { consumer, topic: topic.to_owned(), partitions, is_cut })
    }

    /// Whether there was more in that time than was to be read.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Waits up to `wait` for the next record.
    pub fn next(&self, wait: Duration) -> Result<Option<BorrowedMessage<'_>>, KafkaError> {
        self.consumer.poll(wait).transpose()
    }

    /// Asks whether brokers answer, and follows partitions that have been added, from their start on.
    pub fn look(&mut self) -> Result<(), KafkaError> {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), ASK_TIMEOUT)?;
        let found = metadata.topics().first().map_or(0, |found| found.partitions().len());
        let found = Partition::try_from(found).unwrap_or(Partition::MAX);
        let mut list = TopicPartitionList::new();
        for partition in self.partitions..found {
            list.add_partition_offset(&self.topic, partition, RdOffset::Beginning)?;
        }
        if found > self.partitions {
            self.consumer.incremental_assign(&list)?;
            self.partitions = found;
        }
        Ok(())
    }
}
