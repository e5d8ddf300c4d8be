//! Whom the gate watches: symbols of the watch list that were never seen, whole classes, and nobody in a backfill.

use std::time::Duration;

use serde_json::Value;
use tickgate::model::{EventTime, partition_of};

use crate::{
    cluster::Settings,
    events::BadData,
    feed::{Producer, now_ms, quote},
    gate::{Gate, PATIENCE, wait_for},
    offsets::wait_caught_up,
    proof::Proof,
    sink::{loader::Loader, tables},
};

fn settings(test: &str, partitions: i32) -> Settings {
    let settings = Settings::of(test)
        .with("TOPICS__PARTITIONS", &partitions.to_string())
        .with("FRESHNESS__ERROR_AFTER", "2s")
        .with("FRESHNESS__GRACE", "200ms");
    settings.run(&["topics", "apply"]).ended(0);
    settings
}

fn send(settings: &Settings, symbols: &[&str], time_ms: i64) {
    let producer = Producer::new(settings);
    for symbol in symbols {
        producer.send(&quote(symbol, time_ms));
    }
    producer.flush();
}

#[test]
fn a_listed_symbol_is_watched_unseen_until_it_is_removed() {
    let settings = settings("watch-list", 1);
    let listing = settings.clone().with("FRESHNESS__WATCHLIST", "NEVER");
    let mut bad_data = BadData::of(&settings);
    let mut gate = Gate::start(&listing);
    let stale = bad_data.wait_told("NEVER", 1).remove(0);
    assert_eq!((stale.kind.as_str(), &stale.value["never_seen"]), ("stale", &Value::Bool(true)));
    gate.kill();
    gate.lose_store();
    gate.start_again(&[]);
    gate.wait_ready();
    let dir = gate.state_dir();
    let list = ["watch", "list", "--json", "--state-dir", dir.to_str().unwrap()];
    let shown: Value = wait_for("listing", PATIENCE, || {
        let run = listing.run(&list);
        serde_json::from_str(run.ended(0).out.lines().next()?).ok()
    });
    assert_eq!(shown["symbol"], "NEVER");
    assert_eq!(shown["listed_at"], stale.value["last_seen"], "it counts from when it was first listed");
    assert_eq!(shown["last_seen"], Value::Null);

    let seen_ms = now_ms();
    send(&settings, &["NEVER"], seen_ms);
    let told = bad_data.wait_told("NEVER", 3);
    let kinds: Vec<&str> = told.iter().map(|told| told.kind.as_str()).collect();
    assert_eq!(kinds, ["stale", "recovered", "stale"], "told once, back, and silent as any other");
    assert_eq!(told[1].value["last_seen"], stale.value["last_seen"]);

    let removed = listing.run(&["watch", "remove", "NEVER"]).ended(0);
    assert!(removed.out.contains("the settings list it"), "{}", removed.out);
    wait_caught_up(&settings, PATIENCE);
    gate.terminate();
    settings.run(&["state", "get", "NEVER", "--state-dir", dir.to_str().unwrap()]).ended(1);
    assert_eq!(listing.run(&list).ended(0).out.lines().count(), 0);
    assert!(bad_data.told("NEVER").len() == 3, "a removal is no recovery");
    let report: Value = serde_json::from_str(&listing.run(&["audit", "--json"]).ended(0).out).unwrap();
    assert_eq!(report["unjudged"], serde_json::json!({ "listings_removed": 1 }), "{report}");
}

#[test]
fn a_whole_class_is_silent_once_over_all_partitions_and_instances() {
    const PARTITIONS: i32 = 3;
    let settings = settings("feed-silent", PARTITIONS)
        .with("FRESHNESS__ERROR_AFTER", "1h")
        .with("FRESHNESS__WARN_AFTER", "off")
        .with("FRESHNESS__FEED_AFTER", "4s");
    let symbols = ["AAPL", "AMZN", "GE", "IC MARKETS:1", "BINANCE:BTCUSDT", "INTC"];
    let homes: std::collections::BTreeSet<i32> =
        symbols.iter().map(|symbol| partition_of(symbol.as_bytes(), PARTITIONS)).collect();
    assert_eq!(homes.len(), 3, "every partition has a symbol");
    let mut bad_data = BadData::of_partitions(&settings, PARTITIONS);
    let mut gates = [Gate::start(&settings), Gate::start(&settings)];
    gates.iter().for_each(Gate::wait_ready);
    // One symbol after the other: each partition alone is silent for longer, the class is not.
    let mut sent_ms = 0;
    for round in 0..8 {
        sent_ms = now_ms();
        send(&settings, &symbols[round % symbols.len()..][..1], now_ms());
        std::thread::sleep(Duration::from_millis(1_500));
    }
    let silent = bad_data.wait_told("default", 1).remove(0);
    assert_eq!(silent.kind, "feed_silent");
    assert_eq!(
        (silent.value["threshold_ms"].as_i64(), &silent.value["class"]),
        (Some(4_000), &"default".into())
    );

    let last_seen = EventTime::parse(silent.value["last_seen"].as_str().unwrap()).unwrap();
    assert!(last_seen.0 >= sent_ms, "the Kafka time of the last one: {silent:?}");

    // Whoever owns the class's home next knows what was told.
    gates[0].kill();
    gates[0].start_again(&[]);
    gates[0].wait_ready();
    gates[1].kill();
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(bad_data.told("default").len(), 1);
    send(&settings, &symbols[..1], now_ms());
    let told = bad_data.wait_told("default", 2);
    assert_eq!(told[1].kind, "feed_recovered");
    assert_eq!(told[1].value["last_seen"], silent.value["last_seen"]);
    let metrics = gates[0].get("/metrics").unwrap();
    assert!(metrics.contains("tickgate_silent_feeds "), "{metrics}");
    drop(gates);
    Proof::of(&settings);
}

#[test]
fn a_backfill_of_days_ago_raises_no_storm() {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let old = |settings: &Settings| {
        let producer = Producer::new(settings);
        // Five days, eight hours of each, and silent since.
        for (day, hour) in (0..5).flat_map(|day| (0..8).map(move |hour| (day, hour))) {
            let time_ms = now_ms() - 30 * DAY_MS + day * DAY_MS + hour * 3_600_000;
            (0..20).for_each(|symbol| producer.send(&quote(&format!("OLD{symbol}"), time_ms)));
        }
        // Behind those of its symbol.
        producer.send(&quote("OLD1", now_ms() - 30 * DAY_MS));
        producer.flush();
    };
    let live = Settings::of("backfill-live").with("TOPICS__PARTITIONS", "1");
    let backfill = tables::settings("backfill")
        .with("TOPICS__PARTITIONS", "1")
        .with("FRESHNESS__EXEMPT", "true")
        .with("FRESHNESS__CLASS__0__NAME", "some")
        .with("FRESHNESS__CLASS__0__SYMBOLS", "OLD1*")
        .with("FRESHNESS__CLASS__0__EXEMPT", "true")
        .with("RULES__LATE", "off");
    for settings in [&live, &backfill] {
        settings.run(&["topics", "apply"]).ended(0);
        old(settings);
    }
    let gate = Gate::start(&backfill);
    wait_caught_up(&backfill, PATIENCE);
    let stormy = Gate::start(&live);
    wait_caught_up(&live, PATIENCE);
    // Four nights of twenty symbols, at two levels.
    wait_for("silences of the nights", PATIENCE, || {
        (stormy.counter("tickgate_events_total{kind=\"stale\"}") >= 160).then_some(())
    });
    for kind in ["stale", "recovered", "feed_silent"] {
        assert_eq!(gate.counter(&format!("tickgate_events_total{{kind=\"{kind}\"}}")), 0, "{kind}");
    }
    let late = |gate: &Gate| gate.counter("tickgate_suspects_total{rule=\"late\"}");
    assert_eq!((late(&gate), late(&stormy)), (0, 1));
    assert_eq!(gate.counter("tickgate_records_total{result=\"accepted\"}"), 801);
    drop((gate, stormy));
    backfill.run(&["sink", "schema", "--apply"]).ended(0);
    Loader::catch_up(&backfill);
    assert_eq!(Proof::of_rows(&backfill).count("rows"), 801);
}
