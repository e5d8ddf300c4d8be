//! The topics, and what stands on staging before anybody runs.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tickgate::model::{EventTime, partition_of};

pub(crate) const STAGING: &str = "staging";
/// Where the pass-through writes.
pub(crate) const COPY: &str = "copy";

/// Of 1,000 records this many are bad.
const BAD_PER_1000: u64 = 30;
/// Times a number below 2^32, modulo what it does not divide, it meets each rest once.
const SPREADING_PRIME: u64 = 2_654_435_761;
const TIMEOUT: Duration = Duration::from_secs(30);

/// What staging holds.
pub(crate) struct Layout {
    pub(crate) records: u64,
    pub(crate) partitions: i32,
    pub(crate) symbols: Symbols,
}

/// Which symbols the records are of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Symbols {
    /// So many, by chance; some records are bad.
    #[allow(dead_code)] // not every bench has both
    ByChance(u64),
    /// So many, each as often as every other; all records are good.
    #[allow(dead_code)]
    EachOnce(u64),
}

/// Creates the topics and fills staging; answers staging's end offsets, by partition.
pub(crate) fn prepare(brokers: &str, layout: &Layout) -> anyhow::Result<Vec<i64>> {
    create(brokers, &[(STAGING, &[("message.timestamp.type", "LogAppendTime")])], layout.partitions)?;
    let outputs = ["stock_data", "bad_data", COPY].map(|name| (name, [].as_slice()));
    create(brokers, &outputs, layout.partitions)?;
    fill(brokers, layout)?;
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let ends = (0..layout.partitions)
        .map(|partition| Ok(consumer.fetch_watermarks(STAGING, partition, TIMEOUT)?.1))
        .collect::<anyhow::Result<Vec<i64>>>()?;
    let there = ends.iter().sum::<i64>();
    anyhow::ensure!(u64::try_from(there)? == layout.records, "staging holds {there} records");
    Ok(ends)
}

/// Creates the changelog of a group, and waits until the broker leads all of it.
pub(crate) fn create_changelog(brokers: &str, group: &str, partitions: i32) -> anyhow::Result<()> {
    let name = format!("{group}-last_seen-changelog");
    create(brokers, &[(&name, &[("cleanup.policy", "compact")])], partitions)?;
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let give_up = Instant::now() + TIMEOUT;
    for partition in 0..partitions {
        while let Err(error) = consumer.fetch_watermarks(&name, partition, TIMEOUT) {
            anyhow::ensure!(Instant::now() < give_up, "waiting for `{name}`: {error}");
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

fn create(
    brokers: &str,
    topics: &[(&str, &[(&'static str, &'static str)])],
    partitions: i32,
) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let topics: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|(name, settings)| {
            let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
            settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let created = runtime.block_on(admin.create_topics(&topics, &AdminOptions::new()))?;
    for result in created {
        result.map_err(|(topic, code)| anyhow::anyhow!("creating `{topic}`: {code}"))?;
    }
    Ok(())
}

/// Sends the records.
pub(crate) fn fill(brokers: &str, layout: &Layout) -> anyhow::Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .set("batch.size", "1000000")
        .set("enable.idempotence", "true")
        .create()?;
    let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let first_ms = now_ms - i64::try_from(layout.records)?;
    for (event_time, number) in (first_ms..).zip(0..layout.records) {
        let (key, value) = record(number, layout.symbols, EventTime(event_time));
        let partition = partition_of(key.as_bytes(), layout.partitions);
        let mut record = BaseRecord::to(STAGING).partition(partition).key(&key).payload(&value);
        while let Err((error, refused)) = producer.send(record) {
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            anyhow::ensure!(full, "filling staging: {error}");
            producer.poll(Duration::from_millis(10));
            record = refused;
        }
        if number % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(TIMEOUT * 4).context("filling staging")
}

/// The record's key and value; the same number always gives the same quote.
fn record(number: u64, symbols: Symbols, time: EventTime) -> (String, String) {
    // Fibonacci hashing: spreads the symbols without repeating their order.
    let chance = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    let (symbol, bad_per_1000) = match symbols {
        Symbols::ByChance(symbols) => (chance % symbols, BAD_PER_1000),
        Symbols::EachOnce(symbols) => (number.wrapping_mul(SPREADING_PRIME) % symbols, 0),
    };
    let symbol = format!("SYM{symbol:05}");
    let (cents, volume) = (10_000 + chance % 40_000, 1 + chance % 900);
    let price = format!("{}.{:02}", cents / 100, cents % 100);
    let text = |price: &str, time: &str| {
        format!(r#"{{"symbol":"{symbol}","last_price":{price},"volume":{volume},"timestamp":"{time}"}}"#)
    };
    let good = |price: &str| text(price, &time.to_string());
    if number % 1_000 >= bad_per_1000 {
        let value = good(&price);
        return (symbol, value);
    }
    let value = match number % 6 {
        0 => good(&format!("-{price}")),
        1 => good("null"),
        2 => good("\"189.12\""),
        3 => text(&price, "2026-11-22 14:00:00"),
        4 => format!(r#"{{"symbol":"{symbol}","volume":{volume},"timestamp":"{time}"}}"#),
        _ => format!(r#"{{"symbol":"{symbol}","last_price":{price}"#),
    };
    (symbol, value)
}
