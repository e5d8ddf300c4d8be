//! What the core is told. Every effect that asks for an answer gets exactly one of these.

use super::record::Record;
use crate::model::{CheckpointRow, Claim, ClassRow, Offset, Partition, SymbolRow, WallTime};

/// The two clocks at the moment of an input: the wall's, which may leap, and one that never goes back.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Wall time.
    pub wall: WallTime,
    /// Milliseconds on a monotonic clock with any origin.
    pub monotonic_ms: i64,
}

/// Which state of the group's membership something belongs to. Taken *before* the poll that brought it; what is begun
/// under one is committed under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub u64);

/// One thing that happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// The group gave these partitions to the worker.
    Assigned {
        /// All of them (may be none).
        partitions: Vec<Partition>,
        /// The membership this came with.
        generation: Generation,
    },
    /// The group takes these partitions away in order: there is time to finish.
    Revoked {
        /// All of them.
        partitions: Vec<Partition>,
        /// The membership right now.
        generation: Generation,
    },
    /// The partitions are somebody else's already.
    Lost {
        /// All of them.
        partitions: Vec<Partition>,
    },
    /// A batch of staging's records, in order within each partition.
    Arrivals {
        /// The batch; effects name a record by its index in it until the next batch.
        records: &'a [Record<'a>],
        /// The membership taken before the batch was read.
        generation: Generation,
    },
    /// Time has passed (see `poll_timeout`).
    Tick {
        /// The membership right now.
        generation: Generation,
    },
    /// The process is asked to stop.
    Shutdown {
        /// The membership right now.
        generation: Generation,
    },
    /// The outstanding effect is done and has nothing to tell.
    Done,
    /// Answers `Effect::Accept`.
    Accepted {
        /// The membership right now.
        generation: Generation,
    },
    /// The outstanding effect failed.
    Failed(Failure),
    /// Answers `Effect::ReadOwners`.
    Owners(Vec<Owner>),
    /// Answers `Effect::AwaitStable`: the committed offsets, none pending.
    Stable(Vec<(Partition, Option<Offset>)>),
    /// Answers `Effect::ReadTargets`: the changelog's high watermarks.
    Targets(Vec<(Partition, Offset)>),
    /// Answers `Effect::Restore`.
    Restored(Vec<Restored>),
    /// Answers `Effect::Lookup`, in the order asked.
    LookedUp(Vec<Option<SymbolRow>>),
    /// Answers `Effect::Scan`: for each span, its rows in the order of names.
    Scanned(Vec<Vec<NamedRow>>),
    /// Answers `Effect::LookAtEnds`: what could be looked at, and which classes are silent as a whole.
    Ends(Vec<End>, Vec<Box<str>>),
    /// Answers `Effect::LookAtFeeds`: every partition of staging.
    Feeds(Vec<FeedPart>),
    /// Answers `Effect::Commit`: the changelog position after the round, for each partition it wrote for.
    Committed(Vec<(Partition, Offset)>),
}

impl Input<'_> {
    /// Why the effect failed that this answers; `None` when it did not.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

/// A symbol and its row.
pub type NamedRow = (Box<str>, SymbolRow);

/// Why an effect failed, told apart by what must follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The round can't be committed: abort it and read its input again.
    Abort {
        /// What the journal said.
        reason: String,
    },
    /// Kafka refuses one output for good: abort, and put `unsendable` in its place.
    Unsendable {
        /// The input whose output was refused.
        partition: Partition,
        /// Its offset.
        offset: Offset,
        /// What the journal said.
        reason: String,
    },
    /// Nobody knows whether the commit took place: ask again.
    Unknown,
    /// Somebody fenced this worker: stop without applying, rebuild.
    Fenced {
        /// What the journal said.
        reason: String,
    },
    /// The group said something while a takeover was under way: what it said comes next.
    Superseded,
    /// The claim came from an old generation.
    Refused {
        /// What the journal said.
        reason: String,
    },
    /// The store can't be written or read.
    Store {
        /// What the store said.
        reason: String,
    },
    /// The process was asked to stop while it waited.
    Interrupted,
}

impl Failure {
    /// What the log calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Abort { .. } => "abort",
            Self::Unsendable { .. } => "unsendable",
            Self::Unknown => "unknown",
            Self::Fenced { .. } => "fenced",
            Self::Superseded => "superseded",
            Self::Refused { .. } => "refused",
            Self::Store { .. } => "store",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What a partition's committed offset says, read without waiting for pending ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Which partition.
    pub partition: Partition,
    /// Who committed last, if anybody ever did.
    pub claim: Option<Claim>,
}

/// A partition whose store has been brought up to its target.
#[derive(Debug, Clone)]
pub struct Restored {
    /// Which partition.
    pub partition: Partition,
    /// The changelog position that the store stands at.
    pub position: Offset,
    /// The checkpoint row, if any round was ever committed.
    pub checkpoint: Option<CheckpointRow>,
    /// Its class rows.
    pub classes: Vec<(Box<str>, ClassRow)>,
    /// Start of the partition's log on staging.
    pub log_start: Offset,
    /// Its high watermark.
    pub log_end: Offset,
    /// Kafka time of the record right below the checkpoint, asked when the committed offset is gone; `None` also
    /// where no record can be read there.
    pub time_below_checkpoint: Option<i64>,
}

/// What is known here of one partition's share of the feeds.
#[derive(Debug, Clone)]
pub struct FeedPart {
    /// Which partition.
    pub partition: Partition,
    /// Its end on staging; none where nobody asked, or it could not be looked at.
    pub end: Option<End>,
    /// Next input offset by the checkpoint in the local store, read after the end; 0 without one.
    pub next_offset: Offset,
    /// Its class rows in the local store, read with the checkpoint.
    pub classes: Vec<(Box<str>, ClassRow)>,
}

/// One look at the end of a partition of staging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Which partition.
    pub partition: Partition,
    /// Its last stable offset.
    pub last_stable: Offset,
    /// Its high watermark.
    pub high_watermark: Offset,
    /// Whether anything between the committed offset and the end can be read (markers cannot).
    pub readable: bool,
    /// Wall time just before the look.
    pub looked_at: WallTime,
}
