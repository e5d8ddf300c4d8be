//! A network that fails between the gate and its brokers, at the moments that matter: whatever is lost on the
//! way, every record has the output that it calls for, once.

use std::{thread, time::Duration};

use tickgate_stack::{Proxy, Request};

use crate::{
    cluster::Settings,
    feed::Feed,
    gate::{Gate, PATIENCE, wait_for},
    offsets::wait_caught_up,
    proof::Proof,
    rig::Rig,
};

const PARTITIONS: i32 = 3;
/// Times that one message is lost: the client asks again after 0.1, 0.2, 0.4 and 0.8 s, and the gate's own
/// patience with one call is a second.
const LOSSES: usize = 5;

/// Lets records flow while `fault` happens, and waits until all of them have been committed.
fn while_flowing(settings: &Settings, feed: &mut Feed, fault: impl FnOnce()) {
    thread::scope(|scope| {
        let flow = scope.spawn(|| feed.flow(settings, 5_000, Duration::from_secs(5)));
        fault();
        flow.join().unwrap();
    });
    wait_caught_up(settings, PATIENCE);
}

fn rounds(gate: &Gate, outcome: &str) -> u64 {
    gate.counter(&format!("tickgate_rounds_total{{outcome=\"{outcome}\"}}"))
}

#[test]
fn the_outcome_of_a_commit_that_nobody_heard_of_is_asked_for_until_it_is_known() {
    let rig = Rig::take();
    let settings = rig.settings("network-commit", PARTITIONS);
    let mut feed = Feed::new(40, PARTITIONS);
    let gate = Gate::start(&settings);
    gate.wait_ready();
    let faults: [fn(&Proxy); 2] = [
        |proxy| proxy.lose_replies(Request::Commit, LOSSES), // committed
        |proxy| proxy.lose_requests(Request::Commit, LOSSES), // not committed
    ];
    for fault in faults {
        let unknown = rounds(&gate, "unknown");
        while_flowing(&settings, &mut feed, || {
            rig.proxies().for_each(fault);
            wait_for("loss of a commit, and another try", PATIENCE, || {
                (rig.lost() >= LOSSES && rounds(&gate, "unknown") > unknown).then_some(())
            });
        });
    }
    assert_eq!(rounds(&gate, "fenced"), 0);
    Proof::of(&settings).assert_matches(feed.expected());
}
