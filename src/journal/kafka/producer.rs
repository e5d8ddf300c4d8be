//! A worker's transactional producer: outputs, changelog and input offsets in one transaction.
//!
//! Errors come back sorted by what must follow ([`Trouble`]); calls that may simply be repeated are repeated
//! here, as long as `patience` allows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset as RdOffset, TopicPartitionList};

use super::endless::{self, GivenUp};
use super::membership::Metadata;
use super::{REQUEST_TIMEOUT, client};
use crate::model::{Claim, Offset, Partition};

/// librdkafka properties that only bear on speed and memory.
pub const TUNING: [(&str, &str); 5] = [
    ("linger.ms", "5"),
    ("batch.size", "524288"),
    ("compression.type", "lz4"),
    ("queue.buffering.max.messages", "100000"),
    ("queue.buffering.max.kbytes", "32768"),
];

/// Why something inside a transaction failed, by what must follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Abort, read again.
    Abort(String),
    /// Kafka refuses a message for good; the tag says which.
    Refused {
        /// What [`RoundProducer::send`] was given.
        tag: usize,
        /// Kafka's words.
        reason: String,
    },
    /// The commit's outcome is unknown: commit again.
    Unknown(String),
    /// The producer is fenced or otherwise dead.
    Fatal(String),
    /// The process is to stop.
    Interrupted,
}

/// A message to send.
pub struct Outgoing<'a> {
    /// Where to.
    pub topic: &'a str,
    /// Its partition: outputs stay in their input's.
    pub partition: Partition,
    /// Key bytes.
    pub key: Option<&'a [u8]>,
    /// Value bytes; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Record time in ms since 1970; `None` lets the producer set it.
    pub time: Option<i64>,
    /// Headers, ours last.
    pub headers: Option<OwnedHeaders>,
    /// Comes back in [`Trouble::Refused`].
    pub tag: usize,
    /// Whether its offset is to be kept for [`RoundProducer::positions`].
    pub marks_position: bool,
}

/// One transactional id, one open transaction at most.
pub struct RoundProducer {
    /// Shared with a thread while that adds offsets.
    producer: Arc<BaseProducer<Deliveries>>,
    id: String,
    patience: Box<dyn Fn() -> bool + Send>,
}

/// What delivery reports have told since the transaction began.
#[derive(Default)]
struct Deliveries(Mutex<Reports>);

#[derive(Default)]
struct Reports {
    positions: Vec<(Partition, Offset)>,
    refused: Option<(usize, usize, String)>,
    failed: Option<String>,
    fatal: Option<String>,
}

const MARKS_POSITION: usize = 1;
/// Bound on one call that is made again until it is answered: how long a wish to stop may go unheard.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// When a call that should have ended by itself long since is given up, and the producer with it.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log_error(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        match result {
            Ok(message) if opaque & MARKS_POSITION != 0 => {
                let position = (message.partition(), message.offset() + 1);
                self.0.lock().unwrap_or_else(PoisonError::into_inner).positions.push(position);
            }
            Ok(_) => {}
            Err((error, message)) => {
                let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let bytes = message.payload_len() + message.key_len();
                match error.rdkafka_error_code() {
                    Some(code) if refuses_for_good(code) => {
                        // A batch is refused as a whole; its largest message is the likeliest cause.
                        if reports.refused.as_ref().is_none_or(|(largest, _, _)| bytes > *largest) {
                            reports.refused = Some((bytes, opaque >> 1, error.to_string()));
                        }
                    }
                    Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::Fatal) => {
                        reports.fatal = Some(error.to_string());
                    }
                    _ => reports.failed = Some(error.to_string()),
                }
            }
        }
    }
}

fn refuses_for_good(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::MessageBatchTooLarge
            | RDKafkaErrorCode::InvalidTimestamp
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::PolicyViolation
    )
}

impl RoundProducer {
    /// Creates the producer and fences whoever used the id before. `patience` answers whether to go on
    /// waiting.
    pub fn start(
        mut config: ClientConfig,
        id: &str,
        transaction_timeout: Duration,
        message_max_bytes: usize,
        patience: Box<dyn Fn() -> bool + Send>,
    ) -> Result<Self, Trouble> {
        let timeout_ms = transaction_timeout.as_millis().to_string();
        config
            .set("transactional.id", id)
            .set("transaction.timeout.ms", &timeout_ms)
            .set("message.timeout.ms", &timeout_ms)
            .set("message.max.bytes", message_max_bytes.to_string());
        client::tune(&mut config, &TUNING);
        let fatal = |error: KafkaError| Trouble::Fatal(error.to_string());
        let producer: BaseProducer<Deliveries> =
            config.create_with_context(Deliveries::default()).map_err(fatal)?;
        let started = Self { producer: Arc::new(producer), id: id.to_owned(), patience };
        started.repeat(|| started.producer.init_transactions(REQUEST_TIMEOUT))?;
        Ok(started)
    }

    /// The transactional id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether there is patience left to wait for an answer.
    pub fn may_wait(&self) -> bool {
        (self.patience)()
    }

    /// Opens a transaction.
    pub fn begin(&self) -> Result<(), Trouble> {
        *self.reports() = Reports::default();
        self.producer.begin_transaction().map_err(|error| sort(&error))
    }

    /// Hands a message to the transaction; waits while the queue is full.
    pub fn send(&self, outgoing: Outgoing<'_>) -> Result<(), Trouble> {
        let opaque = outgoing.tag << 1 | usize::from(outgoing.marks_position);
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(outgoing.topic, opaque).partition(outgoing.partition);
        record.key = outgoing.key;
        record.payload = outgoing.value;
        record.timestamp = outgoing.time;
        record.headers = outgoing.headers;
        loop {
            let (error, refused) = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err(refusal) => refusal,
            };
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => {
                    if !(self.patience)() {
                        return Err(Trouble::Interrupted);
                    }
                    self.producer.poll(Duration::from_millis(5));
                    record = refused;
                }
                Some(code) if refuses_for_good(code) => {
                    return Err(Trouble::Refused { tag: outgoing.tag, reason: error.to_string() });
                }
                Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::Fatal) => {
                    return Err(Trouble::Fatal(error.to_string()));
                }
                _ => return Err(Trouble::Abort(error.to_string())),
            }
        }
    }

    /// Serves delivery reports without waiting.
    pub fn serve(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until every message sent is delivered or has failed.
    pub fn drain(&self) -> Result<(), Trouble> {
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(Duration::from_millis(1));
            if !(self.patience)() {
                return Err(Trouble::Interrupted);
            }
        }
        let reports = self.reports();
        if let Some(reason) = &reports.fatal {
            return Err(Trouble::Fatal(reason.clone()));
        }
        if let Some((_, tag, reason)) = &reports.refused {
            return Err(Trouble::Refused { tag: *tag, reason: reason.clone() });
        }
        match &reports.failed {
            Some(reason) => Err(Trouble::Abort(reason.clone())),
            None => Ok(()),
        }
    }

    /// For each position-marking message delivered in this transaction: its partition and the offset after it.
    pub fn positions(&self) -> Vec<(Partition, Offset)> {
        self.reports().positions.clone()
    }

    /// Adds input offsets (next to read; whether the partition is given up) to the transaction.
    pub fn send_offsets(
        &self,
        topic: &str,
        offsets: &[(Partition, Offset, bool)],
        metadata: &Arc<Metadata>,
    ) -> Result<(), Trouble> {
        let claim = |released| Claim { transactional_id: self.id.clone(), released }.encode();
        let noted =
            offsets.iter().map(|(partition, offset, released)| (*partition, *offset, claim(*released)));
        self.send_noted_offsets(topic, noted, metadata)
    }

    /// Adds offsets (next to read) to the transaction, each with a note of the caller's own, in UTF-8.
    pub fn send_noted_offsets(
        &self,
        topic: &str,
        offsets: impl IntoIterator<Item = (Partition, Offset, String)>,
        metadata: &Arc<Metadata>,
    ) -> Result<(), Trouble> {
        let mut list = TopicPartitionList::new();
        for (partition, offset, note) in offsets {
            let mut element = list.add_partition(topic, partition);
            element.set_offset(RdOffset::Offset(offset)).map_err(|error| sort(&error))?;
            element.set_metadata(note);
        }
        let list = Arc::new(list);
        self.repeat_each(|| {
            let (producer, list, metadata) =
                (Arc::clone(&self.producer), Arc::clone(&list), Arc::clone(metadata));
            // Whatever timeout it is given, it waits without end for the group's coordinator to be connected.
            let call = move || producer.send_offsets_to_transaction(&list, &metadata.0, CALL_TIMEOUT);
            endless::wait_for(call, GIVE_UP_AFTER, &*self.patience).map_err(|given_up| match given_up {
                GivenUp::Interrupted => Trouble::Interrupted,
                // The call has the producer: nothing else can be asked of it.
                given_up => Trouble::Fatal(format!("adding offsets to a transaction: {given_up}")),
            })
        })
    }

    /// Commits, or asks again what became of the commit.
    pub fn commit(&self) -> Result<(), Trouble> {
        self.producer.commit_transaction(CALL_TIMEOUT).map_err(|error| match sort_call(&error) {
            Call::Again => Trouble::Unknown(error.to_string()),
            Call::Over(trouble) => trouble,
        })
    }

    /// Aborts; outstanding delivery reports are served first, or the abort would block.
    pub fn abort(&self) -> Result<(), Trouble> {
        let give_up = Instant::now() + CALL_TIMEOUT;
        while self.producer.in_flight_count() > 0 && Instant::now() < give_up {
            self.producer.purge(rdkafka::producer::PurgeConfig::default().queue());
            self.producer.poll(Duration::from_millis(1));
        }
        self.repeat(|| self.producer.abort_transaction(CALL_TIMEOUT))
    }

    fn repeat(&self, call: impl Fn() -> Result<(), KafkaError>) -> Result<(), Trouble> {
        self.repeat_each(|| Ok(call()))
    }

    fn repeat_each(&self, call: impl Fn() -> Result<Result<(), KafkaError>, Trouble>) -> Result<(), Trouble> {
        let mut pause = Duration::from_millis(10);
        loop {
            let Err(error) = call()? else { return Ok(()) };
            let Call::Again = sort_call(&error) else { return Err(sort(&error)) };
            tracing::debug!(%error, "repeating a call that may be repeated");
            self.producer.poll(pause);
            if !(self.patience)() {
                return Err(Trouble::Interrupted);
            }
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    fn reports(&self) -> std::sync::MutexGuard<'_, Reports> {
        self.producer.context().0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Call {
    Again,
    Over(Trouble),
}

fn sort_call(error: &KafkaError) -> Call {
    match error {
        KafkaError::Transaction(inner)
            if !inner.is_fatal() && !inner.txn_requires_abort() && inner.is_retriable() =>
        {
            Call::Again
        }
        _ => Call::Over(sort(error)),
    }
}

fn sort(error: &KafkaError) -> Trouble {
    match error {
        KafkaError::Transaction(inner) if inner.txn_requires_abort() && !inner.is_fatal() => {
            Trouble::Abort(inner.string())
        }
        KafkaError::Transaction(inner) => Trouble::Fatal(inner.string()),
        other => Trouble::Fatal(other.to_string()),
    }
}
