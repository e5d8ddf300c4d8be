//! Every input has exactly one output, whatever is killed, at any number of instances: by `tickgate audit`,
//! and by what the feed that made the records says that they call for.

use std::{collections::BTreeSet, thread, time::Duration};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    cluster::Settings,
    feed::Feed,
    gate::{Gate, PATIENCE, Restore, wait_for},
    offsets::wait_caught_up,
    proof::Proof,
};

const PARTITIONS: i32 = 85;
const RECORDS: u32 = 200_000;
/// Records that flow while something happens, and how long they take at least.
const LEG: u32 = 35_000;
const LEG_TAKES: Duration = Duration::from_secs(8);

/// Topics of 85 partitions, three replicas each, and a feed for them.
fn prepare(test: &str, seed: u64) -> (Settings, Feed) {
    let settings = Settings::of(test).with("TOPICS__PARTITIONS", &PARTITIONS.to_string());
    settings.run(&["topics", "apply", "--timeout", "3m"]).ended(0);
    (settings, Feed::new(seed, PARTITIONS))
}

#[test]
fn every_record_has_the_output_it_calls_for() {
    let (settings, mut feed) = prepare("exact-all", 1);
    let mut gate = Gate::start(&settings);
    feed.flow(&settings, RECORDS, Duration::from_secs(10));
    wait_caught_up(&settings, PATIENCE);

    // While it runs.
    let expected = feed.expected();
    Proof::of(&settings).assert_matches(expected);
    for (rule, count) in &expected.rules {
        assert_eq!(
            gate.counter(&format!("tickgate_rejections_total{{rule=\"{rule}\"}}")),
            *count,
            "`{rule}`"
        );
    }
    let suspects = gate.counter("tickgate_suspects_total{rule=\"wrong_partition\"}");
    assert_eq!(suspects, expected.wrong_partition);
    assert_eq!(gate.terminate(), Some(0));
    // And after it has stopped.
    Proof::of(&settings).assert_matches(expected);
}

#[test]
fn crashes_lose_and_double_nothing_and_replay_only_the_tail() {
    const CRASHES: usize = 5;
    const WITHOUT_STORE: usize = 3;
    const ACCEPTED: &str = "tickgate_records_total{result=\"accepted\"}";
    let (settings, mut feed) = prepare("exact-crashes", 2);
    // A static member has its partitions back at once; the other tests have dynamic ones. No replica: on a slow machine
    // it would have rebuilt the lost store before the worker came to.
    let settings = settings.with("PROCESS__INSTANCE_ID", "phoenix").with("PROCESS__REPLICAS", "none");
    let mut chance = ChaCha8Rng::seed_from_u64(2);
    let mut gate = Gate::start(&settings);
    gate.wait_ready();
    let mut replayed: Vec<Restore> = Vec::new();
    for crash in 1..=CRASHES {
        // The store is flushed every 5 s; a crash before that replays all again.
        let moment = Duration::from_millis(chance.random_range(6_000..7_500));
        while_flowing(&settings, &mut feed, LEG, || {
            thread::sleep(moment);
            // On a slow machine too there must be something to lose.
            wait_for("committed round", PATIENCE, || (gate.counter(ACCEPTED) > 0).then_some(()));
            gate.kill();
            if crash == WITHOUT_STORE {
                gate.lose_store();
            }
            gate.start_again(&[]);
        });
        replayed.push(wait_for("restored state", PATIENCE, || gate.restores().first().copied()));
        gate.wait_ready();
    }
    feed.flow(&settings, RECORDS - 5 * LEG, Duration::ZERO);
    wait_caught_up(&settings, PATIENCE);
    assert_eq!(gate.terminate(), Some(0));
    Proof::of(&settings).assert_matches(feed.expected());

    eprintln!("replayed after each crash, without a store in the {WITHOUT_STORE}rd: {replayed:?}");
    let whole = replayed[WITHOUT_STORE - 1];
    assert!(replayed.iter().all(|restore| restore.partitions == 85), "{replayed:?}");
    let tails = replayed.iter().filter(|restore| restore.rows < whole.rows).count();
    assert_eq!(tails, CRASHES - 1, "{replayed:?}");
}

#[test]
fn instances_come_go_and_crash_and_nothing_is_lost_or_doubled() {
    let (settings, mut feed) = prepare("exact-instances", 3);
    let [mut first, mut second] = [Gate::start(&settings), Gate::start(&settings)];
    let mut third = Gate::stopped(&settings);
    while_flowing(&settings, &mut feed, LEG, || wait_spread(&[&first, &second]));
    while_flowing(&settings, &mut feed, LEG, || {
        assert_eq!(first.terminate(), Some(0));
        wait_spread(&[&second]);
    });
    while_flowing(&settings, &mut feed, LEG, || {
        third.start_again(&[]);
        wait_spread(&[&second, &third]);
    });
    while_flowing(&settings, &mut feed, LEG, || {
        thread::sleep(Duration::from_secs(1));
        second.kill();
        wait_spread(&[&third]);
    });
    while_flowing(&settings, &mut feed, RECORDS - 4 * LEG, || {
        first.start_again(&[]);
        wait_spread(&[&third, &first]);
    });
    wait_caught_up(&settings, PATIENCE);
    Proof::of(&settings).assert_matches(feed.expected());
}

/// Sends `count` records in [`LEG_TAKES`], or longer where Kafka is slow, while `change` happens.
fn while_flowing(settings: &Settings, feed: &mut Feed, count: u32, change: impl FnOnce()) {
    thread::scope(|scope| {
        let flow = scope.spawn(|| feed.flow(settings, count, LEG_TAKES));
        change();
        flow.join().unwrap();
    });
}

/// Waits until each partition is worked on by exactly one of `living`, each having its share.
fn wait_spread(living: &[&Gate]) {
    let share = PARTITIONS as usize / living.len();
    wait_for("spread of all partitions", PATIENCE, || {
        let owned: Vec<BTreeSet<i32>> = living.iter().map(|gate| gate.partitions()).collect();
        let all: BTreeSet<i32> = owned.iter().flatten().copied().collect();
        let number: usize = owned.iter().map(BTreeSet::len).sum();
        let fair = owned.iter().all(|own| (share..=share + 1).contains(&own.len()));
        (fair && all.len() == number && number == PARTITIONS as usize).then_some(())
    });
}
