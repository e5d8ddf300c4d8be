//! A network that fails between the gate and its brokers, at the moments that matter: whatever is lost on the
//! way, every record has the output that it calls for, once.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rdkafka::consumer::Consumer;
use tickgate_stack::{Proxy, Request};

use crate::{
    cluster::Settings,
    feed::Feed,
    gate::{Gate, PATIENCE, wait_for},
    offsets::{observer, wait_caught_up},
    proof::Proof,
    rig::Rig,
};

const PARTITIONS: i32 = 3;
/// Times that one message is lost: the client asks again after 0.1, 0.2, 0.4 and 0.8 s, and the gate's own
/// patience with one call is a second.
const LOSSES: usize = 5;

/// Lets records flow for as long as `fault` takes, and waits until all of them have been committed.
fn while_flowing(settings: &Settings, feed: &mut Feed, fault: impl FnOnce()) {
    /// Ends the flow, also when the fault panics.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let flow = scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                feed.flow(settings, 500, Duration::from_millis(500));
            }
        });
        let ending = Over(&over);
        fault();
        drop(ending);
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

#[test]
fn a_line_that_is_cut_or_stalled_for_longer_than_a_session_loses_nothing() {
    let rig = Rig::take();
    let settings = rig.settings("network-line", PARTITIONS);
    let mut feed = Feed::new(45, PARTITIONS);
    let mut gate = Gate::start(&settings);
    gate.wait_ready();
    while_flowing(&settings, &mut feed, || {
        for _ in 0..3 {
            rig.proxies().for_each(Proxy::cut);
            thread::sleep(Duration::from_millis(500));
            rig.mend();
            wait_rounds(&gate, 3);
        }
    });
    while_flowing(&settings, &mut feed, || {
        rig.proxies().for_each(Proxy::stall);
        // The group must have given it up, or it was no stall.
        wait_for("group without a member", PATIENCE, || (members(&settings) == Some(0)).then_some(()));
        rig.mend();
    });
    assert!(gate.is_running(), "the instance has ended");
    gate.wait_ready();
    Proof::of(&settings).assert_matches(feed.expected());
}

#[test]
#[ignore = "slow, as its line is"]
fn a_line_that_is_slow_delays_rounds_and_nothing_else() {
    let rig = Rig::take();
    let settings = rig.settings("network-slow", PARTITIONS);
    let mut feed = Feed::new(47, PARTITIONS);
    let gate = Gate::start(&settings);
    gate.wait_ready();
    while_flowing(&settings, &mut feed, || {
        rig.proxies().for_each(|proxy| proxy.delay(Duration::from_millis(200)));
        wait_rounds(&gate, 3);
    });
    rig.mend();
    Proof::of(&settings).assert_matches(feed.expected());
}

#[test]
fn requests_around_the_commit_are_lost_and_so_are_replies() {
    let rig = Rig::take();
    let settings = rig.settings("network-others", PARTITIONS);
    let mut feed = Feed::new(46, PARTITIONS);
    let mut gate = Gate::start(&settings);
    gate.wait_ready();
    let faults: [fn(&Proxy, Request); 2] =
        [|proxy, kind| proxy.lose_replies(kind, 1), |proxy, kind| proxy.lose_requests(kind, 1)];
    let in_rounds = [Request::Produce, Request::AddOffsetsToTxn, Request::TxnOffsetCommit];
    while_flowing(&settings, &mut feed, || {
        for fault in faults {
            for kind in in_rounds {
                rig.proxies().for_each(|proxy| fault(proxy, kind));
                wait_for("loss", PATIENCE, || (rig.lost() > 0).then_some(()));
                wait_rounds(&gate, 1);
            }
        }
    });
    // At the start of an instance: its id, its place in the group, its claim.
    for fault in faults {
        for kind in [Request::InitProducerId, Request::JoinGroup, Request::OffsetCommit] {
            assert_eq!(gate.terminate(), Some(0));
            rig.proxies().for_each(|proxy| fault(proxy, kind));
            while_flowing(&settings, &mut feed, || {
                gate.start_again(&[]);
                wait_for("loss", PATIENCE, || (rig.lost() > 0).then_some(()));
                gate.wait_ready();
            });
        }
    }
    assert!(gate.is_running(), "the instance has ended");
    Proof::of(&settings).assert_matches(feed.expected());
}

/// Waits until that many more rounds have been committed.
fn wait_rounds(gate: &Gate, more: u64) {
    let before = rounds(gate, "committed");
    wait_for("committed rounds", PATIENCE, || (rounds(gate, "committed") >= before + more).then_some(()));
}

fn members(settings: &Settings) -> Option<usize> {
    let groups = observer(settings).fetch_group_list(Some(settings.group()), Duration::from_secs(5)).ok()?;
    groups.groups().first().map(|group| group.members().len())
}
