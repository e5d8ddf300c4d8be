//! Wrong orders, planted in the interpreter: the invariants must see each of them, or they prove nothing.

use crate::attempt;
use crate::disk::Write;

/// A mistake that a shell around the core could make, or Kafka's settings could hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    Nothing,
    /// The store is written before Kafka has committed.
    ApplyBeforeCommit,
    /// A partition is given up to the group before the committed round is applied.
    ReleaseBeforeApply,
    /// A partition is marked and given up before the round that uses it is committed.
    GiveUpFirst,
    /// An output is sent twice.
    DoublePush,
    /// The store's position moves without the values.
    PositionWithoutValues,
    /// The group is answered within the poll, and a round shows the membership of its end.
    MetadataAfterPoll,
    /// A round of the clock sends no offsets, so nobody checks its generation.
    TimerWithoutOffsets,
    /// What has been reported of a silence is not in the changelog.
    AlertNotLogged,
    /// A restore ends at the last stable offset, while a marker is still to come.
    TargetAtLastStable,
    /// A restore ends where a leader that has just been elected believes the log to end.
    TargetOfNewLeader,
    /// A plain commit while a transactional one is pending.
    ClaimBeforeStable,
    /// What was claimed in a takeover that the group ended is not marked as given up.
    NotUnclaimed,
    /// What an aborted round wrote is still seen.
    OverlayKept,
    /// After an abort the input goes on where it was.
    NoRewind,
    /// A commit without a reply is taken for an abort.
    UnknownIsAborted,
    /// A commit that failed as somebody took the id is taken for done.
    FencedGoesOn,
    /// The input is read past open transactions.
    ReadUncommitted,
    /// A store that may have missed tombstones is kept.
    OldStoreKept,
    /// The changelog's tombstones go with the first pass of the cleaner.
    TombstoneCleanedEarly,
    /// The group takes commits of a static member that another of its name has replaced.
    ReplacedAccepted,
    /// A whole class is judged though a replica lags behind the ends.
    LagIgnored,
}

/// What a planted fault must keep in mind.
#[derive(Debug, Default)]
pub struct Slip {
    /// Applied later than it should be.
    pub held: Vec<Write>,
    /// What the open round wrote.
    pub overlay: Vec<Write>,
}

/// Each planted fault, and within how many seeds it must be found.
const TEETH: [(Planted, u64); 21] = [
    (Planted::ApplyBeforeCommit, 5),
    (Planted::ReleaseBeforeApply, 50),
    (Planted::GiveUpFirst, 20),
    (Planted::DoublePush, 5),
    (Planted::PositionWithoutValues, 5),
    (Planted::MetadataAfterPoll, 200),
    (Planted::TimerWithoutOffsets, 50),
    (Planted::AlertNotLogged, 5),
    (Planted::TargetAtLastStable, 200),
    (Planted::TargetOfNewLeader, 200),
    (Planted::ClaimBeforeStable, 200),
    (Planted::NotUnclaimed, 1000),
    (Planted::OverlayKept, 20),
    (Planted::NoRewind, 50),
    (Planted::UnknownIsAborted, 100),
    (Planted::FencedGoesOn, 100),
    (Planted::ReadUncommitted, 50),
    (Planted::OldStoreKept, 1000),
    (Planted::TombstoneCleanedEarly, 500),
    (Planted::ReplacedAccepted, 1000),
    (Planted::LagIgnored, 500),
];

#[test]
fn every_planted_fault_is_found() {
    let mut missed = Vec::new();
    for (planted, within) in TEETH {
        match (0..within).find_map(|seed| Some((seed, attempt(seed, planted, false).err()?))) {
            Some((seed, breach)) => {
                let first = breach.0.lines().next().unwrap_or_default().to_owned();
                println!("{planted:?}: found by seed {seed} of {within}: {first}");
                // A model that falls over has found nothing.
                assert!(!first.starts_with("panicked: "), "{planted:?}: {first}");
            }
            None => missed.push(planted),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
