//! A worker that is stopped until its partitions are another's, and wakes up: whatever it was about to do, it
//! finds itself fenced or refused, writes nothing under its old id, and goes on under a new one.

use std::{thread, time::Duration};

use nix::sys::signal::Signal;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::{
    cluster::Settings,
    faults::{PARTITIONS, prepare, prove, wait_rounds, while_flowing},
    feed::Feed,
    gate::{Gate, PATIENCE, wait_for},
    offsets::claims,
};

/// Rounds that a new owner has behind it.
const SOME_ROUNDS: u64 = 3;

/// The transactional ids of an instance, in the order in which it took them.
fn ids(gate: &Gate) -> Vec<String> {
    gate.logged("joining the group").iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

/// Waits until all partitions are the instance's by what is committed; by then every round of another before
/// it is over.
fn wait_claimed_by(settings: &Settings, gate: &Gate) {
    wait_for("partitions in one hand", PATIENCE, || {
        let ids = ids(gate);
        let id = ids.last()?;
        claims(settings, PARTITIONS).iter().all(|claim| claim == id).then_some(())
    });
    let committed = gate.counter("tickgate_rounds_total{outcome=\"committed\"}");
    wait_rounds(gate, committed + SOME_ROUNDS);
}

/// Wakes a sleeper whose partitions are another's, and waits until it works again. If it had claimed them,
/// nothing of the id that it fell asleep with is ever seen again.
fn wakes_up(settings: &Settings, sleeper: &Gate, had_claimed: bool) {
    let before = ids(sleeper);
    let old = before.last().expect("it has joined the group");
    sleeper.signal(Signal::SIGCONT);
    wait_for("work of the sleeper under a good id", PATIENCE, || {
        let claims = claims(settings, PARTITIONS);
        assert!(!had_claimed || !claims.contains(old), "{claims:?} after {old} had lost all");
        ids(sleeper).last().filter(|id| claims.contains(id)).map(|_| ())
    });
}

/// How many rounds an instance has brought to their end between its sleep and its next start.
fn rounds_after_the_sleep(sleeper: &Gate) -> usize {
    let log = sleeper.logged("");
    let is =
        |line: &Value, text: &str| line["message"].as_str().is_some_and(|message| message.contains(text));
    let asleep = log.iter().skip_while(|line| !is(line, "at the fault point"));
    let awake = asleep.take_while(|line| !is(line, "the worker starts over with a new id"));
    let applied = |line: &&Value| line["effect"].as_str().is_some_and(|effect| effect.starts_with("apply"));
    awake.filter(applied).count()
}

/// Falls asleep at this instant, and wakes up once its partitions are another's.
fn sleeps(instant: &str) -> Gate {
    let settings = prepare(&format!("zombie-{}", instant.replace([' ', '#'], "-")));
    let settings = settings.with("LOG", "info,tickgate=debug");
    let mut feed = Feed::new(10, PARTITIONS);
    let mut other = Gate::start(&settings);
    let mut sleeper = Gate::stopped(&settings);
    while_flowing(&settings, &mut feed, || {
        wait_rounds(&other, SOME_ROUNDS);
        sleeper.start_to(&format!("stop {instant}"));
        sleeper.wait_paused();
        wait_claimed_by(&settings, &other);
        wakes_up(&settings, &sleeper, instant != "before claim");
    });
    prove(&settings, &feed);
    assert_eq!([sleeper.terminate(), other.terminate()], [Some(0); 2]);
    sleeper
}

#[test]
fn a_worker_stopped_anywhere_wakes_up_harmless() {
    let settings = prepare("zombie-anywhere");
    let mut feed = Feed::new(9, PARTITIONS);
    let mut chance = ChaCha8Rng::seed_from_u64(9);
    let [other, sleeper] = [Gate::start(&settings), Gate::start(&settings)];
    while_flowing(&settings, &mut feed, || {
        for _ in 0..3 {
            wait_for("partitions for both", PATIENCE, || {
                [&other, &sleeper].iter().all(|gate| !gate.partitions().is_empty()).then_some(())
            });
            thread::sleep(Duration::from_millis(chance.random_range(300..800)));
            sleeper.signal(Signal::SIGSTOP);
            wait_claimed_by(&settings, &other);
            wakes_up(&settings, &sleeper, true);
        }
    });
    prove(&settings, &feed);
}

#[test]
fn a_worker_stopped_before_it_sends_offsets_commits_nothing() {
    assert_eq!(rounds_after_the_sleep(&sleeps("before send offsets #5")), 0);
}

#[test]
#[ignore = "./check keeps six minutes of faults"]
fn a_worker_stopped_before_it_commits_commits_nothing() {
    assert_eq!(rounds_after_the_sleep(&sleeps("before commit #4")), 0);
}

#[test]
fn a_worker_stopped_after_it_has_committed_applies_that_round_and_commits_no_other() {
    assert_eq!(rounds_after_the_sleep(&sleeps("after commit #3")), 1);
}

#[test]
#[ignore = "./check keeps six minutes of faults"]
fn a_worker_stopped_before_it_claims_claims_nothing_of_another() {
    sleeps("before claim");
}

#[test]
#[ignore = "./check keeps six minutes of faults"]
fn a_worker_stopped_after_it_has_claimed_commits_nothing() {
    assert_eq!(rounds_after_the_sleep(&sleeps("after claim")), 0);
}

#[test]
fn a_static_instance_that_was_replaced_while_it_slept_ends_and_says_why() {
    let settings = prepare("zombie-replaced").with("PROCESS__INSTANCE_ID", "phoenix");
    let mut feed = Feed::new(11, PARTITIONS);
    let mut sleeper = Gate::start(&settings);
    let mut other = Gate::stopped(&settings);
    while_flowing(&settings, &mut feed, || {
        wait_rounds(&sleeper, SOME_ROUNDS);
        sleeper.signal(Signal::SIGSTOP);
        other.start_again(&[]);
        wait_claimed_by(&settings, &other);
        sleeper.signal(Signal::SIGCONT);
        assert_eq!(sleeper.wait_end(), Some(2));
    });
    assert!(sleeper.log().contains("as the instance `phoenix`"), "{}", sleeper.log());
    prove(&settings, &feed);
    assert_eq!(other.terminate(), Some(0));
}
