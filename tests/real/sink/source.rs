//! Records on `stock_data`: those that the gate makes of a feed, and others that no gate would make.

use std::time::Duration;

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::{Header, Headers, OwnedHeaders},
    producer::{BaseRecord, Producer, ThreadedProducer},
    util::Timeout,
};
use tickgate::model::{EventTime, Source};

use crate::{cluster::Settings, feed::Feed, gate::Gate, offsets::wait_caught_up};

/// How many partitions these tests' topics have.
pub const PARTITIONS: i32 = 4;

/// Topics for the settings.
pub fn topics(settings: Settings) -> Settings {
    let settings = settings.with("TOPICS__PARTITIONS", &PARTITIONS.to_string());
    settings.run(&["topics", "apply", "--timeout", "3m"]).ended(0);
    settings
}

/// Keyspace and tables for the settings.
pub fn tables(settings: &Settings) {
    settings.run(&["sink", "schema", "--apply", "--timeout", "2m"]).ended(0);
}

/// Has the gate pass `count` records of a feed within about that time; how many it has accepted.
pub fn pass(settings: &Settings, seed: u64, count: u32, within: Duration) -> u64 {
    let mut gate = Gate::start(settings);
    let mut feed = Feed::new(seed, PARTITIONS);
    feed.flow(settings, count, within);
    wait_caught_up(settings, crate::gate::PATIENCE);
    assert_eq!(gate.terminate(), Some(0));
    feed.expected().accepted
}

/// A record that goes past the gate.
#[derive(Debug, Clone)]
pub struct Straight {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its `tg-src`.
    pub source: Option<Vec<u8>>,
}

impl Straight {
    /// A quote as the gate would pass it on, with `padding` bytes in a field that nobody knows.
    pub fn quote(symbol: &str, number: i64, time_ms: i64, padding: usize) -> Self {
        let value = serde_json::json!({
            "symbol": symbol,
            "last_price": 1,
            "volume": number,
            "timestamp": EventTime(time_ms).to_string(),
            "note": "x".repeat(padding),
        });
        Self {
            key: Some(symbol.as_bytes().to_vec()),
            value: Some(value.to_string().into_bytes()),
            source: Some(Source { partition: 0, offset: number }.encode().to_vec()),
        }
    }
}

/// Appends to partition 0 of `stock_data`, and waits until all are acknowledged.
pub fn append(settings: &Settings, records: impl IntoIterator<Item = Straight>) {
    let producer: ThreadedProducer<rdkafka::producer::DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", settings.direct())
        .set("enable.idempotence", "true")
        .set("message.max.bytes", "2000000")
        .create()
        .unwrap();
    let topic = settings.topic("stock_data");
    for record in records {
        let mut headers = OwnedHeaders::new().insert(Header { key: "theirs", value: Some("kept") });
        if let Some(source) = &record.source {
            headers = headers.insert(Header { key: "tg-src", value: Some(source) });
        }
        let mut sent = BaseRecord::<[u8], [u8]>::to(&topic).partition(0).headers(headers);
        (sent.key, sent.payload) = (record.key.as_deref(), record.value.as_deref());
        while let Err((error, refused)) = producer.send(sent) {
            assert_eq!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::QueueFull));
            std::thread::sleep(Duration::from_millis(5));
            sent = refused;
        }
    }
    producer.flush(Timeout::After(Duration::from_mins(1))).unwrap();
}

/// A dead letter.
#[derive(Debug)]
pub struct Letter {
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// All headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Letter {
    /// The last header of that name, as text.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().rev().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| std::str::from_utf8(value).unwrap_or("not text"))
    }
}

/// All dead letters, in the order of partition 0.
pub fn letters(settings: &Settings) -> Vec<Letter> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", settings.direct())
        .set("group.id", "reads-by-itself")
        .set("enable.auto.commit", "false")
        .set("fetch.message.max.bytes", "4000000")
        .create()
        .unwrap();
    let topic = format!("{}_dead", settings.topic("stock_data"));
    let (_, end) = consumer.fetch_watermarks(&topic, 0, Duration::from_secs(30)).unwrap();
    let mut assigned = TopicPartitionList::new();
    assigned.add_partition_offset(&topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&assigned).unwrap();
    let mut letters = Vec::new();
    while letters.len() < usize::try_from(end).unwrap() {
        let Ok(record) = consumer.poll(Duration::from_secs(30)).expect("a letter in time") else { continue };
        let headers = record.headers().into_iter().flat_map(Headers::iter);
        let headers =
            headers.map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()));
        letters.push(Letter {
            key: record.key().map(<[u8]>::to_vec),
            value: record.payload().map(<[u8]>::to_vec),
            headers: headers.collect(),
        });
    }
    letters
}
