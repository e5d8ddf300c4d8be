//! A slow Cassandra: the sink waits, stays in its group, says so, and holds no more than it is allowed to.

use std::{thread, time::Duration};

use crate::{
    feed::now_ms,
    gate::{PATIENCE, wait_for},
    sink::{
        breaking::Breakable,
        loader::Loader,
        source::{Straight, append, tables, topics},
        tables::{Tables, settings_on},
    },
};

/// The promise that `docs/ARCHITECTURE.md` makes.
const PEAK_BYTES: u64 = 256 << 20;
/// Together more than that.
const LARGE: i64 = 320;
const LARGE_BYTES: usize = 900_000;
const SMALL: i64 = 20_000;

#[test]
fn a_slow_node_fills_no_memory_and_costs_no_membership() {
    let test = "sink-slow";
    let breakable = Breakable::take();
    let settings = topics(settings_on(breakable.node(), test));
    tables(&settings);
    let now = now_ms();
    let quote = |number: i64| {
        let padding = if number < LARGE { LARGE_BYTES } else { 0 };
        Straight::quote(
            ["AAPL", "IBM", "KO"][usize::try_from(number).unwrap() % 3],
            number,
            now + number,
            padding,
        )
    };
    append(&settings, (0..LARGE + SMALL).map(quote));
    let proxy = breakable.node().proxy().unwrap();
    let mut loader = Loader::start(&settings);
    loader.wait_ready();
    proxy.delay(Duration::from_secs(3));
    wait_for("held fetching", PATIENCE, || (loader.metric("tickgate_sink_held") > 0.0).then_some(()));
    loader.wait_unready("cassandra waits for answers: none for");
    // Longer than a member may be silent.
    thread::sleep(Duration::from_secs(8));
    assert!(loader.metric("tickgate_sink_in_flight_bytes") <= f64::from(34_u32 << 20));
    assert!(loader.metric("tickgate_sink_partitions_assigned") > 0.0);
    proxy.mend();
    let tables = Tables::on(breakable.node(), test);
    let all = usize::try_from(LARGE + SMALL).unwrap();
    wait_for("all rows", PATIENCE, || (tables.count() == all).then_some(()));
    loader.wait_ready();
    let (peak, log) = (loader.peak_bytes(), loader.log());
    assert!(peak < PEAK_BYTES, "{} MiB at most, expected {}", peak >> 20, PEAK_BYTES >> 20);
    assert!(!log.contains("the group took away") && !log.contains("the group wants back"), "{log}");
    assert_eq!(loader.terminate(), Some(0));
}

#[test]
fn a_node_that_is_away_at_the_start_is_waited_for() {
    let breakable = Breakable::take();
    let settings = topics(settings_on(breakable.node(), "sink-absent"));
    tables(&settings);
    breakable.node().proxy().unwrap().cut();
    let mut loader = Loader::start(&settings);
    loader.wait_unready("cassandra waits for a session: no node of");
    breakable.heal();
    loader.wait_ready();
    assert_eq!(loader.terminate(), Some(0));
}
