//! Following partitions of the changelog, committed records only, for as long as it is wanted.
//!
//! Partitions come and go one by one; what comes of the others is not disturbed. What is fetched ahead is bounded,
//! whatever the number of partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Offset as RdOffset, TopicPartitionList};

use super::changelog::{Read, Row};
use super::client::Logged;
use crate::model::{Offset, Partition};

/// Reads some partitions of the changelog side by side, without an end.
pub struct Follower {
    consumer: BaseConsumer<Logged>,
    topic: String,
}

impl Follower {
    /// One that follows nothing yet. `config` has brokers and security.
    pub fn new(mut config: ClientConfig, group: &str, topic: &str) -> Result<Self, KafkaError> {
        config
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            // Rows are small: as much is fetched ahead as goes into the store at once, and no more.
            .set("queued.max.messages.kbytes", "8192")
            .set("fetch.message.max.bytes", "524288")
            .set("fetch.max.bytes", "8388608");
        let consumer = config.create_with_context(Logged)?;
        Ok(Self { consumer, topic: topic.to_owned() })
    }

    /// Follows these partitions too, from these offsets on. None of them may be followed already.
    pub fn follow(&self, from: &[(Partition, Offset)]) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(from.len());
        for (partition, offset) in from {
            list.add_partition_offset(&self.topic, *partition, RdOffset::Offset(*offset))?;
        }
        if from.is_empty() { Ok(()) } else { self.consumer.incremental_assign(&list) }
    }

    /// Follows these partitions no more.
    pub fn leave(&self, partitions: &[Partition]) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, *partition);
        }
        if partitions.is_empty() { Ok(()) } else { self.consumer.incremental_unassign(&list) }
    }

    /// Waits up to `wait` for the next thing; an end is that of the moment.
    pub fn next(&self, wait: Duration) -> Result<Read<'_>, KafkaError> {
        match self.consumer.poll(wait) {
            None => Ok(Read::Waiting),
            Some(Ok(message)) => Ok(Read::Row(Row(message))),
            Some(Err(KafkaError::PartitionEOF(partition))) => Ok(Read::End(partition)),
            Some(Err(error)) => Err(error),
        }
    }

    /// The offset behind what was taken last of each partition, markers included. To be believed of those of which a
    /// row or an end has come since they are followed.
    pub fn positions(&self) -> Result<BTreeMap<Partition, Offset>, KafkaError> {
        let positions = self.consumer.position()?;
        let known =
            |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
                RdOffset::Offset(offset) => Some((element.partition(), offset)),
                _ => None,
            };
        Ok(positions.elements().into_iter().filter_map(known).collect())
    }
}
