//! How far behind the gate says it is, while a transaction upstream keeps it from reading on.

#![allow(clippy::float_cmp)] // whole numbers are exact

use rdkafka::producer::Producer as _;

use crate::{
    cluster::Settings,
    feed::{Producer, now_ms, quote},
    gate::{Gate, PATIENCE, wait_for},
    proof::Proof,
    upstream::open_transaction,
};

const BEHIND: u32 = 7;

fn wait(gate: &Gate, what: &str, holds: impl Fn(f64) -> bool) -> f64 {
    wait_for(what, PATIENCE, || Some(gate.gauge(what)).filter(|found| holds(*found)))
}

#[test]
fn an_open_transaction_upstream_is_told_as_gap_and_as_lag_and_ends_with_it() {
    let settings = Settings::of("lag").with("TOPICS__PARTITIONS", "1");
    settings.run(&["topics", "apply"]).ended(0);
    let gate = Gate::start(&settings);
    gate.wait_ready();
    let producer = Producer::new(&settings);
    producer.send(&quote("A", now_ms()));
    producer.flush();
    wait_for("first record", PATIENCE, || {
        (gate.counter("tickgate_records_total{result=\"accepted\"}") == 1).then_some(())
    });
    wait(&gate, "tickgate_lag_records", |lag| lag == 0.0);
    assert_eq!(gate.gauge("tickgate_lag_seconds"), 0.0);
    assert_eq!(gate.gauge("tickgate_stable_gap_records"), 0.0);

    let upstream = open_transaction(&settings, &settings.topic("staging"), &[quote("A", now_ms())]);
    for _ in 0..BEHIND {
        producer.send(&quote("B", now_ms()));
    }
    producer.flush();
    // The transaction's own record too: nobody gets to see any of them.
    let held = f64::from(BEHIND + 1);
    wait(&gate, "tickgate_stable_gap_records", |gap| gap == held);
    wait(&gate, "tickgate_lag_records", |lag| lag == held);
    let (gap, lag) = ("tickgate_stable_gap_seconds", "tickgate_lag_seconds");
    let first = (wait(&gate, gap, |seconds| seconds > 0.0), wait(&gate, lag, |seconds| seconds > 0.0));
    // Both are times that go on.
    wait(&gate, gap, |seconds| seconds > first.0 + 1.0);
    wait(&gate, lag, |seconds| seconds > first.1 + 1.0);
    assert_eq!(gate.counter("tickgate_records_total{result=\"accepted\"}"), 1);

    upstream.commit_transaction(PATIENCE).unwrap();
    for name in ["tickgate_stable_gap_records", gap, lag] {
        wait(&gate, name, |found| found == 0.0);
    }
    assert_eq!(Proof::of(&settings).count("accepted"), u64::from(BEHIND) + 2);
}
