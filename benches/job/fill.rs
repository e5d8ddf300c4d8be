//! Writing to staging, partitioned as Java's clients do.

use std::time::Duration;

use anyhow::Context;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tickgate::model::partition_of;

use super::topics::STAGING;

const FLUSH_TIMEOUT: Duration = Duration::from_mins(2);
/// Records between two looks at the delivery reports.
const SERVE_EVERY: u64 = 1_000;

/// An idempotent producer to staging.
pub(crate) struct Filler {
    producer: BaseProducer,
    partitions: i32,
    sent: u64,
}

impl Filler {
    /// `linger_ms` gathers records into larger batches.
    pub(crate) fn new(brokers: &str, partitions: i32, linger_ms: u32) -> anyhow::Result<Self> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("compression.type", "lz4")
            .set("linger.ms", linger_ms.to_string())
            .set("batch.size", "1000000")
            .set("enable.idempotence", "true")
            .create()?;
        Ok(Self { producer, partitions, sent: 0 })
    }

    /// Hands a record over; waits while there is no room.
    pub(crate) fn send(&mut self, key: &str, value: &str) -> anyhow::Result<()> {
        let partition = partition_of(key.as_bytes(), self.partitions);
        let mut record = BaseRecord::to(STAGING).partition(partition).key(key).payload(value);
        while let Err((error, refused)) = self.producer.send(record) {
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            anyhow::ensure!(full, "filling staging: {error}");
            self.producer.poll(Duration::from_millis(10));
            record = refused;
        }
        self.sent += 1;
        if self.sent.is_multiple_of(SERVE_EVERY) {
            self.producer.poll(Duration::ZERO);
        }
        Ok(())
    }

    /// Waits until the broker has everything.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        self.producer.flush(FLUSH_TIMEOUT).context("filling staging")
    }
}
