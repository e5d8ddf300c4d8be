//! Dead letters: records that their reader can't use and must not be stopped by, kept whole beside the reason.
//!
//! A letter is the record as it was, in the same partition, with three headers more; it counts once all in-sync
//! replicas have it. It may come twice when its sender dies in between: `tg-dead-place` tells.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use super::client::{self, ClientError, Logged};
use super::headers;
use crate::config::Config;
use crate::model::{Offset, Partition};

/// One word for why the record is dead.
pub const REASON: &str = "tg-dead-reason";
/// The same in words.
pub const DETAIL: &str = "tg-dead-detail";
/// Where the record stands: `topic/partition@offset`.
pub const PLACE: &str = "tg-dead-place";
/// Set where the record's key and value would make the letter larger than the brokers take: how large they are.
pub const LEFT_OUT: &str = "tg-dead-left-out";

/// The longest detail, in bytes.
const DETAIL_BYTES_MAX: usize = 1_024;
/// Letters that are not acknowledged yet.
const LETTERS_MAX: &str = "1000";

/// A record as it came, kept until nobody can need it any more.
#[derive(Debug)]
pub struct Original {
    /// Its partition.
    pub partition: Partition,
    /// Its offset.
    pub offset: Offset,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    time: Option<i64>,
    headers: OwnedHeaders,
}

/// Why a record is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// One word.
    pub reason: &'static str,
    /// The same in words.
    pub detail: String,
}

/// The producer can't go on.
#[derive(Debug, thiserror::Error)]
#[error(
    "a dead letter could not be delivered to `{topic}` ({cause}); is the topic as `tickgate topics apply` makes it?"
)]
pub struct Undeliverable {
    topic: String,
    cause: KafkaError,
}

/// A producer of dead letters.
pub struct DeadLetters {
    producer: FutureProducer<Logged>,
    topic: String,
    from: String,
}

impl Original {
    /// A copy of the record.
    pub fn of(message: &BorrowedMessage<'_>) -> Self {
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            time: message.timestamp().to_millis(),
            headers: headers::kept(message),
        }
    }

    /// A record that has nothing but its place.
    #[cfg(test)]
    pub fn empty(partition: Partition, offset: Offset) -> Self {
        Self { partition, offset, key: None, value: None, time: None, headers: OwnedHeaders::new() }
    }

    /// A record with a value of so many bytes.
    #[cfg(test)]
    pub fn of_bytes(partition: Partition, offset: Offset, bytes: usize) -> Self {
        Self { value: Some(vec![0; bytes]), ..Self::empty(partition, offset) }
    }

    /// Key and value, in bytes.
    pub fn bytes(&self) -> usize {
        let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        length(&self.key) + length(&self.value)
    }
}

impl DeadLetters {
    /// A producer for records of `stock_data`.
    pub fn new(config: &Config) -> Result<Self, ClientError> {
        let mut client = client::base_config(&config.kafka, "sink-dead-letters");
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // Given up only when the brokers refuse it, never because they were away.
            .set("message.timeout.ms", "0")
            .set("message.max.bytes", config.topics.max_dead_letter_bytes().to_string())
            .set("queue.buffering.max.messages", LETTERS_MAX)
            .set("queue.buffering.max.kbytes", "16384");
        let producer = client.create_with_context(Logged).map_err(ClientError::Settings)?;
        let (topic, from) = (config.sink.dead_letter.clone(), config.topics.stock_data.clone());
        Ok(Self { producer, topic, from })
    }

    /// Where they go.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Keeps the record beside the reason, and returns when it is kept, however long brokers are away.
    pub async fn deliver(&self, original: &Original, death: &Death) -> Result<(), Undeliverable> {
        match self.send(original, death, false).await {
            Err(KafkaError::MessageProduction(
                RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessage,
            )) => self.send(original, death, true).await,
            sent => sent,
        }
        .map_err(|cause| Undeliverable { topic: self.topic.clone(), cause })
    }

    async fn send(&self, original: &Original, death: &Death, leaves_out: bool) -> Result<(), KafkaError> {
        let place = format!("{}/{}@{}", self.from, original.partition, original.offset);
        let detail = &death.detail[..death.detail.floor_char_boundary(DETAIL_BYTES_MAX)];
        let mut headers = if leaves_out { OwnedHeaders::new() } else { original.headers.clone() };
        let mut ours = vec![(REASON, death.reason.to_owned()), (DETAIL, detail.to_owned()), (PLACE, place)];
        if leaves_out {
            ours.push((LEFT_OUT, format!("{} bytes of key and value", original.bytes())));
        }
        for (key, value) in &ours {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut record: FutureRecord<'_, [u8], [u8]> =
            FutureRecord::to(&self.topic).partition(original.partition).headers(headers);
        if !leaves_out {
            (record.key, record.payload) = (original.key.as_deref(), original.value.as_deref());
        }
        record.timestamp = original.time.filter(|time| *time > 0);
        self.producer.send(record, Timeout::Never).await.map(drop).map_err(|(error, _)| error)
    }
}
