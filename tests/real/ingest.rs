//! The feed into staging: what the simulator sends is there, each trade once, where its key belongs.

use std::{
    collections::BTreeMap,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};
use tickgate::finnhub::simulator::{
    Change, Control, Settings as Feed, Simulator, Spoil, Walk, synthetic_symbols,
};
use tickgate::model::partition_of;

use crate::cluster::{Settings, cluster};
use crate::role::Role;

const PATIENCE: Duration = Duration::from_mins(1);
/// Of each topic.
pub const PARTITIONS: i32 = 7;

/// `ingest` as a process, ended when the test fails.
struct Ingest(Child);

impl Drop for Ingest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ingest {
    fn start(settings: &Settings) -> Self {
        Self(settings.command(&["ingest"]).stderr(Stdio::inherit()).spawn().unwrap())
    }

    /// Stops it in order; its exit code.
    fn stop(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.0.wait().unwrap().code()
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what} took too long");
        thread::sleep(Duration::from_millis(20));
    }
}

/// What a topic holds: per partition, key, value and the header `tg-kind`, in order.
pub struct Held {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: String,
    pub kind: Option<Vec<u8>>,
}

/// All records of a topic of the shared brokers.
pub fn read(topic: &str) -> Vec<Held> {
    read_from(&cluster().bootstrap(), topic)
}

/// All records of a topic.
pub fn read_from(brokers: &str, topic: &str) -> Vec<Held> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reads-by-itself")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let (mut assigned, mut left) = (TopicPartitionList::new(), 0);
    for partition in 0..PARTITIONS {
        assigned.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        // A leader that was only just chosen may not be known everywhere.
        wait_until("the end of a partition", || {
            let ends = consumer.fetch_watermarks(topic, partition, PATIENCE);
            left += ends.as_ref().map_or(0, |ends| ends.1);
            ends.is_ok()
        });
    }
    consumer.assign(&assigned).unwrap();
    let mut held = Vec::new();
    while left > 0 {
        let Ok(record) = consumer.poll(PATIENCE).expect("a record in time") else { continue };
        left -= 1;
        let headers = record.headers();
        let kind = headers.and_then(|headers| headers.iter().find(|header| header.key == "tg-kind"));
        held.push(Held {
            partition: record.partition(),
            key: record.key().map(<[u8]>::to_vec),
            value: String::from_utf8(record.payload().unwrap().to_vec()).unwrap(),
            kind: kind.and_then(|header| header.value.map(<[u8]>::to_vec)),
        });
    }
    held
}

fn prepared(test: &str, simulator: &Simulator, symbols: &[String]) -> Settings {
    let settings = Settings::of(test)
        .with("TOPICS__PARTITIONS", &PARTITIONS.to_string())
        .with("FINNHUB__URL", &format!("ws://{}", simulator.address()))
        .with("FINNHUB__SYMBOLS", &symbols.join(","))
        .with("INGEST__HTTP", "127.0.0.1:0");
    settings.run(&["topics", "apply"]).ended(0);
    settings
}

fn open_market(control: &Control, symbols: &[String], rate: f64) {
    wait_until("the subscription", || control.counts().subscriptions == symbols.len() as u64);
    control.change(&Change { rate: Some(rate), ..Change::default() }).unwrap();
}

#[test]
fn every_trade_that_was_sent_arrives_once_and_where_its_key_belongs() {
    const TRADES: u64 = 20_000;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let symbols = synthetic_symbols(50);
    let feed = Feed { symbols: symbols.clone(), rate: 0.0, trades: Some(TRADES), ..Feed::default() };
    let (seed, simulator) = (feed.seed, runtime.block_on(Simulator::start("127.0.0.1:0", feed)).unwrap());
    let settings = prepared("ingest-whole", &simulator, &symbols);
    let ingest = Ingest::start(&settings);
    open_market(&simulator.control(), &symbols, 20_000.0);
    wait_until("the feed", || simulator.control().counts().sent == TRADES);
    // What was sent may still be on its way to ingest, which its stop would cut off.
    wait_until("the last record", || read(&settings.topic("staging")).len() as u64 >= TRADES);
    assert_eq!(ingest.stop(), Some(0));

    let mut walk = Walk::new(seed, &symbols);
    let mut expected: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for tick in (0..TRADES).map(|_| walk.next_tick()) {
        let symbol = &symbols[tick.symbol];
        let (price, volume) = (tick.price_text(), tick.volume_text());
        let start =
            format!("{{\"symbol\":\"{symbol}\",\"last_price\":{price},\"volume\":{volume},\"timestamp\":\"");
        expected.entry(symbol).or_default().push(start);
    }
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in read(&settings.topic("staging")) {
        let key = record.key.expect("a key");
        assert_eq!(record.partition, partition_of(&key, PARTITIONS));
        found.entry(String::from_utf8(key).unwrap()).or_default().push(record.value);
    }
    assert_eq!(found.len(), expected.len());
    for (symbol, starts) in expected {
        let values = &found[symbol];
        assert_eq!(values.len(), starts.len(), "{symbol}");
        for (value, start) in values.iter().zip(&starts) {
            assert!(value.starts_with(start), "expected {start}, found {value}");
        }
    }
    assert!(read(&settings.topic("bad_data")).is_empty());
}

#[test]
fn what_is_no_trade_is_kept_beside_the_good_ones_and_a_cut_is_mended() {
    const TRADES: u64 = 6_000;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let symbols = synthetic_symbols(20);
    let spoil = Spoil { bad: 0.1, ..Spoil::default() };
    let feed = Feed { symbols: symbols.clone(), rate: 0.0, trades: Some(TRADES), spoil, ..Feed::default() };
    let simulator = runtime.block_on(Simulator::start("127.0.0.1:0", feed)).unwrap();
    let control = simulator.control();
    let settings = prepared("ingest-bad", &simulator, &symbols);
    let ingest = Ingest::start(&settings);
    wait_until("the first subscription", || control.counts().subscriptions == symbols.len() as u64);
    control.change(&Change { disconnect: true, ..Change::default() }).unwrap();
    wait_until("the end of it", || control.counts().connections == 0);
    open_market(&control, &symbols, 5_000.0);
    wait_until("the feed", || control.counts().sent == TRADES);
    let spoilt = control.counts().spoilt;
    let others: u64 = spoilt.iter().filter(|(kind, _)| !kind.has_symbol()).map(|(_, count)| count).sum();
    let (staging, bad_data) = (settings.topic("staging"), settings.topic("bad_data"));
    wait_until("the last record", || {
        read(&staging).len() as u64 >= TRADES - others && read(&bad_data).len() as u64 >= others
    });
    assert_eq!(ingest.stop(), Some(0));
    assert_eq!(read(&staging).len() as u64, TRADES - others);
    let bad = read(&bad_data);
    assert_eq!(bad.len() as u64, others);
    assert!(bad.iter().all(|record| record.key.is_none() && record.kind.as_deref() == Some(b"not_a_trade")));
    assert!(bad.iter().any(|record| record.value == "42"));
}

#[test]
fn more_symbols_than_the_plan_allows_are_said_and_the_others_arrive() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let symbols = synthetic_symbols(8);
    let feed = Feed { symbols: symbols.clone(), rate: 100.0, max_symbols: Some(5), ..Feed::default() };
    let simulator = runtime.block_on(Simulator::start("127.0.0.1:0", feed)).unwrap();
    let settings = prepared("ingest-many", &simulator, &symbols);
    let mut ingest = Role::start(&settings, &["ingest"]);
    ingest.wait_unready("the plan allows fewer than the 8 symbols");
    wait_until("trades of the others", || ingest.counter("tickgate_ingest_delivered_total") > 50);
    assert_eq!(ingest.logged("Subscribing to too many symbols").len(), 1);
    assert_eq!(ingest.terminate().0, Some(0));
    let allowed =
        |record: &Held| symbols[..5].iter().any(|symbol| record.key.as_deref() == Some(symbol.as_bytes()));
    assert!(read(&settings.topic("staging")).iter().all(allowed));
}
