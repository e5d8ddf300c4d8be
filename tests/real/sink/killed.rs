//! The sink and Cassandra killed while records flow: nothing is lost, nothing doubled.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    cluster::Settings,
    feed::Feed,
    gate::{Gate, PATIENCE, wait_for},
    offsets::wait_caught_up,
    proof::Proof,
    sink::{
        breaking::Breakable,
        loader::Loader,
        source::{PARTITIONS, tables, topics},
        tables::settings_on,
    },
};

const ROWS: &str = "tickgate_sink_rows_total";
const CRASHES: usize = 5;

/// Records flow until told to stop, `least` of them at least, `a_second` at most; how many the gate accepted.
fn flow(settings: &Settings, is_over: &AtomicBool, least: u32, a_second: u32) -> u64 {
    let mut feed = Feed::new(12, PARTITIONS);
    let mut sent = 0;
    while !is_over.load(Ordering::Relaxed) || sent < least {
        feed.flow(settings, a_second, Duration::from_secs(1));
        sent += a_second;
    }
    feed.expected().accepted
}

fn wait_loading(loader: &Loader) {
    wait_for("rows", PATIENCE, || (loader.metric(ROWS) > 100.0).then_some(()));
}

fn crash(loader: &mut Loader, chance: &mut ChaCha8Rng) {
    wait_loading(loader);
    thread::sleep(Duration::from_millis(chance.random_range(0..1_000)));
    loader.kill();
    loader.start_again(&[]);
}

fn killed(test: &str, least: u32, a_second: u32, outages: &[Duration]) {
    let breakable = Breakable::take();
    let settings = topics(settings_on(breakable.node(), test));
    tables(&settings);
    let (is_over, mut chance) = (AtomicBool::new(false), ChaCha8Rng::seed_from_u64(13));
    let mut gate = Gate::start(&settings);
    let accepted = thread::scope(|scope| {
        let flow = scope.spawn(|| flow(&settings, &is_over, least, a_second));
        let mut loader = Loader::start(&settings);
        for _ in 0..CRASHES {
            crash(&mut loader, &mut chance);
        }
        for outage in outages {
            wait_loading(&loader);
            breakable.node().kill().unwrap();
            loader.wait_unready("cassandra waits for answers: none for");
            thread::sleep(*outage);
            breakable.heal();
            loader.wait_ready();
        }
        // Another member takes over half of the partitions, and gives them back.
        let mut other = Loader::start(&settings);
        wait_loading(&other);
        assert_eq!(other.terminate(), Some(0));
        is_over.store(true, Ordering::Relaxed);
        let accepted = flow.join().unwrap();
        wait_caught_up(&settings, PATIENCE * 3);
        assert_eq!(loader.terminate(), Some(0));
        accepted
    });
    assert_eq!(gate.terminate(), Some(0));
    Loader::catch_up(&settings);
    let proof = Proof::of_rows(&settings);
    assert_eq!((proof.count("rows"), proof.count("loaded")), (accepted, accepted));
}

#[test]
fn what_was_killed_goes_on_where_it_was_acknowledged() {
    killed("sink-killed", 0, 1_000, &[Duration::ZERO]);
}

#[test]
#[ignore = "takes minutes: 500,000 records and outages of half a minute"]
fn half_a_million_records_and_long_outages() {
    killed("sink-killed-long", 500_000, 5_000, &[Duration::from_secs(30); 2]);
}
