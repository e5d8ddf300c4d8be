//! The simulation's own proof, before it proves anything else: a seed is a run.

use crate::attempt;
use crate::teeth::Planted;

/// How many seeds are run twice.
const SEEDS: u64 = 40;

/// Runs some seeds twice; every line of their traces must be the same.
pub fn prove() {
    let mut hashes = Vec::new();
    for seed in 0..SEEDS {
        let [first, second] =
            [(); 2].map(|()| attempt(seed, Planted::Nothing, false).map_err(|breach| breach.0));
        assert_eq!(first, second, "seed {seed} is not one run but two");
        hashes.push(first.map(|outcome| outcome.hash));
    }
    hashes.dedup();
    assert!(hashes.len() > 1, "every seed is the same run");
}
