//! Reading the changelog, committed records only, from a position up to its end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset as RdOffset, TopicPartitionList};

use super::client::{self, Logged};
use crate::model::{Offset, Partition};

/// librdkafka properties that only bear on speed and memory. A queued row takes about ten times its bytes.
pub const TUNING: [(&str, &str); 4] = [
    ("fetch.wait.max.ms", "10"),
    ("fetch.max.bytes", "1048576"),
    ("fetch.queue.backoff.ms", "5"),
    ("queued.max.messages.kbytes", "2048"),
];

/// How long a partition may end before its target without anything more coming.
const END_PATIENCE: Duration = Duration::from_mins(1);

/// What to read of one partition.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    /// The partition.
    pub partition: Partition,
    /// The first offset; `None` for the beginning of the log.
    pub from: Option<Offset>,
    /// The one behind the last; 0 for wherever the log ends.
    pub to: Offset,
}

/// Reads some partitions of the changelog side by side.
///
/// A partition is read when the fetch has come to the log's end, at or above the slice's: the caller must have
/// seen the last stable offset there *before* the reader starts, or the last round may be missed. An end below
/// is no end: for a moment, a broker that has just become the leader knows an older one.
pub struct ChangelogReader {
    consumer: BaseConsumer<Logged>,
    topic: String,
    left: BTreeMap<Partition, Left>,
}

/// A partition that is not read yet.
struct Left {
    slice: Slice,
    /// Since when it has seemed to end before the slice does.
    ended_early: Option<Instant>,
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
pub struct Row<'a>(pub(super) BorrowedMessage<'a>);

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
    /// Starts reading. `config` has brokers and security.
    pub fn start(
        mut config: ClientConfig,
        group: &str,
        topic: &str,
        slices: &[Slice],
    ) -> Result<Self, KafkaError> {
        config
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error");
        client::tune(&mut config, &TUNING);
        let consumer: BaseConsumer<Logged> = config.create_with_context(Logged)?;
        let mut list = TopicPartitionList::with_capacity(slices.len());
        let mut left = BTreeMap::new();
        for slice in slices {
            let from = slice.from.map_or(RdOffset::Beginning, RdOffset::Offset);
            list.add_partition_offset(topic, slice.partition, from)?;
            left.insert(slice.partition, Left { slice: *slice, ended_early: None });
        }
        consumer.assign(&list)?;
        Ok(Self { consumer, topic: topic.to_owned(), left })
    }

    /// Whether every partition has been read.
    pub fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// How many partitions have not been read to their end yet.
    pub fn left(&self) -> usize {
        self.left.len()
    }

    /// Waits up to `wait` for the next thing.
    pub fn next(&mut self, wait: Duration) -> Result<Read<'_>, KafkaError> {
        match self.consumer.poll(wait) {
            None => {
                self.left.retain(|_, left| left.ended_early.is_none_or(|at| at.elapsed() < END_PATIENCE));
                Ok(Read::Waiting)
            }
            Some(Ok(message)) => {
                if let Some(left) = self.left.get_mut(&message.partition()) {
                    left.ended_early = None;
                }
                Ok(Read::Row(Row(message)))
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                let at = position(&self.consumer, &self.topic, partition)?;
                let Some(left) = self.left.get_mut(&partition) else { return Ok(Read::Waiting) };
                if left.is_read(at) {
                    self.left.remove(&partition);
                    return Ok(Read::End(partition));
                }
                Ok(Read::Waiting)
            }
            Some(Err(error)) => Err(error),
        }
    }
}

impl Left {
    /// Whether the end that the leader has told of, with everything below `at` taken, is the slice's end.
    fn is_read(&mut self, at: Option<Offset>) -> bool {
        let Slice { partition, from, to } = self.slice;
        let at = at.or(from).unwrap_or(0);
        if at < to {
            tracing::info!(partition, at, target = to, "the changelog seems to end early; reading on");
            self.ended_early = Some(Instant::now());
        }
        at >= to
    }
}

/// The offset behind what was taken last, markers included; `None` before anything came.
fn position(
    consumer: &BaseConsumer<Logged>,
    topic: &str,
    partition: Partition,
) -> Result<Option<Offset>, KafkaError> {
    let positions = consumer.position()?;
    Ok(positions.find_partition(topic, partition).and_then(|element| match element.offset() {
        RdOffset::Offset(offset) => Some(offset),
        _ => None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_below_the_slices_end_is_not_believed() {
        let left = |from, to| Left { slice: Slice { partition: 0, from, to }, ended_early: None };
        let mut slice = left(Some(5), 9);
        assert!(!slice.is_read(None));
        assert!(!slice.is_read(Some(8)));
        assert!(slice.ended_early.is_some());
        assert!(slice.is_read(Some(9)));
        assert!(left(None, 0).is_read(None), "an empty log");
    }
}
