//! What an audit found: counts, breaches and what could not be judged; as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::model::{Offset, Partition};

/// One of the four topics, or of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // they are the topics' own names
pub enum Topic {
    Staging,
    StockData,
    BadData,
    Changelog,
    /// The table `stock`; partition and input of a breach are its row's source.
    StockTable,
    /// The table `latest`.
    LatestTable,
}

/// What topics and tables are called here.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // they are the topics' own names
pub struct TopicNames {
    pub staging: String,
    pub stock_data: String,
    pub bad_data: String,
    pub changelog: String,
    pub stock_table: String,
    pub latest_table: String,
}

impl TopicNames {
    /// The name of one of them.
    pub fn name(&self, topic: Topic) -> &str {
        match topic {
            Topic::Staging => &self.staging,
            Topic::StockData => &self.stock_data,
            Topic::BadData => &self.bad_data,
            Topic::Changelog => &self.changelog,
            Topic::StockTable => &self.stock_table,
            Topic::LatestTable => &self.latest_table,
        }
    }
}

/// What cannot be in a whole system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreachKind {
    /// An input within the cut has no output.
    LostOutput,
    /// An input has more than one output.
    DoubledOutput,
    /// The output is in the other topic, or of another kind, than judging the input again calls for.
    Misrouted,
    /// The output is not in its input's partition.
    WrongPartition,
    /// The output stands for an input before that of an earlier output.
    OutOfOrder,
    /// The key is not the input's.
    AlteredKey,
    /// The value is not the input's.
    AlteredValue,
    /// The input's headers do not come first, unaltered, or ours after them are not what they should be.
    AlteredHeaders,
    /// The record time is not the input's.
    AlteredTime,
    /// The rejection differs from judging the input again.
    WrongRejection,
    /// The suspect rules differ from judging the input again.
    WrongSuspect,
    /// The output does not say which input it stands for.
    NoSource,
    /// The output stands for an offset at which staging has no record.
    NoSuchInput,
    /// The output stands for an input that the group has not committed.
    AheadOfCommit,
    /// A record of `bad_data` is of no known kind.
    UnknownKind,
    /// An event cannot be read.
    UnreadableEvent,
    /// An event is there twice.
    DuplicateEvent,
    /// A `stale` names a last-seen that the symbol never had, or a silence below its own threshold.
    FalseEvent,
    /// A `recovered` without its `stale` before it.
    UnmatchedRecovered,
    /// A silence that the changelog calls reported has no event.
    LostEvent,
    /// A lower level was reported after a higher one, or `recovered` names another than the highest.
    WrongLevel,
    /// A record of the changelog cannot be read.
    UnreadableRow,
    /// A symbol's row differs from what its inputs come to.
    WrongLastSeen,
    /// The checkpoint row does not stand where the group's committed offset does.
    WrongCheckpoint,
    /// The committed offset lies beyond the end of staging.
    CutBeyondEnd,
    /// A record that the sink has committed has neither a row nor a dead letter.
    LostRow,
    /// A record has more than one row.
    DoubledRow,
    /// A row stands for no record.
    StrayRow,
    /// A row, or its write time, is not its record's.
    AlteredRow,
    /// A symbol's row of `latest` is not its newest record's.
    WrongLatest,
}

/// Why something could not be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unjudged {
    /// Inputs of partitions for which the group has committed nothing.
    InputsWithoutCut,
    /// Outputs of partitions for which the group has committed nothing.
    OutputsWithoutCut,
    /// Outputs whose input is at or beyond the cut.
    OutputsBeyondCut,
    /// Outputs whose input retention has taken.
    OutputsWithoutInput,
    /// Inputs whose output, if there was one, retention has taken.
    OutputRetired,
    /// Outputs made once more after a reset raised the epoch.
    RemadeAfterReset,
    /// Bytes of outputs that were unsendable.
    UnsendableBytes,
    /// Rejections with the right rules in other words.
    RejectionWording,
    /// Outputs whose suspect marks depend on a history that is not all there.
    SuspectByState,
    /// Rows whose history retention has taken in part.
    HistoryRetired,
    /// Rows of partitions that have been reset.
    RowsAfterReset,
    /// Rows of partitions without a checkpoint row.
    RowsWithoutCheckpoint,
    /// Events whose inputs or counterparts retention has taken.
    EventHistoryRetired,
    /// Events that may belong to inputs beyond those read.
    EventsBeyondCut,
    /// `stale` events whose class, calendar or threshold is not the one of these settings.
    EventsOfOtherSettings,
    /// `stale` events of symbols that had never been seen, whose listing has been removed since.
    ListingsRemoved,
    /// Silences that these settings would have reported and no event tells of: they may have been others then.
    UnreportedSilences,
    /// Partitions whose last round was decided with other settings than these: verdicts may differ for that.
    OtherSettings,
    /// Partitions whose committed offset never settled while the group ran.
    CommitNeverSettled,
    /// Records that the sink has not committed, and latest quotes that may be theirs.
    RowsBeyondCut,
    /// Rows of records beyond those read.
    RowsBeyondRead,
    /// Rows whose record retention has taken.
    RowsRetired,
    /// Rows that are gone, and may have outlived `sink.ttl`.
    RowsExpired,
}

/// What is counted besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// Partitions of staging.
    Partitions,
    /// Inputs within the cut.
    Inputs,
    /// Outputs whose suspect marks were compared with their symbol's history.
    MarksCompared,
    /// Of these, accepted when judged again.
    Accepted,
    /// Of these, rejected.
    Rejected,
    /// Of these, removals.
    Removed,
    /// Inputs whose one output says that they could not be sent.
    Unsendable,
    /// Records read from `stock_data`.
    StockData,
    /// Records read from `bad_data`.
    BadData,
    /// Records read from the changelog.
    Changelog,
    /// `stale` events.
    Stale,
    /// `recovered` events.
    Recovered,
    /// `stale` events whose length was computed again from the inputs or the clock, and the calendar.
    SilencesCompared,
    /// `feed_silent` events.
    FeedSilent,
    /// `feed_recovered` events.
    FeedRecovered,
    /// Rows of classes whose last accepted quote was found among the inputs.
    ClassesCompared,
    /// What ingest could not read as a trade.
    NotATrade,
    /// Symbols whose row was compared with their inputs.
    SymbolsCompared,
    /// Checkpoint rows that were compared with the committed offset.
    CheckpointsCompared,
    /// Records of `stock_data` that the sink has committed.
    Loaded,
    /// Records of `stock_data` that are dead letters.
    DeadLetters,
    /// Rows of `stock`.
    Rows,
    /// Rows of `latest`.
    LatestRows,
}

/// One breach: where, what was found, what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// What is wrong.
    pub kind: BreachKind,
    /// The topic of the offending record, or staging when it is missing.
    pub topic: Topic,
    /// Its partition.
    pub partition: Partition,
    /// Its offset, where there is one.
    pub offset: Option<Offset>,
    /// The offset of the input it stands for, where there is one.
    pub input: Option<Offset>,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

/// What one partition, or all of them together, came to.
#[derive(Debug, Clone)]
pub struct Findings {
    shown_max: usize,
    counts: BTreeMap<Count, u64>,
    unjudged: BTreeMap<Unjudged, u64>,
    breaches: BTreeMap<BreachKind, u64>,
    offenders: Vec<Breach>,
}

impl Findings {
    /// Nothing found yet; keeps at most `shown_max` breaches whole and counts the others.
    pub fn new(shown_max: usize) -> Self {
        Self {
            shown_max,
            counts: BTreeMap::new(),
            unjudged: BTreeMap::new(),
            breaches: BTreeMap::new(),
            offenders: Vec::new(),
        }
    }

    /// Whether no breach was found.
    pub fn is_whole(&self) -> bool {
        self.breaches.is_empty()
    }

    /// How many of `what` there were.
    pub fn counted(&self, what: Count) -> u64 {
        self.counts.get(&what).copied().unwrap_or(0)
    }

    /// How many could not be judged for this reason.
    pub fn unjudged(&self, why: Unjudged) -> u64 {
        self.unjudged.get(&why).copied().unwrap_or(0)
    }

    /// How many breaches of one kind there were.
    pub fn breaches(&self, kind: BreachKind) -> u64 {
        self.breaches.get(&kind).copied().unwrap_or(0)
    }

    /// The first breaches.
    pub fn offenders(&self) -> &[Breach] {
        &self.offenders
    }

    /// Counts `number` more of `what`.
    pub fn count(&mut self, what: Count, number: u64) {
        *self.counts.entry(what).or_default() += number;
    }

    /// Counts `number` more that cannot be judged.
    pub fn skip(&mut self, why: Unjudged, number: u64) {
        if number > 0 {
            *self.unjudged.entry(why).or_default() += number;
        }
    }

    /// Adds a breach.
    pub fn breach(&mut self, breach: Breach) {
        *self.breaches.entry(breach.kind).or_default() += 1;
        if self.offenders.len() < self.shown_max {
            self.offenders.push(breach);
        }
    }

    /// Takes in what another partition came to. Partitions come in their order, so the first stay first.
    pub fn merge(&mut self, other: Self) {
        for (what, number) in other.counts {
            *self.counts.entry(what).or_default() += number;
        }
        for (why, number) in other.unjudged {
            *self.unjudged.entry(why).or_default() += number;
        }
        for (kind, number) in other.breaches {
            *self.breaches.entry(kind).or_default() += number;
        }
        let room = self.shown_max - self.offenders.len();
        self.offenders.extend(other.offenders.into_iter().take(room));
    }
}

/// A whole audit's result. `Display` is the table for people, [`Report::to_json`] the form for programs.
#[derive(Debug, Clone)]
pub struct Report {
    /// The group that was audited.
    pub group: String,
    /// What the topics are called.
    pub topics: TopicNames,
    /// What was found.
    pub findings: Findings,
}

impl Report {
    /// The report as one JSON object.
    pub fn to_json(&self) -> String {
        let offenders: Vec<_> = self
            .findings
            .offenders
            .iter()
            .map(|breach| {
                serde_json::json!({
                    "kind": breach.kind,
                    "topic": self.topics.name(breach.topic),
                    "partition": breach.partition,
                    "offset": breach.offset,
                    "input": breach.input,
                    "found": breach.found,
                    "expected": breach.expected,
                })
            })
            .collect();
        serde_json::json!({
            "whole": self.findings.is_whole(),
            "group": self.group,
            "counts": self.findings.counts,
            "unjudged": self.findings.unjudged,
            "breaches": self.findings.breaches,
            "offenders": offenders,
        })
        .to_string()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "audit of group `{}` over `{}`", self.group, self.topics.staging)?;
        section(out, "counted", &self.findings.counts)?;
        section(out, "not judged", &self.findings.unjudged)?;
        section(out, "breaches", &self.findings.breaches)?;
        for breach in &self.findings.offenders {
            write!(out, "{}: {}/{}", name(&breach.kind), self.topics.name(breach.topic), breach.partition)?;
            if let Some(offset) = breach.offset {
                write!(out, "@{offset}")?;
            }
            if let Some(input) = breach.input {
                write!(out, " (input {input})")?;
            }
            writeln!(out, "\n    found    {}\n    expected {}", breach.found, breach.expected)?;
        }
        let all: u64 = self.findings.breaches.values().sum();
        let shown = self.findings.offenders.len();
        if all > shown as u64 {
            writeln!(out, "{shown} of {all} breaches shown; --show N shows more")?;
        }
        let verdict = match (self.findings.is_whole(), self.findings.counts.contains_key(&Count::Loaded)) {
            (true, false) => "whole: every input has exactly one output",
            (true, true) => "whole: every input has exactly one output, and every loaded record its row",
            (false, _) => "NOT WHOLE",
        };
        write!(out, "{verdict}")
    }
}

fn section<K: Serialize>(out: &mut fmt::Formatter<'_>, title: &str, rows: &BTreeMap<K, u64>) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "{title}")?;
    for (row, number) in rows {
        writeln!(out, "    {:<24}{number:>14}", name(row))?;
    }
    Ok(())
}

/// The name that an enum's variant has in JSON.
fn name(variant: &impl Serialize) -> String {
    match serde_json::to_value(variant) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "unknown".to_owned(),
    }
}
