//! `tickgate bad` and `tickgate replay`: what is in `bad_data` is found, shown and counted, and goes back to
//! staging once a run, whatever interrupts the run.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::{Headers, Message},
};
use serde_json::{Value, json};
use tickgate::model::{EventTime, Replayed, headers};

use crate::{
    cluster::Settings,
    feed::{Producer, Sent, now_ms, quote},
    gate::{Gate, PATIENCE, wait_for},
    offsets::{ends, observer},
    proof::Proof,
    role::Role,
};

const REJECTED: &str = "tickgate_records_total{result=\"rejected\"}";
const ACCEPTED: &str = "tickgate_records_total{result=\"accepted\"}";
/// Records that are turned away until their time has come, and how far they are ahead.
const AHEAD: u64 = 80;
const AHEAD_MS: i64 = 12_000;

fn prepare(test: &str) -> Settings {
    let settings = Settings::of(test).with("TOPICS__PARTITIONS", "2");
    settings.run(&["topics", "apply"]).ended(0);
    settings
}

fn wait_counted(gate: &Gate, counter: &str, number: u64) {
    wait_for(counter, PATIENCE, || (gate.counter(counter) >= number).then_some(()));
    assert_eq!(gate.counter(counter), number, "{counter}");
}

/// A record whose price is below zero.
fn negative(symbol: &str) -> Sent {
    let time = EventTime(now_ms());
    let value = format!(r#"{{"symbol":"{symbol}","last_price":-1.50,"volume":1,"timestamp":"{time}"}}"#);
    Sent {
        key: Some(symbol.as_bytes().to_vec()),
        value: Some(value.into_bytes()),
        headers: vec![("trace", Some(b"42".to_vec())), (headers::KIND, Some(b"stale".to_vec()))],
        ..Sent::default()
    }
}

/// The JSON lines that `bad list` prints with these filters.
fn listed(settings: &Settings, filters: &[&str]) -> Vec<Value> {
    let run = settings.run(&[&["bad", "list", "--json"], filters].concat()).ended(0);
    run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn replayed(settings: &Settings, arguments: &[&str]) -> Value {
    let run = settings.run(&[&["replay", "--json"], arguments].concat()).ended(0);
    serde_json::from_str(&run.out).unwrap()
}

/// The committed records of staging that have been replayed: key, value, and headers.
type Returned = (Vec<u8>, Vec<u8>, Vec<(String, Vec<u8>)>);

fn returned(settings: &Settings) -> Vec<Returned> {
    let staging = settings.topic("staging");
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", settings.direct())
        .set("group.id", "bad-data-test")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut from = TopicPartitionList::new();
    for partition in 0..2 {
        from.add_partition_offset(&staging, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&from).unwrap();
    let (mut all, mut ended) = (Vec::new(), 0);
    while ended < 2 {
        let polled =
            wait_for("record or an end of staging", PATIENCE, || consumer.poll(Duration::from_millis(200)));
        let Ok(record) = polled else {
            ended += 1;
            continue;
        };
        let headers: Vec<_> = record
            .headers()
            .into_iter()
            .flat_map(Headers::iter)
            .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
            .collect();
        if headers.iter().any(|(name, _)| name == headers::REPLAY) {
            let bytes = |bytes: Option<&[u8]>| bytes.unwrap().to_vec();
            all.push((bytes(record.key()), bytes(record.payload()), headers));
        }
    }
    all
}

/// A gate that has accepted a record, turned three away and ended a watch.
fn stage(test: &str) -> (Settings, Gate) {
    let settings = prepare(test);
    let gate = Gate::start(&settings);
    gate.wait_ready();
    let producer = Producer::new(&settings);
    let good = quote("GOOD", now_ms());
    let removal = Sent { value: None, ..good.clone() };
    let broken = Sent { value: Some(b"{\x1b".to_vec()), ..quote("B", now_ms()) };
    for sent in [&good, &negative("A"), &negative("C"), &broken, &removal] {
        producer.send(sent);
    }
    producer.flush();
    wait_counted(&gate, REJECTED, 3);
    wait_counted(&gate, "tickgate_records_total{result=\"removed\"}", 1);
    (settings, gate)
}

#[test]
fn what_is_in_bad_data_is_listed_shown_and_counted() {
    let (settings, _gate) = stage("bad-data");
    let symbols = |filters: &[&str]| -> Vec<String> {
        let mut symbols: Vec<_> = listed(&settings, filters)
            .iter()
            .map(|line| line["symbol"].as_str().unwrap().to_owned())
            .collect();
        symbols.sort();
        symbols
    };
    assert_eq!(symbols(&[]), ["A", "B", "C", "GOOD"]);
    assert_eq!(symbols(&["--rule", "price_not_positive"]), ["A", "C"]);
    assert_eq!(symbols(&["--rule", "price_not_positive", "--rule", "not_json", "--symbol", "B"]), ["B"]);
    assert_eq!(symbols(&["--kind", "removed"]), ["GOOD"]);
    assert_eq!(symbols(&["--since", "1h"]).len(), 4);
    assert!(symbols(&["--until", "1h"]).is_empty());
    assert!(symbols(&["--since", "2999-01-01T00:00:00Z"]).is_empty());
    assert_eq!(symbols(&["--limit", "2"]).len(), 2);

    let line = listed(&settings, &["--symbol", "A"]).remove(0);
    let place = format!("{}:{}", line["partition"], line["offset"]);
    assert_eq!(symbols(&["--at", &place]), ["A"]);
    let shown = settings.run(&["bad", "show", &place]).ended(0).out;
    assert!(shown.contains("price_not_positive(last_price)") && shown.contains("-1.50"), "{shown}");
    let shown = settings.run(&["bad", "show", &place, "--json"]).ended(0).out;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["broken"][0]["found"], "-1.50");
    assert_eq!(shown["source"]["topic"], settings.topic("staging"));
    assert!(settings.run(&["bad", "show", "0:1000"]).ended(2).err.contains("no record"));
    assert!(settings.run(&["bad", "list", "--partition", "2"]).ended(2).err.contains("from 0 to 1"));
    let table = settings.run(&["bad", "list"]).ended(0).out;
    assert!(table.contains("4 of 4 records") && !table.contains('\u{1b}'), "{table}");

    let stats = settings.run(&["bad", "stats", "--json"]).ended(0).out;
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["records"], 3);
    let most = &stats["rows"][0];
    assert_eq!((&most["name"], &most["count"]), (&json!("price_not_positive"), &json!(2)), "{stats}");
    assert!((most["share"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-6, "{stats}");
    let counts = |by: &str| -> BTreeMap<String, u64> {
        let stats = settings.run(&["bad", "stats", "--json", "--by", by]).ended(0).out;
        let stats: Value = serde_json::from_str(&stats).unwrap();
        let rows = stats["rows"].as_array().unwrap().iter();
        rows.map(|row| (row["name"].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap())).collect()
    };
    let of = |counted: &[(&str, u64)]| -> BTreeMap<String, u64> {
        counted.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    assert_eq!(counts("symbol"), of(&[("A", 1), ("B", 1), ("C", 1), ("GOOD", 1)]));
    assert_eq!(counts("kind"), of(&[("rejected", 3), ("removed", 1)]));
    assert_eq!(counts("hour").values().sum::<u64>(), 4);
}

#[test]
fn what_is_turned_away_again_is_replayed_no_oftener_than_asked() {
    let (settings, mut gate) = stage("bad-data-again");
    // What is still broken comes back once, and is then left out.
    let choice = ["--rule", "price_not_positive", "--symbol", "A"];
    let would = replayed(&settings, &[&choice[..], &["--dry-run"]].concat());
    assert_eq!((&would["replayed"], &would["run"]), (&json!(1), &Value::Null));
    assert_eq!(returned(&settings).len(), 0);
    assert_eq!(replayed(&settings, &choice)["replayed"], 1);
    wait_counted(&gate, REJECTED, 4);
    let again = listed(&settings, &["--symbol", "A"]);
    assert_eq!(again.len(), 2);
    let newest = again.iter().max_by_key(|line| line["offset"].as_i64()).unwrap();
    let newest = format!("{}:{}", newest["partition"], newest["offset"]);
    let left_out = replayed(&settings, &["--at", &newest]);
    assert_eq!((&left_out["replayed"], &left_out["left_out"]), (&json!(0), &json!(1)));
    assert_eq!(replayed(&settings, &["--at", &newest, "--force"])["replayed"], 1);
    wait_counted(&gate, REJECTED, 5);

    let returned = returned(&settings);
    let sent = negative("A");
    for (number, (key, _, headers)) in returned.iter().enumerate() {
        assert_eq!(Some(key), sent.key.as_ref());
        // As they were, a forged one of ours too, and one more for each replay.
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[..2], ["trace", headers::KIND]);
        assert_eq!(names[2..], vec![headers::REPLAY; number + 1]);
        let last = Replayed::from_header(&headers.last().unwrap().1).unwrap();
        assert_eq!(usize::try_from(last.generation).unwrap(), number + 1);
    }
    assert_eq!(returned.len(), 2);
    assert_eq!(returned[0].1, returned[1].1);
    assert_eq!(gate.terminate(), Some(0));
    assert_eq!(Proof::of(&settings).count("inputs"), 7);
}

#[test]
fn a_replay_that_is_killed_goes_on_and_sends_each_record_once() {
    let settings = prepare("replay-killed");
    let mut gate = Gate::start(&settings);
    gate.wait_ready();
    let producer = Producer::new(&settings);
    // A feed whose clock is ahead of the broker's.
    let mut last_ms = 0;
    for number in 0..AHEAD {
        last_ms = now_ms() + AHEAD_MS;
        producer.send(&quote(&format!("AHEAD {number}"), last_ms));
    }
    producer.flush();
    wait_counted(&gate, REJECTED, AHEAD);
    wait_for("time at which none of them is ahead", PATIENCE, || (now_ms() > last_ms).then_some(()));

    let observer = observer(&settings);
    let staging = settings.topic("staging");
    let size = || ends(&observer, &staging).values().sum::<i64>();
    let before = size();
    let arguments = ["replay", "--json", "--rule", "future_time", "--run", "mend", "--batch", "1"];
    let mut first = Role::start(&settings, &arguments);
    wait_for("replay under way", PATIENCE, || (size() > before + 8).then_some(()));
    first.kill();
    let other = settings.run(&["replay", "--rule", "not_json", "--run", "mend"]).ended(2);
    assert!(other.err.contains("another choice"), "{}", other.err);
    let rest: Value = serde_json::from_str(&settings.run(&arguments).ended(0).out).unwrap();
    let rest = rest["replayed"].as_u64().unwrap();
    assert!(0 < rest && rest < AHEAD, "{rest}: the kill came too late, or nothing was kept");
    assert_eq!(replayed(&settings, &arguments[2..])["replayed"], 0, "the run is over");

    let mut times: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for (key, _, _) in returned(&settings) {
        *times.entry(key).or_default() += 1;
    }
    assert_eq!(times.len() as u64, AHEAD);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    wait_counted(&gate, ACCEPTED, AHEAD);
    assert_eq!(gate.terminate(), Some(0));
    let proof = Proof::of(&settings);
    assert_eq!((proof.count("accepted"), proof.count("rejected")), (AHEAD, AHEAD));
}
