//! A deterministic simulation: the real core over a modelled Kafka and a modelled disk, one seed for
//! everything that happens.
//!
//! - `schedule`, `feed`, `outage`: what can happen, and which records come. `watch`: what silences are held to.
//! - `journal`, `cleaning`, `offsets`, `group`, `disk`: the models.
//! - `process`, `worker`, `perform`, `look`, `restore`: the interpreter, which is to the models what `roles::process` is to
//!   the real thing.
//! - `looks`: when in truth a clock was read. `reference`: what must come of the records. `invariants`: what must be true at every step.
//! - `determinism`, `teeth`: that the simulation is one, and that it can fail. `tally`: that all that can happen
//!   does.
//! - `agreement`: that the interpreter does what the gate does on real Kafka, in the same order.
//! - `founded`: one schedule by hand, of a takeover that sleeps while another one is done.
//! - `script`, `shortest`: which happenings of a seed take place, and the fewest of them that still fail.
//!
//! `SIM_SEEDS=n` runs that many seeds; `SIM_FROM=n` starts elsewhere; `SIM_SEED=n` replays one with its trace,
//! and with `SIM_ONLY=3,7-12` no more than these of its happenings.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod agreement;
mod cleaning;
mod determinism;
mod disk;
mod feed;
mod founded;
mod group;
mod invariants;
mod journal;
mod look;
mod looks;
mod offsets;
mod outage;
mod perform;
mod process;
mod reference;
mod restore;
#[path = "../scenario/mod.rs"]
mod scenario;
mod schedule;
mod script;
mod shortest;
mod site;
mod tally;
mod teeth;
mod trace;
mod watch;
mod worker;
mod world;

use std::any::Any;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use invariants::Breach;
use script::{Kept, Script};
use tally::Tally;
use teeth::Planted;
use world::Outcome;

/// Seeds of a run that names no number.
const SEEDS: u64 = 10_000;

#[test]
fn the_core_keeps_its_promises() {
    if let Some(script) = asked_for() {
        let outcome = attempt(script.clone(), Planted::Nothing, true);
        println!("{script:?}: {outcome:?}");
        assert!(outcome.is_ok(), "it fails");
        return;
    }
    determinism::prove();
    let from = number("SIM_FROM").unwrap_or(0);
    let seeds = from..from + number("SIM_SEEDS").unwrap_or(SEEDS);
    let began = Instant::now();
    let (steps, rounds, events) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let next = AtomicU64::new(seeds.start);
    let failed: Mutex<Vec<(u64, Breach)>> = Mutex::default();
    let tally: Mutex<Tally> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failed.lock().unwrap().is_empty() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    match determinism::twice(seed) {
                        Ok(outcome) => {
                            steps.fetch_add(outcome.lines, Ordering::Relaxed);
                            rounds.fetch_add(outcome.rounds, Ordering::Relaxed);
                            events.fetch_add(outcome.events as u64, Ordering::Relaxed);
                            tally.lock().unwrap().merge(&outcome.tally);
                        }
                        Err(breach) => failed.lock().unwrap().push((seed, breach)),
                    }
                }
            });
        }
    });
    if let Some((seed, breach)) = failed.into_inner().unwrap().into_iter().min_by_key(|(seed, _)| *seed) {
        report(seed, breach);
    }
    // Not by `println!`, which a test that passes keeps to itself.
    let _ = writeln!(
        std::io::stderr(),
        "seeds {seeds:?}, each twice: {} steps, {} committed transactions, {} freshness events, {:.1} s",
        steps.into_inner(),
        rounds.into_inner(),
        events.into_inner(),
        began.elapsed().as_secs_f64()
    );
    let tally = tally.into_inner().unwrap();
    println!("{tally}");
    let missing = tally.missing();
    let is_long = seeds.end - seeds.start >= SEEDS;
    assert!(!is_long || missing.is_empty(), "what never happened, proves nothing: {missing:?}");
}

/// Ends the test with a failure, its shortest schedule, and how to see it again.
fn report(seed: u64, breach: Breach) -> ! {
    println!("seed {seed}: {}\nlooking for the shortest schedule that still fails", breach.0);
    let found = shortest::shortest(seed, Planted::Nothing, breach);
    let _same = attempt(found.script.clone(), Planted::Nothing, true);
    let replay = "cargo test --release --test sim -- --nocapture the_core";
    panic!(
        "seed {seed}, {} of its {} happenings: {}\nreplay these with SIM_SEED={seed} SIM_ONLY={} {replay}\n\
         and all of them with SIM_SEED={seed} {replay}",
        found.left, found.of, found.breach.0, found.script.kept
    );
}

/// The one schedule that somebody wants to see.
fn asked_for() -> Option<Script> {
    let seed = number("SIM_SEED")?;
    let only = std::env::var("SIM_ONLY").ok();
    let kept =
        only.map_or(Kept::All, |text| text.parse().unwrap_or_else(|error| panic!("`SIM_ONLY`: {error}")));
    Some(Script { seed, kept })
}

/// Runs a script; a panic in it is a breach like any other.
fn attempt(script: impl Into<Script>, planted: Planted, prints: bool) -> Result<Outcome, Breach> {
    let script = script.into();
    catch_unwind(AssertUnwindSafe(|| world::run(&script, planted, prints)))
        .unwrap_or_else(|panic| Err(Breach(format!("panicked: {}", said(panic.as_ref())))))
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("something that is no text")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("`{name}` is no number: {text}")))
}
