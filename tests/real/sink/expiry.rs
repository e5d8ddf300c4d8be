//! `[sink] ttl`: rows that end by themselves.

use std::time::Duration;

use serde_json::Value;

use crate::{
    feed::now_ms,
    gate::{PATIENCE, wait_for},
    sink::{
        loader::Loader,
        source::{Straight, append, pass, tables, topics},
        tables::{Tables, keyspace, settings},
    },
};

#[test]
fn rows_live_as_long_as_was_asked_and_a_replay_changes_nothing_but_their_end() {
    const LIFE_S: i32 = 3_600;
    let (test, kept) = ("sink-ttl", "sink-ttl-kept");
    let plain = topics(settings(test));
    let settings = plain.clone().with("SINK__TTL", "1h");
    let for_ever = plain.with("SINK__KEYSPACE", &keyspace(kept)).with("SINK__GROUP", kept);
    [&settings, &for_ever].into_iter().for_each(tables);
    let now = now_ms();
    append(&settings, (0..50).map(|number| Straight::quote("AAPL", number, now, 0)));
    [&settings, &for_ever].into_iter().for_each(Loader::catch_up);
    assert!(Tables::of(kept).lives().iter().all(Option::is_none));

    let tables = Tables::of(test);
    let least = || tables.lives().into_iter().map(|life| life.expect("each cell has an end")).min().unwrap();
    assert_eq!(tables.lives().len(), 2 * 50 + 1);
    assert!((1..=LIFE_S).contains(&least()));
    let (stock, latest) = (tables.stock(), tables.latest());
    let aged = wait_for("older rows", PATIENCE, || Some(least()).filter(|life| *life <= LIFE_S - 3));
    // Values and write times stay; the same cell written later ends later.
    Loader::catch_up(&settings.clone().with("SINK__GROUP", "sink-ttl-again"));
    assert!(tables.stock() == stock && tables.latest() == latest, "a replay has changed more than the end");
    assert!(least() > aged, "{} s left, {aged} s before", least());
}

#[test]
fn rows_that_have_ended_are_no_breach_to_an_audit() {
    let test = "sink-ttl-over";
    let settings = topics(settings(test)).with("SINK__TTL", "1s");
    tables(&settings);
    let accepted = pass(&settings, 14, 300, Duration::from_millis(300));
    Loader::catch_up(&settings);
    let tables = Tables::of(test);
    wait_for("end of all rows", PATIENCE, || (tables.count() == 0).then_some(()));
    let run = settings.run(&["audit", "--json", "--rows"]).ended(0);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(report["whole"], true, "{report}");
    let expired = report["unjudged"]["rows_expired"].as_u64().unwrap();
    // And a quote for each symbol.
    assert!(expired > accepted, "{report}");
    // Rows that are not to end, and are not there, are lost.
    settings.with("SINK__TTL", "0s").run(&["audit", "--rows"]).ended(1);
}
