//! kill -9 at each step of the round while records flow, three times a step and each time in another round;
//! then one audit a step. Once by a restart of the same member, once by another that takes over.

use std::{thread, time::Duration};

use nix::sys::signal::Signal;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tickgate::core::Effect;

use crate::{
    cluster::Settings,
    faults::{PARTITIONS, prepare, prove, wait_rounds, while_flowing},
    feed::Feed,
    gate::{Gate, PATIENCE, wait_for},
};

/// Which passing of the step, counted from each start, is the last. The first is the round that founds the
/// partitions, where the step is part of it.
const PASSINGS: [u32; 3] = [1, 4, 9];
/// Rounds that are not the first ones any more.
const SOME_ROUNDS: u64 = 5;
/// What a dead instance left open and nobody may end is waited for no longer.
const TRANSACTION_TIMEOUT: &str = "30s";

/// Topics for one step, and an instance that has its partitions back at once.
fn prepare_step(step: &str) -> (Settings, Feed) {
    let settings = prepare(&format!("killed-{}", step.replace(' ', "-")))
        .with("PROCESS__INSTANCE_ID", "phoenix")
        .with("PROCESS__TRANSACTION_TIMEOUT", TRANSACTION_TIMEOUT);
    (settings, Feed::new(6, PARTITIONS))
}

/// Each step on its own topics, side by side.
fn side_by_side<T: AsRef<str> + Sync>(steps: &[T], trial: impl Fn(&str) + Sync) {
    thread::scope(|scope| {
        for step in steps {
            scope.spawn(|| trial(step.as_ref()));
        }
    });
}

fn killed_thrice_at(step: &str) {
    let (settings, mut feed) = prepare_step(step);
    let mut gate = Gate::stopped(&settings);
    while_flowing(&settings, &mut feed, || {
        for passing in PASSINGS {
            gate.start_to(&format!("kill {step} #{passing}"));
            gate.wait_killed();
        }
        gate.start_again(&[]);
    });
    prove(&settings, &feed);
}

#[test]
#[ignore = "./check keeps six minutes of faults"]
fn killed_beside_begin() {
    side_by_side(&["before begin", "after begin"], killed_thrice_at);
}

#[test]
fn killed_beside_and_within_send() {
    side_by_side(&["before send", "within send", "after send"], killed_thrice_at);
}

#[test]
#[ignore = "./check keeps six minutes of faults"]
fn killed_beside_log() {
    side_by_side(&["before log", "after log"], killed_thrice_at);
}

#[test]
fn killed_beside_send_offsets() {
    side_by_side(&["before send offsets", "after send offsets"], killed_thrice_at);
}

#[test]
fn killed_beside_and_within_commit() {
    side_by_side(&["before commit", "within commit", "after commit"], killed_thrice_at);
}

#[test]
fn killed_beside_apply() {
    side_by_side(&["before apply", "after apply"], killed_thrice_at);
}

#[test]
#[ignore = "./check keeps six minutes of faults"]
fn killed_beside_claim_and_within_the_restore_after_it() {
    side_by_side(&["before claim", "after claim", "within restore"], |step| {
        let (settings, mut feed) = prepare_step(step);
        let mut gate = Gate::start(&settings);
        while_flowing(&settings, &mut feed, || {
            // Of the crashes the last two come one after the other.
            for crashes in [1, 2] {
                wait_rounds(&gate, SOME_ROUNDS);
                gate.kill();
                for _ in 0..crashes {
                    gate.start_to(&format!("kill {step}"));
                    gate.wait_killed();
                }
                gate.start_again(&[]);
            }
            wait_rounds(&gate, SOME_ROUNDS);
        });
        prove(&settings, &feed);
    });
}

#[test]
fn killed_beside_release() {
    side_by_side(&["before release", "after release"], |step| {
        let (settings, mut feed) = prepare_step(step);
        let mut gate = Gate::stopped(&settings);
        let mut other = Gate::stopped(&settings.clone().with("PROCESS__INSTANCE_ID", "other"));
        while_flowing(&settings, &mut feed, || {
            for rounds in [SOME_ROUNDS, 2 * SOME_ROUNDS] {
                gate.start_to(&format!("kill {step}"));
                wait_rounds(&gate, rounds);
                gate.signal(Signal::SIGTERM);
                gate.wait_killed();
            }
            // The group wants some of its partitions for another instance.
            gate.start_to(&format!("kill {step}"));
            wait_rounds(&gate, SOME_ROUNDS);
            other.start_again(&[]);
            gate.wait_killed();
            gate.start_again(&[]);
            wait_rounds(&gate, SOME_ROUNDS);
            wait_rounds(&other, SOME_ROUNDS);
        });
        prove(&settings, &feed);
        assert_eq!([gate.terminate(), other.terminate()], [Some(0); 2]);
    });
}

/// The round that founds a partition leaves no name in the offsets by which anybody could end it, and its timeout is far
/// away; but the state directory has the name.
#[test]
#[ignore = "./check keeps six minutes of faults"]
fn a_restart_ends_what_the_last_start_had_open() {
    let settings = prepare("killed-remembered").with("PROCESS__TRANSACTION_TIMEOUT", "15m");
    let mut feed = Feed::new(17, PARTITIONS);
    let mut gate = Gate::stopped(&settings);
    while_flowing(&settings, &mut feed, || {
        for fault in ["kill after send offsets", "kill within commit #4", "kill after commit #7"] {
            gate.start_to(fault);
            gate.wait_killed();
        }
        gate.start_again(&[]);
        wait_rounds(&gate, SOME_ROUNDS);
    });
    prove(&settings, &feed);
    assert_eq!(gate.logged("fenced the transactional id of the last start").len(), 1);
    assert!(gate.logged("fencing a dead owner").is_empty(), "it was ended already");
    let name = |gate: &Gate| gate.logged("joining the group")[0]["id"].as_str().unwrap().to_owned();
    let (before, part) = (name(&gate), |id: &str| id.split('.').nth(1).unwrap().to_owned());
    assert_eq!(gate.terminate(), Some(0));
    gate.start_again(&[]);
    gate.wait_ready();
    assert_eq!(part(&name(&gate)), part(&before), "a name of chance is kept");
    assert!(gate.logged("fenced the transactional id").is_empty(), "the last start has left in order");
    assert_eq!(gate.terminate(), Some(0));
}

#[test]
#[ignore = "./check keeps six minutes of faults"]
fn a_living_instance_ends_what_a_killed_one_had_open() {
    const FAULTS: [&str; 4] = [
        "kill within send #7",
        "kill after send offsets #5",
        "kill within commit #3",
        "kill after commit #9",
    ];
    let settings = prepare("killed-taken-over");
    let mut feed = Feed::new(7, PARTITIONS);
    let living = Gate::start(&settings);
    let mut mortal = Gate::stopped(&settings);
    let wait_all = || {
        wait_for("partitions in one hand", PATIENCE, || {
            (living.partitions().len() == usize::try_from(PARTITIONS).unwrap()).then_some(())
        });
    };
    while_flowing(&settings, &mut feed, || {
        for fault in FAULTS {
            wait_all();
            mortal.start_to(fault);
            mortal.wait_killed();
        }
        wait_all();
    });
    prove(&settings, &feed);
    let fenced = living.counter("tickgate_fenced_total");
    assert!(fenced >= u64::try_from(FAULTS.len()).unwrap(), "{fenced}");
}

#[test]
#[ignore = "takes ten minutes"]
fn killed_again_and_again_at_every_instant_there_is() {
    const KILLS: usize = 10;
    const AT_A_TIME: usize = 4;
    let beside = Effect::CARRIED_OUT
        .iter()
        .flat_map(|effect| ["before", "after"].map(|when| format!("{when} {effect}")));
    let within = ["send", "commit", "restore"].map(|effect| format!("within {effect}"));
    let steps: Vec<String> = beside.chain(within).collect();
    for some in steps.chunks(AT_A_TIME) {
        side_by_side(some, |step| killed_often_at(step, KILLS));
    }
}

/// Where an instant does not come by itself, as an abort doesn't, the instance is killed at any.
fn killed_often_at(step: &str, kills: usize) {
    let (settings, mut feed) = prepare_step(&format!("often {step}"));
    let mut chance = ChaCha8Rng::seed_from_u64(8);
    let mut gate = Gate::stopped(&settings);
    let mut struck = 0;
    while_flowing(&settings, &mut feed, || {
        for _ in 0..kills {
            // What belongs to a start comes once, what belongs to a round often.
            let passing = if chance.random::<bool>() { 1 } else { chance.random_range(2..30) };
            gate.start_to(&format!("kill {step} #{passing}"));
            struck += usize::from(gate.killed_within(Duration::from_secs(8)));
        }
        gate.start_again(&[]);
    });
    prove(&settings, &feed);
    eprintln!("{step}: {struck} of {kills} kills at the instant");
}
