//! A deterministic simulation: the real core over a modelled Kafka and a modelled disk, one seed for
//! everything that happens.
//!
//! - `schedule`, `feed`: what can happen, and which records come.
//! - `journal`, `offsets`, `group`, `disk`: the models.
//! - `worker`, `perform`: the interpreter, which is to the models what `roles::process` is to the real thing.
//! - `reference`: what must come of the records. `invariants`: what must be true at every step.
//! - `determinism`, `teeth`: that the simulation is one, and that it can fail.
//!
//! `SIM_SEEDS=n` runs that many seeds; `SIM_FROM=n` starts elsewhere; `SIM_SEED=n` replays one with its trace.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod determinism;
mod disk;
mod feed;
mod group;
mod invariants;
mod journal;
mod offsets;
mod perform;
mod reference;
mod schedule;
mod site;
mod teeth;
mod trace;
mod worker;
mod world;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use invariants::Breach;
use teeth::Planted;
use world::Outcome;

/// Seeds of a run that names no number.
const SEEDS: u64 = 10_000;

#[test]
fn the_core_keeps_its_promises() {
    if let Some(seed) = number("SIM_SEED") {
        let outcome = attempt(seed, Planted::Nothing, true);
        println!("seed {seed}: {outcome:?}");
        assert!(outcome.is_ok(), "seed {seed} fails");
        return;
    }
    determinism::prove();
    let from = number("SIM_FROM").unwrap_or(0);
    let seeds = from..from + number("SIM_SEEDS").unwrap_or(SEEDS);
    let began = Instant::now();
    let (steps, rounds, events) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let next = AtomicU64::new(seeds.start);
    let failed: Mutex<Vec<(u64, Breach)>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failed.lock().unwrap().is_empty() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    match attempt(seed, Planted::Nothing, false) {
                        Ok(outcome) => {
                            steps.fetch_add(outcome.lines, Ordering::Relaxed);
                            rounds.fetch_add(outcome.rounds, Ordering::Relaxed);
                            events.fetch_add(outcome.events as u64, Ordering::Relaxed);
                        }
                        Err(breach) => failed.lock().unwrap().push((seed, breach)),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    if let Some((seed, Breach(what))) = failed.iter().min_by_key(|(seed, _)| *seed) {
        panic!(
            "seed {seed}: {what}\nreplay it with SIM_SEED={seed} cargo test --release --test sim -- --nocapture"
        );
    }
    println!(
        "seeds {seeds:?}: {} steps, {} committed transactions, {} freshness events, {:.1} s",
        steps.into_inner(),
        rounds.into_inner(),
        events.into_inner(),
        began.elapsed().as_secs_f64()
    );
}

/// Runs a seed; a panic in it is a breach like any other.
fn attempt(seed: u64, planted: Planted, prints: bool) -> Result<Outcome, Breach> {
    catch_unwind(AssertUnwindSafe(|| world::run(seed, planted, prints)))
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
