//! What tests put on staging: good records of every shape, bad ones that break every rule that a record
//! alone decides, and what the gate must make of them, said by whoever made them.
//!
//! The same seed makes the same records, but for their times.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rdkafka::{
    ClientConfig, ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer},
};
use tickgate::model::partition_of;

use crate::{
    cluster::Settings,
    draft::{Draft, FAULTS, HEADERS, SHAPES},
};

/// Of every hundred records.
const BAD_PERCENT: u32 = 5;
/// Of every thousand records: tombstones.
const REMOVALS_PER_MILLE: u32 = 2;
/// Symbols that fall silent once: they come first with an old time, and again later.
const SILENT: u64 = 10;
/// The record after which they come again.
const SILENT_AGAIN: u64 = 2_000;
/// Longer than every threshold.
const SILENCE_MS: i64 = 6 * 60 * 60 * 1000;
const PLAIN_SYMBOLS: u32 = 1_500;

/// A record of staging.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(&'static str, Option<Vec<u8>>)>,
    /// Where it goes; none for where its key belongs.
    pub partition: Option<i32>,
}

/// What the gate must make of the records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Go to `stock_data`.
    pub accepted: u64,
    /// Go to `bad_data`.
    pub rejected: u64,
    /// Tombstones that end a watch.
    pub removed: u64,
    /// Rejections by rule: a record counts for each rule it breaks.
    pub rules: BTreeMap<&'static str, u64>,
    /// Accepted, in another partition than their key's.
    pub wrong_partition: u64,
    /// Silences: one `stale` and one `recovered` each.
    pub silences: u64,
}

impl Expected {
    /// All records.
    pub fn inputs(&self) -> u64 {
        self.accepted + self.rejected + self.removed
    }
}

/// Makes records, and keeps count of what they call for.
pub struct Feed {
    rng: ChaCha8Rng,
    partitions: i32,
    now_ms: i64,
    symbols: Vec<String>,
    made: u64,
    bad: usize,
    last_good: Sent,
    expected: Expected,
}

impl Feed {
    /// A feed for a staging with that many partitions.
    pub fn new(seed: u64, partitions: i32) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            partitions,
            now_ms: now_ms(),
            symbols: symbols(),
            made: 0,
            bad: 0,
            last_good: Sent::default(),
            expected: Expected::default(),
        }
    }

    /// What the records made so far call for.
    pub fn expected(&self) -> &Expected {
        &self.expected
    }

    /// The next record.
    pub fn make(&mut self) -> Sent {
        let number = self.made;
        self.made += 1;
        self.now_ms = now_ms();
        if number < SILENT {
            return self.silent(number, self.now_ms - SILENCE_MS);
        }
        if (SILENT_AGAIN..SILENT_AGAIN + SILENT).contains(&number) {
            self.expected.silences += 1;
            return self.silent(number - SILENT_AGAIN, self.now_ms);
        }
        if self.rng.random_range(0..1_000) < REMOVALS_PER_MILLE {
            return self.removal();
        }
        if self.rng.random_range(0..100) < BAD_PERCENT { self.bad() } else { self.good() }
    }

    /// Makes and sends `count` records, evenly over `within`, and waits until all are acknowledged.
    pub fn flow(&mut self, settings: &Settings, count: u32, within: Duration) {
        const STEPS: u32 = 400;
        let producer = Producer::new(settings);
        let began = Instant::now();
        for step in 0..STEPS {
            for _ in count * step / STEPS..count * (step + 1) / STEPS {
                producer.send(&self.make());
            }
            let due = within * (step + 1) / STEPS;
            thread::sleep(due.saturating_sub(began.elapsed()));
        }
        producer.flush();
    }

    fn silent(&mut self, number: u64, time_ms: i64) -> Sent {
        self.expected.accepted += 1;
        quote(&format!("SILENT {number}:1"), time_ms)
    }

    fn removal(&mut self) -> Sent {
        self.expected.removed += 1;
        let symbol = self.symbol();
        Sent { key: Some(symbol.into_bytes()), headers: self.headers(), ..Sent::default() }
    }

    fn good(&mut self) -> Sent {
        self.expected.accepted += 1;
        let shape = self.rng.random_range(0..SHAPES.len() * 4);
        if shape == SHAPES.len() && self.last_good.key.is_some() {
            return self.last_good.clone(); // equal trades are real
        }
        let mut draft = self.draft();
        if let Some(shape) = SHAPES.get(shape) {
            shape(&mut draft);
        }
        let mut sent = Sent { headers: self.headers(), ..draft.finish() };
        self.last_good = sent.clone();
        if shape == SHAPES.len() + 1 {
            let home = partition_of(sent.key.as_deref().unwrap_or_default(), self.partitions);
            sent.partition = Some((home + self.rng.random_range(1..self.partitions)) % self.partitions);
            self.expected.wrong_partition += 1;
        }
        sent
    }

    fn bad(&mut self) -> Sent {
        let (rules, spoil) = FAULTS[self.bad % FAULTS.len()];
        self.bad += 1;
        self.expected.rejected += 1;
        for rule in rules {
            *self.expected.rules.entry(rule).or_default() += 1;
        }
        let mut draft = self.draft();
        spoil(&mut draft);
        let mut sent = Sent { headers: self.headers(), ..draft.finish() };
        if sent.key.as_ref().is_none_or(Vec::is_empty) {
            sent.partition = Some(self.rng.random_range(0..self.partitions));
        }
        sent
    }

    fn draft(&mut self) -> Draft {
        let age_ms = self.rng.random_range(0..60_000);
        let price = self.rng.random_range(1..10_000_000);
        let symbol = self.symbol();
        Draft::new(&symbol, price, self.rng.random_range(0..10_000), self.now_ms - age_ms)
    }

    fn symbol(&mut self) -> String {
        self.symbols[self.rng.random_range(0..self.symbols.len())].clone()
    }

    fn headers(&mut self) -> Vec<(&'static str, Option<Vec<u8>>)> {
        match HEADERS.get(self.rng.random_range(0..HEADERS.len() * 10)) {
            Some(headers) => headers.iter().map(|(name, value)| (*name, value.map(<[u8]>::to_vec))).collect(),
            None => Vec::new(),
        }
    }
}

/// A good record of `symbol` with this event time, in ms since 1970.
pub fn quote(symbol: &str, time_ms: i64) -> Sent {
    Draft::new(symbol, 18_912, 100, time_ms).finish()
}

/// The wall clock, in ms since 1970.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// An idempotent producer to staging that places records as Java's does.
pub struct Producer {
    client: ThreadedProducer<Deliveries>,
    topic: String,
    sent: AtomicU64,
}

impl Producer {
    /// A producer to the staging of `settings`.
    pub fn new(settings: &Settings) -> Self {
        let client = ClientConfig::new()
            .set("bootstrap.servers", settings.direct())
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .create_with_context(Deliveries::default())
            .unwrap();
        Self { client, topic: settings.topic("staging"), sent: AtomicU64::new(0) }
    }

    /// Queues a record.
    pub fn send(&self, sent: &Sent) {
        let mut headers = OwnedHeaders::new_with_capacity(sent.headers.len());
        for (key, value) in &sent.headers {
            headers = headers.insert(Header { key, value: value.as_ref() });
        }
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic).headers(headers);
        (record.key, record.payload) = (sent.key.as_deref(), sent.value.as_deref());
        record.partition = sent.partition;
        while let Err((error, refused)) = self.client.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full, "staging takes no records");
            thread::sleep(Duration::from_millis(5));
            record = refused;
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until all are acknowledged.
    pub fn flush(&self) {
        self.client.flush(Duration::from_mins(1)).expect("all records are acknowledged");
        let deliveries = self.client.context();
        assert_eq!(deliveries.failed.load(Ordering::Relaxed), 0, "some records were not taken");
        assert_eq!(deliveries.whole.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed));
    }
}

/// Counts acknowledgements.
#[derive(Default)]
struct Deliveries {
    whole: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let count = if result.is_ok() { &self.whole } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Symbols as exchanges have them, and some as nobody should have them.
fn symbols() -> Vec<String> {
    let exotic = [
        "BINANCE:BTCUSDT",
        "IC MARKETS:1",
        "OANDA:EUR_USD",
        "BRK.B",
        "日経平均:225",
        "Ünïcode £€",
        "🚀",
        "a\"b\\c/d",
        "tab\tand\nline",
        "nul\0inside",
        " leading and trailing ",
        "null",
        "{}",
        "e\u{301}",
        "\u{e9}",
        "\u{feff}mark",
    ];
    let plain = (0..PLAIN_SYMBOLS).map(|number| format!("SYM{number}"));
    let longest = "L".repeat(256);
    plain.chain(exotic.map(str::to_owned)).chain([longest]).collect()
}
