//! Silences, each told once: by the clock on idle input, by the record that ends one, and by nobody while
//! there still is something to read.

use std::{thread, time::Duration};

use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use serde_json::{Value, json};
use tickgate::model::EventTime;

use crate::{
    cluster::{Settings, cluster},
    events::{BadData, Told},
    feed::{Producer, now_ms, quote},
    gate::{Gate, PATIENCE, wait_for},
    offsets::wait_caught_up,
    proof::Proof,
};

const THRESHOLD_MS: i64 = 2_000;

/// One partition, a threshold of 2 s, all topics made.
fn settings(test: &str) -> Settings {
    let settings = Settings::of(test)
        .with("TOPICS__PARTITIONS", "1")
        .with("FRESHNESS__ERROR_AFTER", "2s")
        .with("FRESHNESS__GRACE", "200ms");
    settings.run(&["topics", "apply"]).ended(0);
    settings
}

fn send(settings: &Settings, symbol: &str, times_ms: &[i64]) {
    let producer = Producer::new(settings);
    for time_ms in times_ms {
        producer.send(&quote(symbol, *time_ms));
    }
    producer.flush();
}

/// The kinds of events, in order, each with the event time that its silence began at.
fn kinds(told: &[Told]) -> Vec<(&str, String)> {
    let from = |told: &Told| told.value["last_seen"].as_str().unwrap().to_owned();
    told.iter().map(|told| (told.kind.as_str(), from(told))).collect()
}

fn at(time_ms: i64) -> String {
    EventTime(time_ms).to_string()
}

/// What an event says, but for the moment at which it was noticed and how long the silence was by then.
fn said(symbol: &str, last_seen_ms: i64, noticed_by: &str, event: &Value) -> Value {
    json!({
        "symbol": symbol,
        "class": "default",
        "last_seen": at(last_seen_ms),
        "level": "error",
        "threshold_ms": THRESHOLD_MS,
        "calendar": "24x7",
        "noticed_by": noticed_by,
        "detected_at": event["detected_at"],
        "silence_ms": event["silence_ms"],
    })
}

/// `detected_at`, in ms since 1970; its form is RFC 3339 in UTC with milliseconds.
fn detected_ms(event: &Value) -> i64 {
    let text = event["detected_at"].as_str().unwrap();
    let time: EventTime = serde_json::from_value(event["detected_at"].clone()).unwrap();
    assert_eq!(time.to_string(), text);
    time.0
}

#[test]
fn a_silence_is_told_once_and_its_end_once_across_kills() {
    let settings = settings("silence-kills");
    let mut bad_data = BadData::of(&settings);
    let mut gate = Gate::start(&settings);
    gate.wait_ready();
    let fell_silent_ms = now_ms();
    send(&settings, "AAPL", &[fell_silent_ms]);
    let stale = bad_data.wait_told("AAPL", 1).remove(0);
    gate.kill();
    assert_eq!(stale.kind, "stale");
    assert_eq!(stale.value, said("AAPL", fell_silent_ms, "clock", &stale.value));
    let silence_ms = stale.value["silence_ms"].as_i64().unwrap();
    assert!(silence_ms > THRESHOLD_MS && detected_ms(&stale.value) == fell_silent_ms + silence_ms);

    // The next process knows what was told: the clock tells of another symbol, which is due later.
    gate.start_again(&[]);
    gate.wait_ready();
    send(&settings, "MSFT", &[now_ms()]);
    bad_data.wait_told("MSFT", 1);
    assert_eq!(bad_data.told("AAPL"), [stale]);

    let back_ms = now_ms();
    send(&settings, "AAPL", &[back_ms]);
    let recovered = bad_data.wait_told("AAPL", 2).remove(1);
    gate.kill();
    assert_eq!(recovered.kind, "recovered");
    assert_eq!(recovered.value, said("AAPL", fell_silent_ms, "next_record", &recovered.value));
    assert_eq!(recovered.value["silence_ms"], back_ms - fell_silent_ms);
    assert!(detected_ms(&recovered.value) >= back_ms);

    // Neither does a process without a store tell it again; then the next silence is one of its own.
    gate.lose_store();
    gate.start_again(&[]);
    let told = bad_data.wait_told("AAPL", 3);
    send(&settings, "GOOG", &[now_ms()]);
    bad_data.wait_told("GOOG", 1);
    assert_eq!(bad_data.told("AAPL"), told);
    let (first, second) = (at(fell_silent_ms), at(back_ms));
    assert_eq!(kinds(&told), [("stale", first.clone()), ("recovered", first), ("stale", second)]);
    assert_eq!(kinds(&bad_data.told("MSFT")).len(), 1);
    Proof::of(&settings);
}

#[test]
fn a_record_that_ends_a_silence_tells_both_ends_and_a_late_delivery_says_so() {
    let settings = settings("silence-ends");
    let mut bad_data = BadData::of(&settings);
    let now_ms = now_ms();
    // On staging before the gate starts: the clock has no say in silences that are over.
    send(&settings, "AAPL", &[now_ms - 50_000, now_ms - 30_000, now_ms - 29_000, now_ms - 9_000]);
    let _gate = Gate::start(&settings);
    let told = bad_data.wait_told("AAPL", 5);
    let begins = [now_ms - 50_000, now_ms - 29_000];
    let ends_ms = [now_ms - 30_000, now_ms - 9_000];
    for (silence, (began_ms, ended_ms)) in begins.into_iter().zip(ends_ms).enumerate() {
        for (kind, event) in ["stale", "recovered"].into_iter().zip(&told[2 * silence..]) {
            assert_eq!(event.kind, kind);
            assert_eq!(event.value, said("AAPL", began_ms, "next_record", &event.value));
            assert_eq!(event.value["silence_ms"], ended_ms - began_ms);
        }
    }
    assert_eq!(told[4].value, said("AAPL", now_ms - 9_000, "clock", &told[4].value));

    // The clock was right by what it knew, but the quotes had only been delivered late.
    send(&settings, "AAPL", &[now_ms - 8_000]);
    let told = bad_data.wait_told("AAPL", 6);
    let mut late = said("AAPL", now_ms - 9_000, "next_record", &told[5].value);
    late["late_delivery"] = json!(true);
    assert_eq!((told[5].kind.as_str(), &told[5].value), ("recovered", &late));
    assert_eq!(told[5].value["silence_ms"], 1_000);
    let told = bad_data.wait_told("AAPL", 7);
    assert_eq!(kinds(&told)[6], ("stale", at(now_ms - 8_000)));
    assert_eq!(told.len(), 7);
    Proof::of(&settings);
}

#[test]
fn a_backlog_makes_no_silence() {
    // Long enough for the first process to be killed before its clock may notice anything.
    let settings = settings("silence-backlog").with("FRESHNESS__ERROR_AFTER", "5s");
    let mut bad_data = BadData::of(&settings);
    let mut gate = Gate::start(&settings);
    gate.wait_ready();
    let mut times_ms = vec![now_ms()];
    send(&settings, "AAPL", &times_ms);
    wait_caught_up(&settings, PATIENCE);
    gate.kill();
    // The symbol goes on, and nobody reads it until its last known time is long past the threshold.
    while times_ms[times_ms.len() - 1] < times_ms[0] + 7_000 {
        thread::sleep(Duration::from_secs(1));
        times_ms.push(now_ms());
        send(&settings, "AAPL", &times_ms[times_ms.len() - 1..]);
    }
    gate.start_again(&[]);
    let told = bad_data.wait_told("AAPL", 1);
    let last_ms = times_ms[times_ms.len() - 1];
    assert_eq!(kinds(&told), [("stale", at(last_ms))], "only the silence that is one");
    assert_eq!(told[0].value["noticed_by"], "clock");
    Proof::of(&settings);
}

#[test]
fn an_open_upstream_transaction_holds_the_clock_and_its_marker_does_not() {
    let settings = settings("silence-upstream");
    let mut bad_data = BadData::of(&settings);
    let gate = Gate::start(&settings);
    let upstream: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster().bootstrap())
        .set("transactional.id", "silence-upstream-feed")
        .create()
        .unwrap();
    let timeout = Duration::from_secs(20);
    upstream.init_transactions(timeout).unwrap();
    gate.wait_ready();
    let committed_ms = now_ms();
    let staging = settings.topic("staging");
    let within = |symbol: &str, time_ms: i64| {
        upstream.begin_transaction().unwrap();
        let record = quote(symbol, time_ms);
        let record = BaseRecord::to(&staging)
            .key(record.key.as_ref().unwrap())
            .payload(record.value.as_ref().unwrap());
        upstream.send(record).unwrap();
        upstream.flush(timeout).unwrap();
    };
    // The log ends in a marker, which no reader ever gets to see.
    within("AAPL", committed_ms);
    upstream.commit_transaction(timeout).unwrap();
    let told = bad_data.wait_told("AAPL", 1);
    assert_eq!(told[0].value, said("AAPL", committed_ms, "clock", &told[0].value));

    // What is in an open transaction may be the very record that ends a silence.
    let last_ms = now_ms();
    send(&settings, "MSFT", &[last_ms]);
    within("MSFT", last_ms + 1_500);
    thread::sleep(Duration::from_secs(5));
    assert_eq!(bad_data.told("MSFT"), []);
    upstream.commit_transaction(timeout).unwrap();
    let told = bad_data.wait_told("MSFT", 1);
    assert_eq!(kinds(&told), [("stale", at(last_ms + 1_500))]);
    wait_for("gate that counts them", PATIENCE, || {
        (gate.counter("tickgate_events_total{kind=\"stale\"}") >= 2).then_some(())
    });
    Proof::of(&settings);
}
