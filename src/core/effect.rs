//! What the core wants done. Effects are carried out one at a time, in order, and answered before the next.

use std::fmt;
use std::sync::Arc;

pub use super::deadlines::Span;
use super::input::Generation;
use super::rules::Suspects;
use crate::model::{CheckpointRow, ClassRow, Event, Kind, Offset, Partition, Rule, SymbolRow};

/// One thing to do.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Take the assignment on: the group is answered, and nothing is read of it yet. From here on the group can be
    /// heard while the takeover goes on. Answer: `Accepted`.
    Accept(Vec<Partition>),
    /// Read who committed last for each partition, pending commits ignored. Answer: `Owners`.
    ReadOwners(Vec<Partition>),
    /// End the transactions of these dead owners. Answer: `Done`.
    Fence(Vec<String>),
    /// Wait until no commit of these partitions is pending. Answer: `Stable`.
    AwaitStable(Vec<Partition>),
    /// Commit these very offsets plainly, with the own id, under the current generation. Answer: `Done`.
    Claim(Vec<(Partition, Offset)>),
    /// Ask for the changelog's high watermarks (not its last stable offsets). Answer: `Targets`.
    ReadTargets(Vec<Partition>),
    /// Read the changelog read-committed up to the targets into the store. Answer: `Restored`.
    Restore(Vec<Target>),
    /// Start reading staging at these offsets; none means the assignment is empty. Answer: `Done`.
    Resume(Vec<(Partition, Offset)>),
    /// Open a transaction. Answer: `Done`.
    Begin,
    /// Send these inside the transaction. Answer: `Done`.
    Send(Vec<Output>),
    /// Send the round's changelog records, each partition's checkpoint last. Answer: `Done`.
    Log(Arc<Vec<Writes>>),
    /// Add the input offsets to the transaction. Answer: `Done`.
    SendOffsets {
        /// Next offset to read, and whether the partition is given up with it.
        offsets: Vec<(Partition, Offset, bool)>,
        /// The membership that the round's records were read under.
        generation: Generation,
    },
    /// Commit, or ask again what became of the commit. Answer: `Committed`.
    Commit,
    /// Abort the transaction. Answer: `Done`.
    Abort,
    /// Read these partitions again from here. Answer: `Done`.
    Rewind(Vec<(Partition, Offset)>),
    /// Write the committed round to the store. Answer: `Done`.
    Apply(Vec<Applied>),
    /// Give partitions up to the group. Answer: `Done`.
    Release(Vec<Partition>),
    /// Look these symbols up in the store. Answer: `LookedUp`.
    Lookup(Vec<(Partition, Arc<str>)>),
    /// Read the rows of these spans from the store, at most `limit` of each. Answer: `Scanned`.
    Scan {
        /// Which symbols.
        spans: Vec<Span>,
        /// How many rows of each at most, the first ones.
        limit: usize,
    },
    /// Look at the ends of these partitions; the offset is the committed one. Answer: `Ends`.
    LookAtEnds(Vec<(Partition, Offset)>),
    /// Look at every partition's checkpoint and class rows in the local store. Answer: `Feeds`.
    LookAtFeeds {
        /// And, before that, at the ends of all partitions of staging.
        ends: bool,
    },
    /// Something that people should know. No answer.
    Notice(Notice),
    /// Leave the group, drop the producer, start over with a new id and a new core. No answer.
    Rejoin(String),
    /// Stop for good. No answer.
    Stop(Stop),
}

/// How far a partition's store must be brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Which partition.
    pub partition: Partition,
    /// The changelog's high watermark.
    pub changelog_end: Offset,
    /// The committed offset on staging, if there is one.
    pub committed: Option<Offset>,
}

/// One message to `stock_data` or `bad_data`; `at` is the record's index in the current batch.
#[derive(Debug, Clone)]
pub enum Output {
    /// The record to `stock_data`.
    Forward {
        /// Index in the batch.
        at: usize,
        /// The state's epoch; 0 is not written.
        epoch: u32,
        /// Marks to carry.
        suspects: Suspects,
        /// The quote's event time, ms since 1970.
        event_time: i64,
    },
    /// The record to `bad_data`, with the reasons.
    Reject {
        /// Index in the batch.
        at: usize,
        /// The state's epoch; 0 is not written.
        epoch: u32,
        /// The `tg-rejection` header.
        rejection: Vec<u8>,
        /// The rules it names.
        rules: Vec<Rule>,
    },
    /// A symbol's removal to `bad_data`.
    Remove {
        /// Index in the batch.
        at: usize,
        /// The state's epoch; 0 is not written.
        epoch: u32,
    },
    /// In place of an output that Kafka refuses.
    Unsendable {
        /// Index in the batch.
        at: usize,
        /// The state's epoch; 0 is not written.
        epoch: u32,
        /// What Kafka said.
        reason: String,
    },
    /// A freshness event to `bad_data`.
    Event {
        /// Where it goes.
        partition: Partition,
        /// Which kind.
        kind: Kind,
        /// Its key.
        symbol: Arc<str>,
        /// Its JSON.
        value: Vec<u8>,
    },
}

impl Effect {
    /// The names of all effects that are carried out and answered.
    pub const CARRIED_OUT: [&'static str; 21] = [
        "accept",
        "read owners",
        "fence",
        "await stable",
        "claim",
        "read targets",
        "restore",
        "resume",
        "begin",
        "send",
        "log",
        "send offsets",
        "commit",
        "abort",
        "rewind",
        "apply",
        "release",
        "look up",
        "scan",
        "look at ends",
        "look at feeds",
    ];

    /// What the log calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accept(_) => "accept",
            Self::ReadOwners(_) => "read owners",
            Self::Fence(_) => "fence",
            Self::AwaitStable(_) => "await stable",
            Self::Claim(_) => "claim",
            Self::ReadTargets(_) => "read targets",
            Self::Restore(_) => "restore",
            Self::Resume(_) => "resume",
            Self::Begin => "begin",
            Self::Send(_) => "send",
            Self::Log(_) => "log",
            Self::SendOffsets { .. } => "send offsets",
            Self::Commit => "commit",
            Self::Abort => "abort",
            Self::Rewind(_) => "rewind",
            Self::Apply(_) => "apply",
            Self::Release(_) => "release",
            Self::Lookup(_) => "look up",
            Self::Scan { .. } => "scan",
            Self::LookAtEnds(_) => "look at ends",
            Self::LookAtFeeds { .. } => "look at feeds",
            Self::Notice(_) => "notice",
            Self::Rejoin(_) => "rejoin",
            Self::Stop(_) => "stop",
        }
    }
}

/// The name and what it is about, as the log tells it: partitions with offsets, and numbers of messages.
impl fmt::Display for Effect {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}", self.name())?;
        match self {
            Self::Accept(partitions)
            | Self::ReadOwners(partitions)
            | Self::AwaitStable(partitions)
            | Self::ReadTargets(partitions)
            | Self::Release(partitions) => partitions.iter().try_for_each(|of| write!(to, " {of}")),
            Self::Claim(offsets)
            | Self::Resume(offsets)
            | Self::Rewind(offsets)
            | Self::LookAtEnds(offsets) => offsets.iter().try_for_each(|(of, at)| write!(to, " {of}@{at}")),
            Self::Restore(targets) => targets
                .iter()
                .try_for_each(|target| write!(to, " {} to {}", target.partition, target.changelog_end)),
            Self::Send(outputs) => Output::WORDS.iter().try_for_each(|word| {
                match outputs.iter().filter(|output| output.word() == *word).count() {
                    0 => Ok(()),
                    count => write!(to, " {count} {word}"),
                }
            }),
            Self::Log(writes) => writes.iter().try_for_each(|write| {
                let (of, rows, next) = (write.partition, write.rows.len(), write.checkpoint.next_offset);
                write!(to, " {of}@{next} with {rows}")
            }),
            Self::SendOffsets { offsets, .. } => offsets.iter().try_for_each(|(of, at, given_up)| {
                write!(to, " {of}@{at}{}", if *given_up { " given up" } else { "" })
            }),
            Self::Apply(applied) => applied.iter().try_for_each(|part| {
                write!(to, " {} {}..{}", part.writes[part.index].partition, part.from, part.to)
            }),
            Self::Fence(ids) => write!(to, " {}", ids.len()),
            Self::Lookup(symbols) => write!(to, " {}", symbols.len()),
            Self::Scan { spans, .. } => spans.iter().try_for_each(|span| write!(to, " {}", span.partition)),
            Self::Begin
            | Self::Commit
            | Self::Abort
            | Self::LookAtFeeds { .. }
            | Self::Notice(_)
            | Self::Rejoin(_) => Ok(()),
            Self::Stop(stop) => write!(to, " {}", stop.name()),
        }
    }
}

impl Output {
    /// Every word for an output, in the order that they are told in.
    const WORDS: [&str; 5] = ["accepted", "rejected", "removed", "unsendable", "event"];

    fn word(&self) -> &'static str {
        match self {
            Self::Forward { .. } => Self::WORDS[0],
            Self::Reject { .. } => Self::WORDS[1],
            Self::Remove { .. } => Self::WORDS[2],
            Self::Unsendable { .. } => Self::WORDS[3],
            Self::Event { .. } => Self::WORDS[4],
        }
    }

    pub(super) fn event(partition: Partition, symbol: Arc<str>, event: &Event) -> Self {
        Self::Event { partition, kind: event.kind(), symbol, value: event.to_json() }
    }
}

/// What a round writes to the changelog, and after the commit to the store, for one partition.
#[derive(Debug, Clone)]
pub struct Writes {
    /// Which partition.
    pub partition: Partition,
    /// One row a symbol; `None` removes it.
    pub rows: Vec<(Arc<str>, Option<SymbolRow>)>,
    /// One row a class.
    pub classes: Vec<(Arc<str>, ClassRow)>,
    /// Always written, and last.
    pub checkpoint: CheckpointRow,
}

/// A committed round's part for one partition.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The writes, all partitions of the round.
    pub writes: Arc<Vec<Writes>>,
    /// Which of them.
    pub index: usize,
    /// The position the round was decided on.
    pub from: Offset,
    /// The position it stands for.
    pub to: Offset,
}

/// News for the log and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The committed offset was gone; the checkpoint stood in.
    ResumedFromCheckpoint {
        /// Which partition.
        partition: Partition,
        /// Where reading goes on.
        offset: Offset,
    },
    /// Records that staging no longer holds were never judged, and that was accepted.
    Lost {
        /// Which partition.
        partition: Partition,
        /// First offset lost.
        from: Offset,
        /// First offset still there.
        to: Offset,
    },
    /// The round was dropped and its input will be read again.
    RoundAborted {
        /// Why.
        reason: String,
    },
    /// The claim was refused; the assignment is dropped until the group gives another.
    ClaimRefused {
        /// Why.
        reason: String,
    },
    /// The partition's last round was judged with other settings.
    SettingsDiffer {
        /// Which partition.
        partition: Partition,
        /// Fingerprint in the checkpoint.
        found: u64,
    },
    /// The wall clock leapt; silences are noticed once two looks agree.
    ClockLeapt {
        /// Milliseconds, negative when it went back.
        by_ms: i64,
    },
}

/// Why a worker stops for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// It was asked to, and everything is committed, applied and given up.
    Clean,
    /// It was asked to while it waited; the successor reads on from the committed offsets.
    Interrupted,
    /// State and input don't belong together.
    Refused(Refusal),
    /// The store can't be written or read.
    Store(String),
    /// Another process has joined the group under the worker's own static name.
    Replaced,
}

impl Stop {
    /// What the log calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Interrupted => "interrupted",
            Self::Refused(_) => "refused",
            Self::Store(_) => "store",
            Self::Replaced => "replaced",
        }
    }
}

/// Why a partition may not be processed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The checkpoint and the committed offset differ.
    #[error(
        "partition {partition}: expected the committed offset {committed} to equal the checkpoint's {}; \
         offsets were moved or the changelog is another's: `tickgate state reset` chooses one of them",
        .checkpoint.map_or("(none)".to_owned(), |offset| offset.to_string())
    )]
    CheckpointDiffers {
        /// Which partition.
        partition: Partition,
        /// The committed offset.
        committed: Offset,
        /// The checkpoint's next offset, if there is a checkpoint.
        checkpoint: Option<Offset>,
    },
    /// The offset lies beyond the log's end.
    #[error(
        "partition {partition}: expected to go on at offset {offset}, but staging ends at {log_end}; was the \
         topic re-created? `tickgate state reset` starts over"
    )]
    BeyondEnd {
        /// Which partition.
        partition: Partition,
        /// Where reading should go on.
        offset: Offset,
        /// Staging's high watermark.
        log_end: Offset,
    },
    /// The offset lies before the log's start.
    #[error(
        "partition {partition}: expected to go on at offset {offset}, but staging starts at {log_start}: {} \
         records are gone unjudged; `--accept-loss` goes on without them",
        log_start - offset
    )]
    BeforeStart {
        /// Which partition.
        partition: Partition,
        /// Where reading should go on.
        offset: Offset,
        /// Staging's first offset.
        log_start: Offset,
    },
    /// The committed offset is gone and the log is not the one that the checkpoint saw.
    #[error(
        "partition {partition}: no committed offset, and the record below the checkpoint's offset {offset} has \
         the Kafka time {}, expected {expected}: staging was re-created; `tickgate state reset` starts over",
        .found.map_or("(none)".to_owned(), |time| time.to_string())
    )]
    Recreated {
        /// Which partition.
        partition: Partition,
        /// The checkpoint's next offset.
        offset: Offset,
        /// Kafka time in the log, ms since 1970; none where no record can be read.
        found: Option<i64>,
        /// Kafka time in the checkpoint, ms since 1970.
        expected: i64,
    },
}
