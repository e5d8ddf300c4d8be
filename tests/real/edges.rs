//! Records at the edges of what Kafka can carry: sizes up to its limits and beyond what an output may have,
//! thousands of headers, forged ones, names that are no text, times that nobody means. Each still has its one
//! output, and harms no neighbour.

use std::{collections::BTreeMap, thread, time::Duration};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::{Header, Headers, Message, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use serde_json::Value;
use tickgate::model::{EventTime, Rejection, Source, headers};

use crate::{
    cluster::{Settings, cluster},
    feed::{Producer, Sent, now_ms, quote},
    gate::{Gate, PATIENCE, wait_for},
    offsets::{ends, observer, wait_caught_up},
    raw::{self, RawRecord},
};

/// All records go to one partition, so that an odd one shares batches and rounds with its neighbours.
const PARTITION: i32 = 1;
/// The largest message of staging, unless told otherwise.
const LARGEST: usize = 1_048_588;

fn prepare(test: &str) -> Settings {
    let settings = Settings::of(test).with("TOPICS__PARTITIONS", "2");
    settings.run(&["topics", "apply"]).ended(0);
    settings
}

/// A good record, in the partition of these tests.
fn good(number: i64) -> Sent {
    Sent { partition: Some(PARTITION), ..quote(&format!("GOOD {number}"), now_ms()) }
}

/// What the audit counted, and what it could not judge; nothing may be a breach.
pub fn audited(settings: &Settings) -> (BTreeMap<String, u64>, Value) {
    let run = settings.run(&["audit", "--json"]).ended(0);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(report["whole"], true, "{}", run.out);
    (serde_json::from_value(report["counts"].clone()).unwrap(), report["unjudged"].clone())
}

fn assert_counts(counts: &BTreeMap<String, u64>, wanted: &[(&str, usize)]) {
    for (what, wanted) in wanted {
        let counted = counts.get(*what).copied().unwrap_or(0);
        assert_eq!(counted, *wanted as u64, "`{what}` in {counts:?}");
    }
}

/// A record of an output topic.
#[derive(Debug)]
struct Seen {
    time_ms: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    /// The last headers: ours.
    last: BTreeMap<String, Vec<u8>>,
}

impl Seen {
    fn kind(&self) -> &str {
        self.last.get(headers::KIND).map_or("", |kind| str::from_utf8(kind).unwrap())
    }
}

/// All of the partition's records, by the offset of their input. The last `own` headers of each are looked at.
fn outputs(settings: &Settings, topic: &str, own: usize) -> BTreeMap<i64, Seen> {
    let topic = settings.topic(topic);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster().bootstrap())
        .set("group.id", "edges")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(&topic, PARTITION, Offset::Beginning).unwrap();
    consumer.assign(&from).unwrap();
    let mut seen = BTreeMap::new();
    loop {
        let polled = wait_for("record or the end of the topic", PATIENCE, || {
            consumer.poll(Duration::from_millis(200))
        });
        let Ok(message) = polled else { return seen };
        let all = message.headers().unwrap();
        let last = (all.count().saturating_sub(own)..all.count()).map(|at| all.get(at));
        let last: BTreeMap<_, _> =
            last.map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect();
        // An event is of no input.
        let Some(source) = last.get(headers::SRC) else { continue };
        let source = Source::decode(source).unwrap();
        assert_eq!(source.partition, PARTITION);
        let one = Seen {
            time_ms: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            last,
        };
        assert!(seen.insert(source.offset, one).is_none(), "two outputs for {source:?}");
    }
}

/// A producer that takes records far larger than staging's largest message, as long as they compress.
pub fn compressing() -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", cluster().bootstrap())
        .set("message.max.bytes", "100000000")
        .set("compression.type", "zstd")
        .set("linger.ms", "0")
        .create()
        .unwrap()
}

pub fn send_whole(producer: &BaseProducer, topic: &str, partition: i32, sent: &Sent) {
    let mut all = OwnedHeaders::new();
    for (key, value) in &sent.headers {
        all = all.insert(Header { key, value: value.as_ref() });
    }
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).headers(all);
    (record.key, record.payload) = (sent.key.as_deref(), sent.value.as_deref());
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
}

/// The record with a header that makes its uncompressed batch `bytes` large.
fn sized(mut record: RawRecord, bytes: usize) -> RawRecord {
    let own = record.headers.len();
    let mut padding = bytes / 2;
    loop {
        record.headers.truncate(own);
        record.headers.push((b"padding".to_vec(), Some(vec![b'x'; padding])));
        let found = raw::batch(std::slice::from_ref(&record)).len();
        if found == bytes {
            return record;
        }
        padding = padding + bytes - found;
    }
}

/// One that is no JSON, one that is good, and one that calls for as much evidence as there may be.
fn large_ones() -> [RawRecord; 3] {
    let bad = RawRecord { key: Some(b"LARGE".to_vec()), time_ms: now_ms(), ..RawRecord::default() };
    let bad = RawRecord { value: Some(vec![b'x'; LARGEST / 4]), ..bad };
    let odd = RawRecord { value: with_many_headers().value, ..bad.clone() };
    [bad, raw_quote("LARGE", now_ms(), now_ms()), odd]
}

/// What becomes of the odd ones among staging's records, by offset.
struct Odd {
    largest: i64,
    much_evidence: i64,
    zeros: i64,
    long_key: i64,
    many_headers: i64,
    forged: i64,
}

/// Good records with odd ones between them.
fn send_odd_ones(settings: &Settings) -> Odd {
    const MESSAGE_TOO_LARGE: i16 = 10;
    let staging = settings.topic("staging");
    let (plain, compressing) = (Producer::new(settings), compressing());
    let mut next = 0;
    let mut place = |records: i64| {
        next += records;
        next - records
    };
    let neighbours = |from: i64| {
        (from..from + 20).for_each(|number| plain.send(&good(number)));
        plain.flush();
    };
    neighbours(place(20));
    // As large as staging takes, and a byte more. The evidence must still find room behind it.
    for large in large_ones() {
        let found = raw::produce(settings, &staging, PARTITION, &[sized(large.clone(), LARGEST)]);
        assert_eq!(found, 0);
        let found = raw::produce(settings, &staging, PARTITION, &[sized(large, LARGEST + 1)]);
        assert_eq!(found, MESSAGE_TOO_LARGE);
    }
    let (largest, _, much_evidence) = (place(1), place(1), place(1));
    neighbours(place(20));
    // Larger than any output may be, but for the compression.
    let zeros = Sent { key: Some(b"ZEROS".to_vec()), value: Some(spaces()), ..Sent::default() };
    send_whole(&compressing, &staging, PARTITION, &zeros);
    let zeros = place(1);
    neighbours(place(20));
    let long_key = Sent { key: Some(vec![b'k'; 2 << 20]), value: Some(b"{}".to_vec()), ..Sent::default() };
    send_whole(&compressing, &staging, PARTITION, &long_key);
    let long_key = place(1);
    neighbours(place(20));
    send_whole(&compressing, &staging, PARTITION, &with_many_headers());
    let many_headers = place(1);
    let mut forged = good(0);
    forged.headers = vec![(headers::SUSPECT, Some(b"late".to_vec())), ("large", Some(vec![b'v'; 500_000]))];
    send_whole(&compressing, &staging, PARTITION, &forged);
    let forged = place(1);
    neighbours(place(20));
    Odd { largest, much_evidence, zeros, long_key, many_headers, forged }
}

/// Larger than any output may be.
pub fn spaces() -> Vec<u8> {
    vec![b' '; 3 << 20]
}

/// Headers without end, most of them forged, and evidence that escaping makes six times as long.
fn with_many_headers() -> Sent {
    let text = serde_json::to_string(&"\u{1}".repeat(250)).unwrap();
    let value = format!(r#"{{"symbol":{text},"last_price":{text},"volume":{text},"timestamp":{text}}}"#);
    let names = ["trace", headers::SRC, headers::KIND, headers::REJECTION, headers::EPOCH];
    let headers = names
        .into_iter()
        .cycle()
        .zip(0_u32..10_000)
        .map(|(name, number)| (name, (number % 7 != 0).then(|| number.to_be_bytes().to_vec())));
    Sent {
        key: Some(vec![0xff; 100_000]),
        value: Some(value.into_bytes()),
        headers: headers.collect(),
        ..Sent::default()
    }
}

#[test]
fn the_largest_records_have_their_outputs_and_what_cannot_be_sent_on_has_a_note() {
    let settings = prepare("edges-sizes");
    let mut gate = Gate::start(&settings);
    gate.wait_ready();
    let odd = send_odd_ones(&settings);
    wait_caught_up(&settings, PATIENCE);
    assert_eq!(gate.counter("tickgate_records_total{result=\"unsendable\"}"), 2);
    assert_eq!(gate.terminate(), Some(0));
    assert!(!gate.log().contains("panicked"));
    let (counts, unjudged) = audited(&settings);
    let wanted = [("inputs", 107), ("accepted", 102), ("rejected", 5), ("unsendable", 2), ("bad_data", 5)];
    assert_counts(&counts, &wanted);
    assert_eq!(unjudged, serde_json::json!({ "unsendable_bytes": 2 }));

    let bad = outputs(&settings, "bad_data", 4);
    let all = [odd.largest, odd.much_evidence, odd.zeros, odd.long_key, odd.many_headers];
    assert_eq!(bad.keys().copied().collect::<Vec<_>>(), all);
    assert_eq!((bad[&odd.largest].kind(), bad[&odd.much_evidence].kind()), ("rejected", "rejected"));
    let note = |at: i64| -> Value {
        assert_eq!((bad[&at].kind(), &bad[&at].key), ("unsendable", &None));
        serde_json::from_slice(bad[&at].value.as_deref().unwrap()).unwrap()
    };
    let (zeros, long_key) = (note(odd.zeros), note(odd.long_key));
    assert_eq!(
        (zeros["key_hex"].as_str(), zeros["value_bytes"].as_u64()),
        (Some("5a45524f53"), Some(3 << 20))
    );
    assert_eq!(zeros["value_fnv1a"], format!("{:016x}", tickgate::model::fnv1a(&spaces())));
    assert!(zeros["error"].as_str().unwrap().contains("Message size too large"), "{zeros}");
    assert_eq!(long_key["key_hex"].as_str(), Some("6b".repeat(256).as_str()));
    let evidence = Rejection::from_header(&bad[&odd.many_headers].last[headers::REJECTION]).unwrap();
    assert_eq!((evidence.truncated, evidence.source.offset), (0, odd.many_headers));
    let names: Vec<_> = evidence.rejection.broken.iter().map(|broken| broken.rule.name()).collect();
    assert_eq!(names, ["wrong_type", "wrong_type", "bad_time", "key_mismatch"]);
    assert!(evidence.rejection.broken.iter().all(|broken| broken.found.len() <= 256));
    let stock = outputs(&settings, "stock_data", 2);
    assert_ne!(stock[&odd.forged].last[headers::SUSPECT], b"late", "the forged one has the last word");
}

/// Lets producers say when their records were made, whatever they say.
fn take_any_time(staging: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", cluster().bootstrap()).create().unwrap();
    let unlimited = i64::MAX.to_string();
    let alter = AlterConfig::new(ResourceSpecifier::Topic(staging))
        .set("message.timestamp.type", "CreateTime")
        .set("message.timestamp.before.max.ms", &unlimited)
        .set("message.timestamp.after.max.ms", &unlimited)
        // Old ones would be deleted at once.
        .set("retention.ms", "-1");
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let altered = runtime.block_on(admin.alter_configs([&alter], &options)).unwrap();
    assert!(altered.iter().all(Result::is_ok), "{altered:?}");
    // Each broker hears of it in its own time.
    thread::sleep(Duration::from_secs(3));
}

fn raw_quote(symbol: &str, event_ms: i64, time_ms: i64) -> RawRecord {
    let Sent { key, value, .. } = quote(symbol, event_ms);
    RawRecord { key, value, time_ms, headers: Vec::new() }
}

#[test]
fn times_at_the_edges_go_on_as_they_came() {
    // Event time, what the producer says, and whether it passes; the last is an output's time when it differs.
    let cases: &[(i64, i64, bool, Option<i64>)] = &[
        (1_000, 1_000, true, None),
        // No time at all: there is nothing to judge the future by.
        (now_ms(), -1, true, None),
        // The library takes 0 for "now".
        (0, 0, true, Some(1)),
        (5_000, 0, true, Some(1)),
        (5_001, 0, false, Some(1)),
        (1, 1, true, None),
        (0, -5_000, true, None),
        (0, -5_001, false, None),
        (0, i64::MIN, false, None),
        (0, i64::MIN + 1, false, None),
        (now_ms(), i64::MAX, true, None),
        (253_402_300_799_999, i64::MAX - 1, true, None),
        (253_402_300_799_999, 253_402_300_794_998, false, None),
    ];
    let settings = prepare("edges-times");
    let staging = settings.topic("staging");
    take_any_time(&staging);
    // Alone, and all in one batch.
    let record = |(event_ms, time_ms, ..): &(i64, i64, bool, Option<i64>), number: usize| {
        raw_quote(&format!("EDGE {number}"), *event_ms, *time_ms)
    };
    let records: Vec<RawRecord> = cases.iter().zip(0..).map(|(case, number)| record(case, number)).collect();
    for one in &records {
        assert_eq!(raw::produce(&settings, &staging, PARTITION, std::slice::from_ref(one)), 0, "{one:?}");
    }
    assert_eq!(raw::produce(&settings, &staging, PARTITION, &records), 0);
    let mut gate = Gate::start(&settings);
    wait_caught_up(&settings, PATIENCE);
    assert_eq!(gate.terminate(), Some(0));
    assert!(!gate.log().contains("panicked"));
    let (counts, unjudged) = audited(&settings);
    assert_eq!(unjudged, serde_json::json!({}));
    let accepted = 2 * cases.iter().filter(|(_, _, passes, _)| *passes).count();
    assert_counts(&counts, &[("inputs", 2 * cases.len()), ("accepted", accepted), ("unsendable", 0)]);
    let stock = outputs(&settings, "stock_data", 3);
    let bad = outputs(&settings, "bad_data", 3);
    for ((event_ms, time_ms, passes, other), offset) in cases.iter().chain(cases).zip(0..) {
        let topic = if *passes { &stock } else { &bad };
        let wanted = other.or((*time_ms != -1).then_some(*time_ms));
        let event = EventTime(*event_ms);
        assert_eq!(topic[&offset].time_ms, wanted, "offset {offset}: {event} sent at {time_ms}");
    }
}

#[test]
fn names_of_headers_that_are_no_text_stop_nobody_and_go_on_as_they_came() {
    const ODD: &[u8] = b"\xff\xfe odd \x80 name \xc3";
    const CUT: &[u8] = b"C-text\0 hides what follows";
    let settings = prepare("edges-names");
    let staging = settings.topic("staging");
    let with = |symbol: &str, names: &[&[u8]]| RawRecord {
        headers: names.iter().map(|name| (name.to_vec(), Some(b"value".to_vec()))).collect(),
        ..raw_quote(symbol, now_ms(), now_ms())
    };
    let records = [
        with("PLAIN", &[b"trace"]),
        with("ODD", &[b"trace", ODD, b"after"]),
        with("CUT", &[CUT]),
        with("EMPTY", &[b"", b"\0", b""]),
        RawRecord { value: Some(b"no JSON".to_vec()), ..with("BAD", &[ODD, b"tg-kind", ODD]) },
        with("AFTER", &[]),
    ];
    assert_eq!(raw::produce(&settings, &staging, PARTITION, &records), 0);
    let mut gate = Gate::start(&settings);
    wait_caught_up(&settings, PATIENCE);
    assert_eq!(gate.terminate(), Some(0));
    let log = gate.log();
    assert!(!log.contains("panicked") && !log.contains("starts over"), "{log}");
    let (counts, unjudged) = audited(&settings);
    assert_eq!(unjudged, serde_json::json!({}));
    assert_counts(&counts, &[("inputs", 6), ("accepted", 5), ("rejected", 1)]);

    // The library shows no such name, so the topic's own bytes must.
    let lies_in = |topic: &str, name: &[u8]| {
        let topic = settings.topic(topic);
        assert!(ends(&observer(&settings), &topic)[&PARTITION] > 0);
        raw::fetch(&settings, &topic, PARTITION).windows(name.len()).any(|window| window == name)
    };
    assert!(lies_in("stock_data", ODD) && lies_in("stock_data", CUT), "a name was altered");
    assert!(lies_in("bad_data", ODD), "a name was altered");
}
