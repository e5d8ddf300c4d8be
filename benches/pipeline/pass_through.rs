//! The yardstick: reads staging and writes every record to another topic, exactly once, and does nothing
//! else. The same client library and the same settings as the gate has; no state, no headers, no rules.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use tickgate::journal::kafka::{membership, producer};

use crate::job::topics::STAGING;
use crate::staging::COPY;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Records between two looks at the clock and at the delivery reports.
const LOOK_EVERY: usize = 1_000;

/// Runs until it is killed.
pub(crate) fn run(brokers: &str, group: &str, commit_interval_ms: u64) -> anyhow::Result<()> {
    let (consumer, producer) = clients(brokers, group)?;
    let interval = Duration::from_millis(commit_interval_ms);
    producer.init_transactions(REQUEST_TIMEOUT)?;
    consumer.subscribe(&[STAGING])?;
    let mut offsets = BTreeMap::new();
    loop {
        let Some(first) = consumer.poll(Duration::from_millis(200)).transpose()? else { continue };
        let commit_at = Instant::now() + interval;
        producer.begin_transaction()?;
        copy(&producer, &first)?;
        offsets.insert(first.partition(), first.offset() + 1);
        while Instant::now() < commit_at {
            for _ in 0..LOOK_EVERY {
                let left = commit_at.saturating_duration_since(Instant::now());
                let polled = match consumer.poll(Duration::ZERO) {
                    None => consumer.poll(left),
                    some => some,
                };
                let Some(message) = polled.transpose()? else { break };
                copy(&producer, &message)?;
                offsets.insert(message.partition(), message.offset() + 1);
            }
            producer.poll(Duration::ZERO);
        }
        // Not `flush`, which polls in steps of 100 ms.
        while producer.in_flight_count() > 0 {
            producer.poll(Duration::from_millis(1));
        }
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (partition, offset) in std::mem::take(&mut offsets) {
            list.add_partition_offset(STAGING, partition, Offset::Offset(offset))?;
        }
        let metadata = consumer.group_metadata().ok_or_else(|| anyhow::anyhow!("not in the group"))?;
        producer.send_offsets_to_transaction(&list, &metadata, REQUEST_TIMEOUT)?;
        producer.commit_transaction(REQUEST_TIMEOUT)?;
    }
}

fn clients(brokers: &str, group: &str) -> anyhow::Result<(BaseConsumer, BaseProducer)> {
    let mut consumer = ClientConfig::new();
    consumer
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false");
    let mut sender = ClientConfig::new();
    sender.set("bootstrap.servers", brokers).set("transactional.id", group);
    for (name, value) in membership::TUNING {
        consumer.set(name, value);
    }
    for (name, value) in producer::TUNING {
        sender.set(name, value);
    }
    Ok((consumer.create()?, sender.create()?))
}

fn copy(producer: &BaseProducer, message: &BorrowedMessage<'_>) -> anyhow::Result<()> {
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(COPY).partition(message.partition());
    record.key = message.key();
    record.payload = message.payload();
    record.timestamp = message.timestamp().to_millis();
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((error, refused)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                producer.poll(Duration::from_millis(5));
                record = refused;
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}
