//! Brokers that die and come back, and those that stop in order, while records flow: no instance ends, and
//! every record has the output that it calls for.

use std::{collections::BTreeSet, thread, time::Duration};

use rdkafka::ClientConfig;
use tickgate::journal::kafka::owners::Owners;

use crate::{
    cluster::Settings,
    feed::Feed,
    fenced::id,
    gate::{Gate, PATIENCE, wait_for},
    offsets::wait_caught_up,
    proof::Proof,
    rig::Rig,
};

const PARTITIONS: i32 = 6;
/// Records that flow while a broker is away.
const RECORDS: u32 = 6_000;
/// How long they take at least.
const FLOW_TAKES: Duration = Duration::from_secs(8);

/// Two instances at work, and a feed for them.
struct Job<'a> {
    rig: &'a Rig,
    settings: Settings,
    feed: Feed,
    gates: [Gate; 2],
}

impl<'a> Job<'a> {
    fn start(rig: &'a Rig, test: &str, seed: u64) -> Self {
        let settings = rig.settings(test, PARTITIONS);
        let gates = [Gate::start(&settings), Gate::start(&settings)];
        let mut job = Self { rig, settings, feed: Feed::new(seed, PARTITIONS), gates };
        job.while_flowing(|_| {});
        job
    }

    /// Lets records flow while `change` happens; then everything must have come right again.
    fn while_flowing(&mut self, change: impl FnOnce(&Rig)) {
        thread::scope(|scope| {
            let flow = scope.spawn(|| self.feed.flow(&self.settings, RECORDS, FLOW_TAKES));
            change(self.rig);
            flow.join().unwrap();
        });
        wait_caught_up(&self.settings, PATIENCE);
        self.wait_whole();
    }

    /// Waits until both instances work, on all partitions between them.
    fn wait_whole(&mut self) {
        for gate in &mut self.gates {
            assert!(gate.is_running(), "an instance has ended");
            gate.wait_ready();
        }
        wait_for("work on all partitions", PATIENCE, || {
            let all: BTreeSet<i32> = self.gates.iter().flat_map(Gate::partitions).collect();
            (all.len() == usize::try_from(PARTITIONS).unwrap()).then_some(())
        });
    }

    /// The brokers that coordinate the transactions of the instances.
    fn transaction_coordinators(&self) -> BTreeSet<i32> {
        let id = |gate: &Gate| wait_for("id of a worker", PATIENCE, || id(gate));
        self.gates.iter().map(|gate| self.rig.transaction_coordinator(&id(gate))).collect()
    }

    fn prove(&self) {
        Proof::of(&self.settings).assert_matches(self.feed.expected());
    }
}

/// Kills a broker amid the flow, and brings it back.
fn kill_and_bring_back(job: &mut Job<'_>, id: i32) {
    job.while_flowing(|rig| {
        let broker = rig.broker(id);
        thread::sleep(Duration::from_secs(1));
        broker.kill().unwrap();
        broker.start().unwrap();
        broker.wait_ready(3).unwrap();
    });
    job.rig.wait_in_sync();
}

#[test]
#[ignore = "slow: three brokers die and come back"]
fn each_broker_is_killed_in_turn_the_controller_and_both_coordinators_among_them() {
    let rig = Rig::take();
    let mut job = Job::start(&rig, "brokers-killed", 41);
    let controller = rig.controller();
    kill_and_bring_back(&mut job, controller);
    // It leads nothing now, so the two others are all the coordinators that there are.
    let group = rig.group_coordinator(job.settings.group());
    assert_ne!(group, controller);
    let last = (1..=3).find(|id| *id != controller && *id != group).unwrap();
    let transactions = job.transaction_coordinators();
    eprintln!("killed: controller {controller}, group {group}, {last}; transactions: {transactions:?}");
    assert!(!transactions.contains(&controller), "{transactions:?}");
    kill_and_bring_back(&mut job, group);
    kill_and_bring_back(&mut job, last);
    job.prove();
}

#[test]
#[ignore = "slow: three orderly restarts"]
fn all_brokers_are_restarted_in_order_one_after_the_other() {
    let rig = Rig::take();
    let mut job = Job::start(&rig, "brokers-rolling", 42);
    for id in 1..=3 {
        job.while_flowing(|rig| {
            let broker = rig.broker(id);
            broker.terminate().unwrap();
            broker.start().unwrap();
            broker.wait_ready(3).unwrap();
            rig.wait_in_sync();
        });
        job.prove();
    }
}

#[test]
#[ignore = "slow: brokers away for longer than sessions and transactions may be idle"]
fn all_brokers_are_away_for_a_while() {
    let rig = Rig::take();
    let mut job = Job::start(&rig, "brokers-away", 43);
    for broker in rig.brokers() {
        broker.kill().unwrap();
    }
    for gate in &job.gates {
        wait_for("instance that is not ready", PATIENCE, || {
            gate.ask("/readyz").filter(|(status, _)| *status == 503)
        });
    }
    rig.heal();
    job.while_flowing(|_| {});
    job.prove();
}

#[test]
fn a_restore_goes_on_under_the_changelogs_next_leader() {
    let rig = Rig::take();
    let settings = rig.settings("brokers-restore", 2);
    let mut feed = Feed::new(44, 2);
    let mut gate = Gate::start(&settings);
    // Symbols that have fallen silent, which the next owner must know to notice that they come again.
    feed.flow(&settings, 1_900, Duration::from_secs(3));
    wait_caught_up(&settings, PATIENCE);
    assert_eq!(gate.terminate(), Some(0));
    gate.lose_store();

    // Few rows come at once, and slowly, so that the leader dies amid them.
    let slow = settings.clone().with("KAFKA__PROPERTIES__MAX_PARTITION_FETCH_BYTES", "1024");
    let mut slow = Gate::stopped(&slow);
    rig.proxies().for_each(|proxy| proxy.delay(Duration::from_millis(150)));
    // Who has asked the leader while it lived, and so knows it.
    let changelog = format!("{}-last_seen-changelog", settings.group());
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", settings.direct());
    let owners = Owners::new(config, settings.group()).unwrap();
    let ends = || owners.ends(&changelog, &[0, 1]).ok();
    let before = wait_for("the changelog's ends", PATIENCE, ends);
    slow.start_again(&[]);
    wait_for("assignment", PATIENCE, || (!slow.logged("the group said: Assigned").is_empty()).then_some(()));
    thread::sleep(Duration::from_secs(3));
    let leader = rig.broker(rig.leader(&changelog, 0));
    leader.kill().unwrap();
    let restored = slow.restores();
    rig.mend();
    slow.wait_ready();
    eprintln!("restored before the leader died: {restored:?}; at last: {:?}", slow.restores());
    eprintln!("ends that came too early: {:?}", slow.logged("seems to end early"));
    // A worker that asked at that very moment would otherwise wait until the leader is back.
    let after = wait_for("the changelog's ends from its next leader", PATIENCE, ends);
    assert!(before.iter().all(|(partition, ends)| after[partition].high_watermark >= ends.high_watermark));
    leader.start().unwrap();
    feed.flow(&settings, 1_900, Duration::from_secs(3));
    wait_caught_up(&settings, PATIENCE);
    assert!(slow.is_running(), "the instance has ended");
    Proof::of(&settings).assert_matches(feed.expected());
}
