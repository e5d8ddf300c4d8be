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
        tables::{Tables, settings_on},
    },
};

const ROWS: &str = "tickgate_sink_rows_total";

/// What happens while records flow.
struct Plan {
    /// Records at least, and in a second at most.
    least: u32,
    a_second: u32,
    /// How often the sink is killed.
    crashes: u32,
    /// For how long Cassandra is away each time, its start not counted.
    outages: &'static [Duration],
    /// Whether all is loaded again from the start in the end, which must change nothing.
    replays: bool,
}

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

fn killed(test: &str, plan: &Plan) {
    let Plan { least, a_second, crashes, outages, replays } = *plan;
    let breakable = Breakable::take();
    let settings = topics(settings_on(breakable.node(), test));
    tables(&settings);
    let (is_over, mut chance) = (AtomicBool::new(false), ChaCha8Rng::seed_from_u64(13));
    let mut gate = Gate::start(&settings);
    let accepted = thread::scope(|scope| {
        let flow = scope.spawn(|| flow(&settings, &is_over, least, a_second));
        let mut loader = Loader::start(&settings);
        for _ in 0..crashes {
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
    eprintln!("{accepted} rows after {crashes} crashes and outages of {outages:?}");
    if replays {
        let tables = Tables::on(breakable.node(), test);
        let (stock, latest) = (tables.stock(), tables.latest());
        assert_eq!(stock.len() as u64, accepted);
        Loader::catch_up(&settings.clone().with("SINK__GROUP", &format!("{test}-again")));
        assert!(tables.stock() == stock, "rows have changed");
        assert!(tables.latest() == latest, "the latest quotes have changed");
    }
}

#[test]
fn what_was_killed_goes_on_where_it_was_acknowledged() {
    // Each crash costs a session of 6 s and each outage a start of Cassandra: the long test has more of them.
    let outages = &[Duration::ZERO];
    killed("sink-killed", &Plan { least: 0, a_second: 1_000, crashes: 1, outages, replays: false });
}

#[test]
#[ignore = "takes minutes: 500,000 records and outages of half a minute"]
fn half_a_million_records_and_long_outages() {
    const OUTAGES: [Duration; 2] = [Duration::from_secs(30); 2];
    let outages = &OUTAGES;
    let plan = Plan { least: 500_000, a_second: 5_000, crashes: 5, outages, replays: true };
    killed("sink-killed-long", &plan);
}
