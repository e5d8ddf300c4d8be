//! Brokers that are away, or take no dead letter: the sink says which, waits, and stops in time all the same.

use tickgate_stack::{Proxy, Request};

use crate::{
    cluster::Settings,
    feed::now_ms,
    gate::{PATIENCE, wait_for},
    rig::Rig,
    sink::{
        loader::Loader,
        source::{PARTITIONS, Straight, append, letters, tables},
        tables::{Tables, into, node},
    },
};

fn prepared(rig: &Rig, test: &str) -> Settings {
    let settings = into(node(), test, rig.settings(test, PARTITIONS));
    tables(&settings);
    settings
}

fn wait_rows(test: &str, count: usize) {
    let tables = Tables::of(test);
    wait_for("rows", PATIENCE, || (tables.count() == count).then_some(()));
}

#[test]
fn brokers_that_go_away_are_told_and_waited_for_and_delay_no_stop() {
    let test = "sink-brokers";
    let rig = Rig::take();
    let settings = prepared(&rig, test);
    let now = now_ms();
    let quotes = |from: i64| (from..from + 100).map(move |number| Straight::quote("AAPL", number, now, 0));
    append(&settings, quotes(0));
    let mut loader = Loader::start(&settings);
    wait_rows(test, 100);
    loader.wait_ready();
    rig.proxies().for_each(Proxy::cut);
    let said = loader.wait_unready("reading waits for brokers: no answer for");
    assert!(!said.contains("cassandra"), "{said}");
    rig.mend();
    append(&settings, quotes(100));
    wait_rows(test, 200);
    loader.wait_ready();
    assert!(loader.log().contains("the brokers answer again"), "{}", loader.log());

    // Connections that are open and dead are the worst that a stop can meet.
    rig.proxies().for_each(Proxy::stall);
    loader.wait_unready("reading waits for brokers");
    assert_eq!(loader.terminate(), Some(0));
}

#[test]
fn a_dead_letter_that_waits_for_brokers_is_told_as_that_and_holds_no_row_up() {
    let test = "sink-letter";
    let rig = Rig::take();
    let settings = prepared(&rig, test);
    let now = now_ms();
    let quotes = (0..500).map(|number| Straight::quote("AAPL", number, now, 0));
    let bad = Straight { source: None, ..Straight::quote("AAPL", 1_000, now, 0) };
    append(&settings, [bad].into_iter().chain(quotes));
    // Of all requests, brokers get none with records in it.
    rig.proxies().for_each(|proxy| proxy.lose_requests(Request::Produce, usize::MAX));
    let mut loader = Loader::start(&settings);
    let said =
        loader.wait_unready("a dead letter waits for brokers: `sink-letter.stock_data_dead` takes none");
    assert!(!said.contains("cassandra") && !said.contains("reading"), "{said}");
    wait_rows(test, 500);
    assert!(rig.lost() > 0);
    assert_eq!(letters(&settings).len(), 0);
    rig.mend();
    wait_for("letter", PATIENCE, || (letters(&settings).len() == 1).then_some(()));
    loader.wait_ready();
    assert_eq!(loader.terminate(), Some(0));
    // It was committed only then, and only once.
    Loader::catch_up(&settings);
    assert_eq!((letters(&settings).len(), Tables::of(test).count()), (1, 500));
}
