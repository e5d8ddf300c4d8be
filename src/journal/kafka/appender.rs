//! Appends records to topics, each once while its producer lives, in order per key.
//!
//! Promises: idempotent (a retry within the client doubles nothing), placed by murmur2 as Java clients do,
//! acknowledged by all in-sync replicas; it waits for brokers for ever, and holds a bounded number of
//! records while it does. Deliberately not in here: transactions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::client::{self, ClientError, Logged};
use crate::config::Config;

/// How often a full queue is tried again.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(2);
/// How long one look at a topic may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);
/// Failures of deliveries are logged at most so often; the counts have them all.
const FAILURE_LOG_EVERY_MS: u64 = 1_000;

/// A record to append.
#[derive(Debug, Clone, Copy)]
pub struct Addition<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Decides the partition; without it any partition is right.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// A header, name and value.
    pub header: Option<(&'a str, &'a str)>,
}

/// A topic that can't be appended to.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// Brokers answer, and have no such topic.
    #[error("the brokers have no topic `{0}`; `tickgate topics apply` makes it")]
    Missing(String),
    /// No broker answers, or they are not ready.
    #[error("the brokers can't tell about topic `{topic}` ({cause})")]
    Unknown {
        /// The topic.
        topic: String,
        /// librdkafka's words.
        cause: KafkaError,
    },
    /// librdkafka refuses the settings.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The producer can't go on: what it holds may or may not have been appended.
#[derive(Debug, thiserror::Error)]
#[error("the producer failed for good ({0}); start again")]
pub struct Fatal(String);

/// An idempotent producer.
pub struct Appender {
    producer: ThreadedProducer<Reports>,
}

/// What became of records so far.
#[derive(Debug, Default)]
pub struct Reports {
    delivered: AtomicU64,
    failed: AtomicU64,
    brokers_down: AtomicBool,
    last_failure_log_ms: AtomicU64,
    started: Option<Instant>,
}

impl Appender {
    /// A producer for `role` that holds at most `records_max` records that are not acknowledged yet.
    pub fn new(config: &Config, role: &str, records_max: u32) -> Result<Self, ClientError> {
        let mut client = client::base_config(&config.kafka, role);
        for (name, value) in [("linger.ms", "25"), ("compression.type", "lz4")] {
            // Taste, unlike what follows: `[kafka.properties]` may say otherwise.
            if client.get(name).is_none() {
                client.set(name, value);
            }
        }
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            // A record is given up only when the brokers refuse it, never because they were away.
            .set("message.timeout.ms", "0")
            .set("message.max.bytes", config.topics.max_output_bytes().to_string())
            .set("queue.buffering.max.messages", records_max.to_string())
            .set("queue.buffering.max.kbytes", "131072");
        let reports = Reports { started: Some(Instant::now()), ..Reports::default() };
        let producer =
            ThreadedProducer::from_config_and_context(&client, reports).map_err(ClientError::Settings)?;
        Ok(Self { producer })
    }

    /// Appends a record, waiting while the queue is full; what becomes of it is in [`Reports`]. A record that
    /// can never be sent (too large) counts as failed. Cancelled while it waits, nothing was appended.
    pub async fn append(&self, addition: Addition<'_>) -> Result<(), Fatal> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(addition.topic);
        if let Some(value) = addition.value {
            record = record.payload(value);
        }
        if let Some(key) = addition.key {
            record = record.key(key);
        }
        if let Some((key, value)) = addition.header {
            record = record.headers(OwnedHeaders::new().insert(Header { key, value: Some(value) }));
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    tokio::time::sleep(FULL_QUEUE_PAUSE).await;
                }
                Err((error, _)) => {
                    if let Some((code, reason)) = self.producer.client().fatal_error() {
                        return Err(Fatal(format!("{code}: {reason}")));
                    }
                    self.reports().fail(addition.topic, &error, addition.value.map_or(0, <[u8]>::len));
                    return Ok(());
                }
            }
        }
    }

    /// Records that are neither acknowledged nor failed yet.
    pub fn in_flight(&self) -> u64 {
        u64::try_from(self.producer.in_flight_count()).unwrap_or_default()
    }

    /// What became of records so far.
    pub fn reports(&self) -> &Reports {
        self.producer.context()
    }

    /// Waits until everything is acknowledged or failed, for `timeout` at most, and returns how many records
    /// are neither. Blocks the thread.
    pub fn flush(&self, timeout: Duration) -> u64 {
        // What is left says more than the error, which is a timeout.
        let _ = self.producer.flush(timeout);
        self.in_flight()
    }
}

/// Asks the brokers, once, whether `topic` is there. Blocks the thread.
pub fn check_topic(config: &Config, topic: &str) -> Result<(), TopicError> {
    // A consumer, because a producer's question can make the topic, with the brokers' defaults.
    let client: BaseConsumer<Logged> = client::base_config(&config.kafka, "look")
        .create_with_context(Logged)
        .map_err(|error| TopicError::Client(ClientError::Settings(error)))?;
    let unknown = |cause| TopicError::Unknown { topic: topic.to_owned(), cause };
    let metadata = client.fetch_metadata(Some(topic), TRY_TIMEOUT).map_err(unknown)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    match found.map(|found| (found.error(), found.partitions().len())) {
        Some((None, 1..)) => Ok(()),
        Some((Some(error), _))
            if RDKafkaErrorCode::from(error) != RDKafkaErrorCode::UnknownTopicOrPartition =>
        {
            Err(unknown(KafkaError::MetadataFetch(error.into())))
        }
        _ => Err(TopicError::Missing(topic.to_owned())),
    }
}

impl Reports {
    /// Records acknowledged.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Records that the brokers, or the client itself, refused for good.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether no broker was reachable when last heard of.
    pub fn are_brokers_down(&self) -> bool {
        self.brokers_down.load(Ordering::Relaxed)
    }

    fn fail(&self, topic: &str, error: &KafkaError, bytes: usize) {
        let failed = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
        // Dropping the producer drops these; who drops it has said so.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PurgeQueue) {
            return;
        }
        let now = self.started.map_or(0, |started| started.elapsed().as_millis());
        let now = u64::try_from(now).unwrap_or(u64::MAX).max(1);
        let last = self.last_failure_log_ms.load(Ordering::Relaxed);
        if last == 0 || now.saturating_sub(last) >= FAILURE_LOG_EVERY_MS {
            self.last_failure_log_ms.store(now, Ordering::Relaxed);
            tracing::error!(topic, bytes, failed, "a record could not be appended to `{topic}`: {error}");
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.brokers_down.store(true, Ordering::Relaxed);
        }
        client::log_error(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
                self.brokers_down.store(false, Ordering::Relaxed);
            }
            Err((error, record)) => self.fail(record.topic(), error, record.payload_len()),
        }
    }
}
