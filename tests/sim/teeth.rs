//! Wrong orders, planted in the interpreter: the invariants must see each of them, or they prove nothing.

use crate::attempt;

/// A mistake that a shell around the core could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    Nothing,
    /// The store is written before Kafka has committed.
    ApplyBeforeCommit,
    /// A partition is marked and given up before the round that uses it is committed.
    GiveUpFirst,
    /// After an abort the input goes on where it was.
    NoRewind,
    /// A restore ends at the last stable offset, while a marker is still to come.
    TargetAtLastStable,
    /// The store's position moves without the values.
    PositionWithoutValues,
    /// A plain commit while a transactional one is pending.
    ClaimBeforeStable,
    /// A commit without a reply is taken for an abort.
    UnknownIsAborted,
    /// A round of the clock sends no offsets, so nobody checks its generation.
    TimerWithoutOffsets,
    /// What has been reported of a silence is not in the changelog.
    AlertNotLogged,
    /// The input is read past open transactions.
    ReadUncommitted,
}

/// Each planted fault, and within how many seeds it must be found.
const TEETH: [(Planted, u64); 10] = [
    (Planted::ApplyBeforeCommit, 5),
    (Planted::GiveUpFirst, 20),
    (Planted::NoRewind, 50),
    (Planted::TargetAtLastStable, 50),
    (Planted::PositionWithoutValues, 5),
    (Planted::ClaimBeforeStable, 50),
    (Planted::UnknownIsAborted, 100),
    (Planted::TimerWithoutOffsets, 20),
    (Planted::AlertNotLogged, 5),
    (Planted::ReadUncommitted, 50),
];

#[test]
fn every_planted_fault_is_found() {
    let mut missed = Vec::new();
    for (planted, within) in TEETH {
        match (0..within).find_map(|seed| Some((seed, attempt(seed, planted, false).err()?))) {
            Some((seed, breach)) => {
                let first = breach.0.lines().next().unwrap_or_default().to_owned();
                println!("{planted:?}: found by seed {seed} of {within}: {first}");
            }
            None => missed.push(planted),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
