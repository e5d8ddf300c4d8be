//! How often each kind of thing happened: a schedule that never comes about proves nothing.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use tickgate::core::Effect;

/// Kinds of things that must happen in a long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    GoodRecord,
    BadRecord,
    Tombstone,
    UnsendableRecord,
    Tick,
    CommitSucceeded,
    CommitRefused,
    UnknownButDone,
    UnknownNotDone,
    Abort,
    OwnerFenced,
    RememberedFenced,
    ToldFenced,
    StrangerFenced,
    TransactionTimedOut,
    MarkerOutOfOrder,
    Joined,
    JoinedAgain,
    Left,
    Revoked,
    RevokedInPart,
    Lost,
    ZombieWoke,
    Claimed,
    ClaimRefused,
    ClaimAwaited,
    Superseded,
    Unclaimed,
    StaticRestart,
    StaticFenced,
    SiblingAwaited,
    RestartWithDisk,
    RestartWithoutDisk,
    SlowRestore,
    RestoreInterrupted,
    StoreTooOld,
    ReplicaSlice,
    WarmTakeover,
    WallLeaptForward,
    WallLeaptBack,
    RowCleaned,
    TombstoneCleaned,
    StagingDeleted,
    ElectionAwaited,
    OffsetsExpired,
    ResumedFromCheckpoint,
    OffsetsMoved,
    RefusedDifferent,
    RefusedBeforeStart,
    RefusedBeyondEnd,
    RefusedRecreated,
    LossAccepted,
    StaleWarn,
    StaleError,
    RecoveredWarn,
    RecoveredError,
    LateDelivery,
    OfSessions,
    NeverSeen,
    FeedSilent,
    FeedRecovered,
    Reset,
}

/// All of them.
const KINDS: [Kind; Kind::Reset as usize + 1] = [
    Kind::GoodRecord,
    Kind::BadRecord,
    Kind::Tombstone,
    Kind::UnsendableRecord,
    Kind::Tick,
    Kind::CommitSucceeded,
    Kind::CommitRefused,
    Kind::UnknownButDone,
    Kind::UnknownNotDone,
    Kind::Abort,
    Kind::OwnerFenced,
    Kind::RememberedFenced,
    Kind::ToldFenced,
    Kind::StrangerFenced,
    Kind::TransactionTimedOut,
    Kind::MarkerOutOfOrder,
    Kind::Joined,
    Kind::JoinedAgain,
    Kind::Left,
    Kind::Revoked,
    Kind::RevokedInPart,
    Kind::Lost,
    Kind::ZombieWoke,
    Kind::Claimed,
    Kind::ClaimRefused,
    Kind::ClaimAwaited,
    Kind::Superseded,
    Kind::Unclaimed,
    Kind::StaticRestart,
    Kind::StaticFenced,
    Kind::SiblingAwaited,
    Kind::RestartWithDisk,
    Kind::RestartWithoutDisk,
    Kind::SlowRestore,
    Kind::RestoreInterrupted,
    Kind::StoreTooOld,
    Kind::ReplicaSlice,
    Kind::WarmTakeover,
    Kind::WallLeaptForward,
    Kind::WallLeaptBack,
    Kind::RowCleaned,
    Kind::TombstoneCleaned,
    Kind::StagingDeleted,
    Kind::ElectionAwaited,
    Kind::OffsetsExpired,
    Kind::ResumedFromCheckpoint,
    Kind::OffsetsMoved,
    Kind::RefusedDifferent,
    Kind::RefusedBeforeStart,
    Kind::RefusedBeyondEnd,
    Kind::RefusedRecreated,
    Kind::LossAccepted,
    Kind::StaleWarn,
    Kind::StaleError,
    Kind::RecoveredWarn,
    Kind::RecoveredError,
    Kind::LateDelivery,
    Kind::OfSessions,
    Kind::NeverSeen,
    Kind::FeedSilent,
    Kind::FeedRecovered,
    Kind::Reset,
];

/// The counts of one run, or of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    kinds: BTreeMap<Kind, u64>,
    /// By the effect after which a process was killed.
    killed_after: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub fn note(&mut self, kind: Kind) {
        self.add(kind, 1);
    }

    pub fn add(&mut self, kind: Kind, count: u64) {
        if count > 0 {
            *self.kinds.entry(kind).or_default() += count;
        }
    }

    pub fn killed_after(&mut self, effect: &'static str) {
        *self.killed_after.entry(effect).or_default() += 1;
    }

    pub fn merge(&mut self, other: &Self) {
        for (kind, count) in &other.kinds {
            self.add(*kind, *count);
        }
        for (effect, count) in &other.killed_after {
            *self.killed_after.entry(effect).or_default() += count;
        }
    }

    /// What has never happened.
    pub fn missing(&self) -> Vec<String> {
        let kinds =
            KINDS.iter().filter(|kind| !self.kinds.contains_key(kind)).map(|kind| format!("{kind:?}"));
        let effects = Effect::CARRIED_OUT.iter().filter(|effect| !self.killed_after.contains_key(*effect));
        kinds.chain(effects.map(|effect| format!("killed after `{effect}`"))).collect()
    }
}

impl Display for Tally {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.kinds {
            write!(to, "{kind:?} {count}, ")?;
        }
        write!(to, "killed after {:?}", self.killed_after)
    }
}
