//! What tests that break the gate at an instant have in common: records that flow meanwhile, and the proof.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::{
    cluster::Settings,
    feed::{Feed, Producer},
    gate::{Gate, PATIENCE, wait_for},
    offsets::wait_caught_up,
    proof::Proof,
};

/// Few, for what is at stake is the order of effects.
pub const PARTITIONS: i32 = 3;
/// Records at a time, and the pause after them.
const BURST: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);
/// A feed has shown all that it has in store after so many.
const ENOUGH: u64 = 2_100;

/// Topics of [`PARTITIONS`], for a group of the test's name.
pub fn prepare(test: &str) -> Settings {
    let settings = Settings::of(test).with("TOPICS__PARTITIONS", &PARTITIONS.to_string());
    settings.run(&["topics", "apply", "--timeout", "3m"]).ended(0);
    settings
}

/// Sets its flag when it goes, also by a panic, so that nothing goes on beside a test that has failed.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Sends records until `faults` has happened; 400 a second, or fewer where Kafka is slow.
pub fn while_flowing<T>(settings: &Settings, feed: &mut Feed, faults: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let flow = scope.spawn(|| {
            let producer = Producer::new(settings);
            while !over.load(Ordering::SeqCst) || feed.expected().inputs() < ENOUGH {
                (0..BURST).for_each(|_| producer.send(&feed.make()));
                thread::sleep(PAUSE);
            }
            producer.flush();
        });
        let ends = Over(&over);
        let value = faults();
        drop(ends);
        flow.join().unwrap();
        value
    })
}

/// Waits until the instance, since its start, has committed `count` rounds.
pub fn wait_rounds(gate: &Gate, count: u64) {
    let committed =
        || gate.get("/metrics").map(|_| gate.counter("tickgate_rounds_total{outcome=\"committed\"}"));
    wait_for("committed rounds", PATIENCE, || committed().filter(|committed| *committed >= count));
}

/// Waits until the group has read all, and proves that each record has the one output that it calls for.
pub fn prove(settings: &Settings, feed: &Feed) {
    wait_caught_up(settings, PATIENCE);
    Proof::of(settings).assert_matches(feed.expected());
}
