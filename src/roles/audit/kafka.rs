//! What an audit asks of Kafka: committed offsets, settled ends, and records up to them.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Message as _, Offset as KafkaOffset, Timestamp, TopicPartitionList,
    config::ClientConfig,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::BorrowedMessage,
    types::RDKafkaErrorCode,
};

use super::{Failure, reach};
use crate::{
    audit::Message,
    config::KafkaConfig,
    journal::kafka::{
        client::{self, Logged},
        headers::{self, Header},
    },
    model::{Offset, Partition},
};

/// Between two looks at a last stable offset that an open transaction holds back.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long one poll waits for a record.
const POLL_TIMEOUT: Duration = Duration::from_millis(200);

/// Offsets of one partition, from `start` to `end`, exclusive.
#[derive(Debug, Clone, Copy)]
pub(in crate::roles) struct Range {
    pub(in crate::roles) partition: Partition,
    pub(in crate::roles) start: Offset,
    pub(in crate::roles) end: Offset,
}

impl Range {
    /// How many offsets there are; not all need to hold records.
    pub(in crate::roles) fn len(self) -> i64 {
        (self.end - self.start).max(0)
    }
}

/// The clients of an audit. None of them joins the group or commits.
pub(in crate::roles) struct Kafka {
    /// Sees high watermarks, and committed offsets without waiting for pending ones.
    uncommitted: BaseConsumer<Logged>,
    /// Sees last stable offsets, and waits for pending commits.
    committed: BaseConsumer<Logged>,
    reading: ClientConfig,
    timeout: Duration,
}

impl Kafka {
    /// Waits for brokers; `role` is named to them.
    pub(in crate::roles) fn connect(
        config: &KafkaConfig,
        group: &str,
        role: &str,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        reach(config, timeout)?;
        let mut reading = client::base_config(config, role);
        reading
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            // Only retention can outrun a start that was just asked for.
            .set("auto.offset.reset", "earliest")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", "100")
            .set("isolation.level", "read_committed");
        let mut uncommitted = reading.clone();
        uncommitted.set("isolation.level", "read_uncommitted");
        Ok(Self { uncommitted: consumer(&uncommitted)?, committed: consumer(&reading)?, reading, timeout })
    }

    /// How many partitions the topics have; all must have as many.
    pub(in crate::roles) fn partitions(&self, topics: &[&str]) -> Result<i32, Failure> {
        let mut counts = Vec::new();
        for topic in topics {
            let metadata = self
                .committed
                .fetch_metadata(Some(topic), self.timeout)
                .map_err(|error| failed("reading the metadata", topic, error))?;
            let count = metadata.topics().first().map_or(0, |found| found.partitions().len());
            if count == 0 {
                return Err(Failure::settings(anyhow::anyhow!(
                    "the topic `{topic}` does not exist; create it with `tickgate topics apply`"
                )));
            }
            counts.push((topic, count));
        }
        let staging = counts.first().map_or(0, |(_, count)| *count);
        if let Some((topic, count)) = counts.iter().find(|(_, count)| *count != staging) {
            return Err(Failure::settings(anyhow::anyhow!(
                "the topic `{topic}` has {count} partitions, expected {staging} as `{}` has; see `tickgate topics describe`",
                topics[0]
            )));
        }
        Ok(i32::try_from(staging).unwrap_or(i32::MAX))
    }

    /// What a partition retains, up to its high watermark.
    pub(in crate::roles) fn retained(&self, topic: &str, partition: Partition) -> Result<Range, Failure> {
        watermarks(&self.uncommitted, topic, partition, self.timeout)
    }

    /// The group's committed offsets without those of open transactions; `None` where there is none.
    pub(in crate::roles) fn committed(
        &self,
        topic: &str,
        partitions: &[Partition],
    ) -> Result<Vec<Option<Offset>>, Failure> {
        committed(&self.uncommitted, topic, partitions, self.timeout)
            .map_err(|error| failed("reading the committed offsets", topic, error))
    }

    /// The committed offsets once nothing of them is pending; `None` for all where that never was in time.
    pub(in crate::roles) fn stable_committed(
        &self,
        topic: &str,
        partitions: &[Partition],
    ) -> Result<Vec<Option<Offset>>, Failure> {
        match committed(&self.committed, topic, partitions, self.timeout) {
            Ok(offsets) => Ok(offsets),
            Err(error) if client::is_unreachable(&error) || is_passing(&error) => {
                Ok(vec![None; partitions.len()])
            }
            Err(error) => Err(failed("reading the committed offsets", topic, error)),
        }
    }

    /// What the partitions retain up to their last stable offsets, once these have reached what the high
    /// watermarks were at first.
    pub(in crate::roles) fn settled(
        &self,
        topic: &str,
        partitions: &[Partition],
    ) -> Result<Vec<Range>, Failure> {
        let ends: Vec<_> = partitions
            .iter()
            .map(|partition| Ok(self.retained(topic, *partition)?.end))
            .collect::<Result<_, Failure>>()?;
        let deadline = Instant::now() + self.timeout;
        let mut settled = Vec::new();
        for (partition, end) in partitions.iter().zip(ends) {
            loop {
                let stable = watermarks(&self.committed, topic, *partition, self.timeout)?;
                if stable.end >= end {
                    settled.push(stable);
                    break;
                }
                if Instant::now() > deadline {
                    return Err(Failure::unreachable(anyhow::anyhow!(
                        "a transaction holds `{topic}`, partition {partition}, at {}, expected {end} within --timeout; \
                         wait for its end or give more time",
                        stable.end
                    )));
                }
                thread::sleep(LOOK_INTERVAL);
            }
        }
        Ok(settled)
    }

    /// The ranges, each from the first record on whose time is `ms` (since 1970) or later.
    pub(in crate::roles) fn since(
        &self,
        topic: &str,
        ranges: Vec<Range>,
        ms: i64,
    ) -> Result<Vec<Range>, Failure> {
        let mut asked = TopicPartitionList::new();
        for range in &ranges {
            asked
                .add_partition_offset(topic, range.partition, KafkaOffset::Offset(ms))
                .map_err(|error| failed("looking up a time", topic, error))?;
        }
        let found = self
            .committed
            .offsets_for_times(asked, self.timeout)
            .map_err(|error| failed("looking up a time", topic, error))?;
        ranges
            .into_iter()
            .map(|range| {
                let Some(element) = found.find_partition(topic, range.partition) else { return Ok(range) };
                element.error().map_err(|error| failed("looking up a time", topic, error))?;
                let start = match element.offset() {
                    KafkaOffset::Offset(offset) => offset.clamp(range.start, range.end.max(range.start)),
                    _ => range.end,
                };
                Ok(Range { start, ..range })
            })
            .collect()
    }

    /// Reads the committed records of all ranges, each partition in its order.
    pub(in crate::roles) fn read(
        &self,
        topic: &str,
        ranges: &[Range],
        mut each: impl FnMut(Partition, &Message<'_>),
    ) -> Result<(), Failure> {
        self.read_borrowed(topic, ranges, |record| {
            each(record.partition(), &message(record));
            Ok(())
        })
    }

    /// The same with records as the library has them; ends with the first failure of `each`.
    pub(in crate::roles) fn read_borrowed(
        &self,
        topic: &str,
        ranges: &[Range],
        mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut open: HashMap<Partition, Offset> = HashMap::new();
        let mut assignment = TopicPartitionList::new();
        for range in ranges.iter().filter(|range| range.len() > 0) {
            open.insert(range.partition, range.end);
            assignment
                .add_partition_offset(topic, range.partition, KafkaOffset::Offset(range.start))
                .map_err(|error| failed("assigning", topic, error))?;
        }
        if open.is_empty() {
            return Ok(());
        }
        let reader = consumer(&self.reading)?;
        reader.assign(&assignment).map_err(|error| failed("assigning", topic, error))?;
        let mut last_progress = Instant::now();
        while !open.is_empty() {
            match reader.poll(POLL_TIMEOUT) {
                Some(Ok(record)) => {
                    last_progress = Instant::now();
                    let Some(&end) = open.get(&record.partition()) else { continue };
                    if record.offset() < end {
                        each(&record)?;
                        // What was done with it may have taken its time.
                        last_progress = Instant::now();
                    }
                    // Else the record lies beyond the range, so that all before it has come.
                    if record.offset() + 1 >= end {
                        close(&reader, topic, record.partition(), &mut open);
                    }
                }
                // The last offsets of a range may be markers, which never come as records: then the partition's
                // stable end says that all has come, as it was at the range's end or beyond before.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    last_progress = Instant::now();
                    open.remove(&partition);
                }
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                    return Err(failed("reading", topic, error));
                }
                Some(Err(error)) => {
                    tracing::debug!(topic, error = %error, "reading goes on after an error");
                    give_up_after(last_progress, self.timeout, topic, open.len())?;
                }
                None => give_up_after(last_progress, self.timeout, topic, open.len())?,
            }
        }
        Ok(())
    }
}

/// Nothing more is wanted of the partition.
fn close(
    reader: &BaseConsumer<Logged>,
    topic: &str,
    partition: Partition,
    open: &mut HashMap<Partition, Offset>,
) {
    open.remove(&partition);
    let mut done = TopicPartitionList::new();
    done.add_partition(topic, partition);
    // Only saves fetching: what still comes is not looked at.
    if let Err(error) = reader.pause(&done) {
        tracing::debug!(topic, partition, error = %error, "a partition that was read could not be paused");
    }
}

fn give_up_after(
    last_progress: Instant,
    timeout: Duration,
    topic: &str,
    partitions: usize,
) -> Result<(), Failure> {
    if last_progress.elapsed() < timeout {
        return Ok(());
    }
    Err(Failure::unreachable(anyhow::anyhow!(
        "{partitions} partitions of `{topic}` gave nothing more for {timeout:?}, expected their records; are all brokers up?"
    )))
}

fn consumer(config: &ClientConfig) -> Result<BaseConsumer<Logged>, Failure> {
    config.create_with_context(Logged).map_err(Failure::settings)
}

fn watermarks(
    consumer: &BaseConsumer<Logged>,
    topic: &str,
    partition: Partition,
    timeout: Duration,
) -> Result<Range, Failure> {
    let (start, end) = consumer
        .fetch_watermarks(topic, partition, timeout)
        .map_err(|error| failed("reading the ends", topic, error))?;
    Ok(Range { partition, start, end })
}

fn committed(
    consumer: &BaseConsumer<Logged>,
    topic: &str,
    partitions: &[Partition],
    timeout: Duration,
) -> Result<Vec<Option<Offset>>, KafkaError> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, *partition);
    }
    let deadline = Instant::now() + timeout;
    let found = loop {
        match consumer.committed_offsets(list.clone(), timeout) {
            // The group's coordinator is being found, or moves.
            Err(error) if is_passing(&error) && Instant::now() < deadline => thread::sleep(LOOK_INTERVAL),
            answer => break answer?,
        }
    };
    partitions
        .iter()
        .map(|partition| {
            let Some(element) = found.find_partition(topic, *partition) else { return Ok(None) };
            element.error()?;
            Ok(match element.offset() {
                KafkaOffset::Offset(offset) => Some(offset),
                _ => None,
            })
        })
        .collect()
}

/// Whether the same question may be answered soon.
fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    error.rdkafka_error_code().is_some_and(|code| {
        matches!(
            code,
            Code::NotCoordinator
                | Code::CoordinatorNotAvailable
                | Code::CoordinatorLoadInProgress
                | Code::WaitingForCoordinator
        )
    })
}

/// Stands for a header whose name is not UTF-8: that it is still there, in its place, is all that is compared.
const UNREADABLE: Header<'static> = ("\u{fffd}", None);

/// A record as it is judged and shown.
pub(in crate::roles) fn message<'a>(record: &'a BorrowedMessage<'_>) -> Message<'a> {
    let kafka_time = match record.timestamp() {
        Timestamp::NotAvailable => None,
        Timestamp::CreateTime(time) | Timestamp::LogAppendTime(time) => Some(time),
    };
    let headers = headers::read(record).into_iter().map(|header| header.unwrap_or(UNREADABLE)).collect();
    Message { offset: record.offset(), kafka_time, key: record.key(), value: record.payload(), headers }
}

fn failed(doing: &str, topic: &str, error: KafkaError) -> Failure {
    let unreachable = client::is_unreachable(&error) || is_passing(&error);
    let cause = anyhow::Error::new(error).context(format!("{doing} of `{topic}` failed"));
    if unreachable { Failure::unreachable(cause) } else { Failure::settings(cause) }
}
