//! The simulation's own proof, before it proves anything else: a seed is a run.

use crate::attempt;
use crate::invariants::Breach;
use crate::teeth::Planted;
use crate::world::Outcome;

/// How many seeds are run before any of them is believed.
const SEEDS: u64 = 40;

/// Runs some seeds twice, and finds that they are not all the same.
pub fn prove() {
    let mut hashes: Vec<_> = (0..SEEDS).map(|seed| twice(seed).map(|outcome| outcome.hash).ok()).collect();
    hashes.dedup();
    assert!(hashes.len() > 1, "every seed is the same run");
}

/// Runs a seed twice; every line of its traces must be the same.
pub fn twice(seed: u64) -> Result<Outcome, Breach> {
    let first = attempt(seed, Planted::Nothing, false);
    let words = |outcome: &Result<Outcome, Breach>| match outcome {
        Ok(outcome) => Ok(outcome.clone()),
        Err(breach) => Err(breach.0.clone()),
    };
    let second = attempt(seed, Planted::Nothing, false);
    assert_eq!(words(&first), words(&second), "seed {seed} is not one run but two");
    first
}
