//! Runs that end by themselves: when a time is over, or when the group has caught up, whoever of it did the work.

use std::time::Duration;

use rdkafka::producer::Producer as _;
use tickgate::finnhub::simulator::{Settings as Feed, Simulator, synthetic_symbols};

use crate::{
    cluster::Settings,
    feed::{Feed as Records, Producer, Sent, now_ms, quote},
    gate::{Gate, PATIENCE, wait_for},
    ingest::read,
    offsets::{committed, ends, observer},
    proof::Proof,
    role::Role,
    sink::{
        loader::Loader,
        source::{PARTITIONS, Straight, tables, topics},
        tables::settings,
    },
    upstream::open_transaction,
};

const NOT_YET: &str = "not caught up yet";

/// An instance with a store of its own that ends when the group has caught up.
fn catch_up(settings: &Settings) -> Gate {
    let mut gate = Gate::stopped(settings);
    gate.start_again(&["--until-caught-up"]);
    gate
}

/// Whether the group has committed all of staging, as it is now.
fn is_caught_up(settings: &Settings) -> bool {
    let (consumer, staging) = (observer(settings), settings.topic("staging"));
    let ends = ends(&consumer, &staging);
    let partitions: Vec<i32> = ends.keys().copied().collect();
    let committed = committed(&consumer, &staging, &partitions);
    ends.iter().all(|(partition, end)| committed.get(partition).copied().unwrap_or(0) >= *end)
}

#[test]
fn a_gate_ends_when_its_group_has_caught_up_alone_and_beside_others() {
    let settings = topics(Settings::of("batches"));
    // Nothing is there.
    assert_eq!(catch_up(&settings).wait_end(), Some(0));

    let mut feed = Records::new(21, PARTITIONS);
    feed.flow(&settings, 3_000, Duration::from_millis(500));
    assert_eq!(catch_up(&settings).wait_end(), Some(0));
    assert!(is_caught_up(&settings));

    // One that stays keeps its partitions, or has them back.
    let mut stays = Gate::start(&settings);
    stays.wait_ready();
    feed.flow(&settings, 2_000, Duration::from_millis(500));
    assert_eq!(catch_up(&settings).wait_end(), Some(0));
    assert!(is_caught_up(&settings));
    feed.flow(&settings, 1_000, Duration::from_millis(200));
    wait_for("records of the one that stays", PATIENCE, || is_caught_up(&settings).then_some(()));
    assert_eq!(stays.terminate(), Some(0));
    Proof::of(&settings).assert_matches(feed.expected());
}

#[test]
fn a_batch_waits_for_open_transactions_and_not_for_their_ends() {
    let settings = topics(Settings::of("batches-open"));
    let staging = settings.topic("staging");
    let upstream = open_transaction(&settings, &staging, &[quote("A", now_ms())]);
    let mut gate = catch_up(&settings);
    wait_for(NOT_YET, PATIENCE, || gate.logged(NOT_YET).first().cloned());
    upstream.commit_transaction(PATIENCE).unwrap();
    // The last offset is the transaction's end, which no gate commits.
    assert_eq!(gate.wait_end(), Some(0));
    assert_eq!(Proof::of(&settings).count("accepted"), 1);
    assert!(!is_caught_up(&settings));

    // Nothing is left of this one but its end.
    let upstream = open_transaction(&settings, &staging, &[quote("B", now_ms())]);
    upstream.abort_transaction(PATIENCE).unwrap();
    assert_eq!(catch_up(&settings).wait_end(), Some(0));

    // One that is stopped before says so.
    let _upstream = open_transaction(&settings, &staging, &[quote("C", now_ms())]);
    let mut gate = catch_up(&settings);
    wait_for(NOT_YET, PATIENCE, || gate.logged(NOT_YET).first().cloned());
    assert_eq!(gate.terminate(), Some(1));
    assert!(gate.log().contains("stopped before the group had caught up"));
}

#[test]
fn an_instance_without_partitions_ends_with_its_group() {
    let settings = Settings::of("batches-one").with("TOPICS__PARTITIONS", "1");
    settings.run(&["topics", "apply"]).ended(0);
    let mut stays = Gate::start(&settings);
    stays.wait_ready();
    let producer = Producer::new(&settings);
    (0..500).for_each(|_| producer.send(&quote("A", now_ms())));
    producer.flush();
    let mut batches = [catch_up(&settings), catch_up(&settings)];
    for batch in &mut batches {
        assert_eq!(batch.wait_end(), Some(0));
    }
    assert!(is_caught_up(&settings));
    assert_eq!(stays.terminate(), Some(0));
}

#[test]
fn a_sink_waits_for_the_round_that_is_not_visible_yet() {
    let test = "batches-sink";
    let settings = topics(settings(test));
    tables(&settings);
    let straight = Straight::quote("A", 0, now_ms(), 0);
    let headers = vec![("tg-src", straight.source)];
    let sent = [Sent { key: straight.key, value: straight.value, headers, ..Sent::default() }];
    let round = open_transaction(&settings, &settings.topic("stock_data"), &sent);
    // Beside one that stays.
    let mut stays = Loader::start(&settings);
    stays.wait_ready();
    let mut sink = Loader::stopped(&settings);
    sink.start_again(&["--until-caught-up"]);
    wait_for(NOT_YET, PATIENCE, || sink.log().contains(NOT_YET).then_some(()));
    round.commit_transaction(PATIENCE).unwrap();
    assert_eq!(sink.wait_end(), Some(0));
    assert_eq!(crate::sink::tables::Tables::of(test).count(), 1);
    assert_eq!(stays.terminate(), Some(0));

    let _round = open_transaction(&settings, &settings.topic("stock_data"), &sent);
    sink.start_again(&["--until-caught-up"]);
    wait_for(NOT_YET, PATIENCE, || sink.log().contains(NOT_YET).then_some(()));
    assert_eq!(sink.terminate(), Some(1));
}

#[test]
fn ingest_ends_when_its_time_is_over() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let symbols = synthetic_symbols(5);
    let feed = Feed { symbols: symbols.clone(), rate: 200.0, ..Feed::default() };
    let simulator = runtime.block_on(Simulator::start("127.0.0.1:0", feed)).unwrap();
    let settings = Settings::of("batches-ingest")
        .with("TOPICS__PARTITIONS", &crate::ingest::PARTITIONS.to_string())
        .with("FINNHUB__URL", &format!("ws://{}", simulator.address()))
        .with("FINNHUB__SYMBOLS", &symbols.join(","))
        .with("INGEST__HTTP", "127.0.0.1:0");
    settings.run(&["topics", "apply"]).ended(0);
    let mut holds = Role::start(&settings, &["ingest", "--for", "1m"]);
    holds.wait_logged("connected to the feed");
    // Another one holds the lease all the while.
    let mut stands_by = Role::start(&settings, &["ingest", "--for", "8s"]);
    assert_eq!(stands_by.wait_end(), Some(0));
    assert_eq!(stands_by.logged("stands by").len(), 1);
    assert_eq!(stands_by.logged("connected to the feed").len(), 0);
    assert_eq!(holds.terminate().0, Some(0));

    let before = read(&settings.topic("staging")).len();
    let mut batch = Role::start(&settings, &["ingest", "--for", "8s"]);
    assert_eq!(batch.wait_end(), Some(0));
    let line = batch.wait_logged("everything received was delivered");
    let delivered = read(&settings.topic("staging")).len() - before;
    assert!(delivered > 0 && line["trades"].as_u64() == Some(delivered as u64), "{delivered}: {line}");

    // Nothing listens there: port 9 (discard) of the loopback.
    let settings = settings.with("FINNHUB__URL", "ws://127.0.0.1:9");
    let mut batch = Role::start(&settings, &["ingest", "--for", "8s"]);
    assert_eq!(batch.wait_end(), Some(3));
    assert!(batch.log().contains("was never ready in 8s: feed waits for a connection"), "{}", batch.log());
}
