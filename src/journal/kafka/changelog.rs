//! Reading the changelog, committed records only, from a position up to its end.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset as RdOffset, TopicPartitionList};

use super::client::Logged;
use crate::model::{Offset, Partition};

/// Reads some partitions of the changelog side by side.
///
/// A partition is read when the fetch has reached its last stable offset: the caller must have seen that
/// one at or above its target *before* the reader starts, or the last round may be missed.
pub struct ChangelogReader {
    consumer: BaseConsumer<Logged>,
    left: BTreeSet<Partition>,
}

/// What the reader came to.
pub enum Read<'a> {
    /// A row; `value` is `None` for a tombstone.
    Row(Row<'a>),
    /// The partition has been read up to its end.
    End(Partition),
    /// Nothing yet.
    Waiting,
}

/// One changelog record.
pub struct Row<'a>(BorrowedMessage<'a>);

impl Row<'_> {
    /// Its partition.
    pub fn partition(&self) -> Partition {
        self.0.partition()
    }

    /// Its offset.
    pub fn offset(&self) -> Offset {
        self.0.offset()
    }

    /// Key bytes.
    pub fn key(&self) -> &[u8] {
        self.0.key().unwrap_or_default()
    }

    /// Value bytes; `None` is a tombstone.
    pub fn value(&self) -> Option<&[u8]> {
        self.0.payload()
    }
}

impl ChangelogReader {
    /// Starts reading; `None` starts at the beginning of the log. `config` has brokers and security.
    pub fn start(
        mut config: ClientConfig,
        group: &str,
        topic: &str,
        from: &[(Partition, Option<Offset>)],
    ) -> Result<Self, KafkaError> {
        config
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "10")
            .set("queued.max.messages.kbytes", "65536");
        let consumer: BaseConsumer<Logged> = config.create_with_context(Logged)?;
        let mut list = TopicPartitionList::with_capacity(from.len());
        for (partition, offset) in from {
            let offset = offset.map_or(RdOffset::Beginning, RdOffset::Offset);
            list.add_partition_offset(topic, *partition, offset)?;
        }
        consumer.assign(&list)?;
        Ok(Self { consumer, left: from.iter().map(|(partition, _)| *partition).collect() })
    }

    /// Whether every partition has been read.
    pub fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// Waits up to `wait` for the next thing.
    pub fn next(&mut self, wait: Duration) -> Result<Read<'_>, KafkaError> {
        match self.consumer.poll(wait) {
            None => Ok(Read::Waiting),
            Some(Ok(message)) => Ok(Read::Row(Row(message))),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.left.remove(&partition);
                Ok(Read::End(partition))
            }
            Some(Err(error)) => Err(error),
        }
    }
}
