//! One partition's check: what it is fed with, in which order, and what it comes to.

use std::sync::Arc;

use super::event::Events;
use super::expected::{Calls, Inputs, Seen};
use super::feed::Feeds;
use super::last_seen::{self, History};
use super::message::{Message, shown};
use super::output::{self, Faults, Found};
use super::report::{Breach, BreachKind, Count, Findings, Topic, Unjudged};
use super::rows::Rows;
use super::suspects;
use crate::core::Classes;
use crate::core::rules::{RuleSettings, Verdict};
use crate::model::{Kind, Offset, Partition, Source, headers};

/// What is known of a partition before anything is read.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The partition.
    pub partition: Partition,
    /// The group's committed offset: inputs below it are judged.
    pub cut: Offset,
    /// The offset after staging's last record.
    pub staging_end: Offset,
    /// Staging's name, as rejections cite it.
    pub staging: String,
    /// What inputs are judged again with.
    pub rules: RuleSettings,
    /// What silences are held to.
    pub classes: Arc<Classes>,
    /// Stands for these and all other settings that count.
    pub fingerprint: u64,
    /// How many breaches are kept whole.
    pub shown_max: usize,
}

/// What is known of a partition after everything was read.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// The first offset that `stock_data` retains.
    pub stock_data_start: Offset,
    /// The first offset that `bad_data` retains.
    pub bad_data_start: Offset,
    /// The group's committed offset once nothing of it was pending; `None` if that never was.
    pub committed: Option<Offset>,
}

/// The check of one partition. Feed it in this order: [`row`](Self::row)s, then
/// [`input`](Self::input)s below [`inputs_until`](Self::inputs_until), then
/// [`inputs_read`](Self::inputs_read), then outputs, then [`finish`](Self::finish).
#[derive(Debug)]
pub struct PartitionCheck {
    scope: Scope,
    staging_start: Offset,
    rows: Rows,
    inputs: Inputs,
    events: Events,
    feeds: Feeds,
    stock_data: Progress,
    bad_data: Progress,
    findings: Findings,
}

/// How far an output topic was read.
#[derive(Debug, Default)]
struct Progress {
    /// The input of its first output.
    first: Option<Offset>,
    /// The highest input of its outputs, with the output's offset.
    furthest: Option<(Offset, Offset)>,
    /// Epoch and input of the last output, for the order.
    last: Option<(u32, Offset)>,
    /// The last offset of an output for an input below the checkpoint.
    settled: Option<Offset>,
}

impl PartitionCheck {
    /// A check that has seen nothing yet.
    pub fn new(scope: Scope) -> Self {
        let mut findings = Findings::new(scope.shown_max);
        findings.count(Count::Partitions, 1);
        if scope.cut > scope.staging_end {
            findings.breach(Breach {
                kind: BreachKind::CutBeyondEnd,
                topic: Topic::Staging,
                partition: scope.partition,
                offset: None,
                input: None,
                found: format!("committed offset {}", scope.cut),
                expected: format!("at most the end of staging, {}", scope.staging_end),
            });
        }
        Self {
            scope,
            staging_start: 0,
            rows: Rows::default(),
            inputs: Inputs::default(),
            events: Events::default(),
            feeds: Feeds::default(),
            stock_data: Progress::default(),
            bad_data: Progress::default(),
            findings,
        }
    }

    /// Which partition it checks.
    pub fn partition(&self) -> Partition {
        self.scope.partition
    }

    /// Takes in the next record of the changelog.
    pub fn row(&mut self, message: &Message<'_>) {
        self.findings.count(Count::Changelog, 1);
        if let Err(error) = self.rows.push(message) {
            let found = format!("key {}: {error}", shown(message.key));
            let expected = "a row of the changelog".to_owned();
            self.breach(
                BreachKind::UnreadableRow,
                Topic::Changelog,
                Some(message.offset),
                None,
                found,
                expected,
            );
        }
    }

    /// Up to which offset, exclusive, the inputs are to be read, once the changelog has been.
    pub fn inputs_until(&self) -> Offset {
        let until = self.rows.next_offset().unwrap_or(0).max(self.scope.cut);
        until.min(self.scope.staging_end)
    }

    /// Makes room for about as many inputs, ahead of the first.
    pub fn expect_inputs(&mut self, number: usize) {
        self.inputs = Inputs::with_capacity(number);
    }

    /// Takes in the next input, below [`inputs_until`](Self::inputs_until), and what judging it came to.
    pub fn input(&mut self, message: &Message<'_>, verdict: &Verdict<'_>) {
        if message.offset < self.scope.cut {
            self.findings.count(Count::Inputs, 1);
            let kind = match verdict {
                Verdict::Accepted { .. } => Count::Accepted,
                Verdict::Rejected(_) => Count::Rejected,
                Verdict::Removed { .. } => Count::Removed,
            };
            self.findings.count(kind, 1);
        }
        let source = Source { partition: self.scope.partition, offset: message.offset };
        let staging = &self.scope.staging;
        self.inputs.push(message, verdict, |rejection| rejection.to_header(staging, source));
    }

    /// All inputs have been read; `staging_start` is the first offset retained after that.
    pub fn inputs_read(&mut self, staging_start: Offset) {
        self.staging_start = staging_start;
    }

    /// Takes in the next record of `stock_data`.
    pub fn stock_data(&mut self, message: &Message<'_>) {
        self.findings.count(Count::StockData, 1);
        self.output(message, Found::Accepted);
    }

    /// Takes in the next record of `bad_data`.
    pub fn bad_data(&mut self, message: &Message<'_>) {
        self.findings.count(Count::BadData, 1);
        let partition = self.scope.partition;
        let name = message.last(headers::KIND);
        let kind = name.and_then(|name| std::str::from_utf8(name).ok()).and_then(Kind::from_name);
        match kind {
            Some(Kind::Stale) => self.events.stale(partition, message, &mut self.findings),
            Some(Kind::Recovered) => self.events.recovered(partition, message, &mut self.findings),
            Some(Kind::FeedSilent) => self.feeds.silent(partition, message, &mut self.findings),
            Some(Kind::FeedRecovered) => self.feeds.recovered(partition, message, &mut self.findings),
            Some(Kind::NotATrade) => self.findings.count(Count::NotATrade, 1),
            Some(Kind::Rejected) => self.output(message, Found::Rejected),
            Some(Kind::Removed) => {
                self.events.removed(message.key);
                self.output(message, Found::Removed);
            }
            Some(Kind::Unsendable) => self.output(message, Found::Unsendable),
            None => {
                let found = format!("{} {}", headers::KIND, shown(name));
                let expected = "a kind that bad_data has";
                self.breach(
                    BreachKind::UnknownKind,
                    Topic::BadData,
                    Some(message.offset),
                    None,
                    found,
                    expected,
                );
            }
        }
    }

    /// Judges what only the end shows, and says what all came to.
    pub fn finish(mut self, ends: Ends) -> Findings {
        self.judge_checkpoint(ends);
        self.judge_lost(ends);
        self.judge_ahead(ends);
        suspects::judge(&self.scope, self.staging_start, &self.rows, &self.inputs, &mut self.findings);
        let events_retired = ends.bad_data_start > 0;
        self.events.judge_unmatched(self.scope.partition, events_retired, &mut self.findings);
        let rows = (self.rows.symbols.len() + self.rows.classes.len()) as u64;
        match &self.rows.checkpoint {
            None => self.findings.skip(Unjudged::RowsWithoutCheckpoint, rows),
            Some((_, row)) if row.epoch > 0 => self.findings.skip(Unjudged::RowsAfterReset, rows),
            Some((_, row)) => {
                let settled = ends.committed == Some(row.next_offset);
                let history = History {
                    partition: self.scope.partition,
                    until: row.next_offset,
                    complete: self.staging_start == 0,
                    events_until: if settled { Offset::MAX } else { self.bad_data.settled.unwrap_or(0) },
                    events_retired,
                };
                let (inputs, rows, events) = (&self.inputs, &self.rows, &self.events);
                last_seen::judge(history, inputs, rows, events, &self.scope.classes, &mut self.findings);
                self.feeds.judge(history, inputs, rows, &mut self.findings);
            }
        }
        self.findings
    }

    fn output(&mut self, message: &Message<'_>, found: Found) {
        let (topic, offset) = (found.topic(), Some(message.offset));
        let Some(source) = message.source() else {
            let found = format!("{} {}", headers::SRC, shown(message.last(headers::SRC)));
            self.breach(BreachKind::NoSource, topic, offset, None, found, "12 bytes: partition and offset");
            return;
        };
        let input = source.offset;
        if source.partition != self.scope.partition {
            let found = format!("an output for partition {}, offset {input}", source.partition);
            self.breach(
                BreachKind::WrongPartition,
                topic,
                offset,
                None,
                found,
                "it in its input's partition",
            );
            return;
        }
        let checkpoint = self.rows.next_offset();
        let progress = self.progress(topic);
        progress.reach(message.offset, input, checkpoint);
        let Some(expected) = self.inputs.find_mut(input) else {
            self.without_input(topic, message.offset, input);
            return;
        };
        let epoch = output::epoch(message, found, expected);
        let seen_before = expected.seen != Seen::Nothing;
        let mut faults = output::note(expected, message, found, epoch);
        if input >= self.scope.cut {
            self.findings.skip(Unjudged::OutputsBeyondCut, 1);
            return;
        }
        if let Some(last) = self.progress(topic).out_of_order(epoch, input)
            && !seen_before
        {
            let found = format!("an output after that for input {last}");
            faults.faults.push((BreachKind::OutOfOrder, found, "the order of the inputs".to_owned()));
        }
        if let Some(expected) = self.inputs.find(input) {
            let compared =
                output::compare(message, found, source, &self.scope.staging, expected, &self.inputs);
            faults.faults.extend(compared.faults);
            faults.unjudged.extend(compared.unjudged);
        }
        self.take_in(topic, message.offset, input, faults);
    }

    fn take_in(&mut self, topic: Topic, offset: Offset, input: Offset, faults: Faults) {
        for (kind, found, expected) in faults.faults {
            self.breach(kind, topic, Some(offset), Some(input), found, expected);
        }
        for why in faults.unjudged {
            self.findings.skip(why, 1);
        }
    }

    fn without_input(&mut self, topic: Topic, offset: Offset, input: Offset) {
        if input < self.staging_start {
            self.findings.skip(Unjudged::OutputsWithoutInput, 1);
        } else if input >= self.scope.cut {
            self.findings.skip(Unjudged::OutputsBeyondCut, 1);
        } else {
            let found = "an output for an offset at which staging has no record";
            self.breach(BreachKind::NoSuchInput, topic, Some(offset), Some(input), found, "an input");
        }
    }

    fn judge_checkpoint(&mut self, ends: Ends) {
        let cut = self.scope.cut;
        if ends.committed.is_none() {
            self.findings.skip(Unjudged::CommitNeverSettled, 1);
        }
        let fingerprint = self.rows.checkpoint.as_ref().map(|(_, row)| row.fingerprint);
        if fingerprint.is_some_and(|fingerprint| fingerprint != self.scope.fingerprint) {
            self.findings.skip(Unjudged::OtherSettings, 1);
        }
        let has_inputs = self.inputs.iter().next().is_some_and(|input| input.offset < cut);
        let (offset, found) = match &self.rows.checkpoint {
            None if !has_inputs => return,
            None => (None, "no checkpoint row".to_owned()),
            Some((offset, row)) => {
                self.findings.count(Count::CheckpointsCompared, 1);
                let reached = row.next_offset >= cut;
                if reached && ends.committed.is_none_or(|committed| row.next_offset <= committed) {
                    return;
                }
                (Some(*offset), format!("a checkpoint row that stands at {}", row.next_offset))
            }
        };
        let expected = match ends.committed {
            Some(committed) if committed != cut => format!("one from {cut} to {committed}, as committed"),
            _ => format!("one at {cut}, as committed"),
        };
        self.breach(BreachKind::WrongCheckpoint, Topic::Changelog, offset, None, found, expected);
    }

    fn judge_lost(&mut self, ends: Ends) {
        let Self { inputs, findings, scope, stock_data, bad_data, .. } = self;
        for input in inputs.iter().take_while(|input| input.offset < scope.cut) {
            match input.seen {
                Seen::Unsendable { .. } => findings.count(Count::Unsendable, 1),
                Seen::Output { .. } => {}
                Seen::Nothing => {
                    let (start, first, expected) = match input.calls {
                        Calls::Accepted { .. } => {
                            (ends.stock_data_start, stock_data.first, "one output, in stock_data".to_owned())
                        }
                        Calls::Rejected { rules, .. } => {
                            let expected =
                                format!("one output, rejected, in bad_data: {}", inputs.name(rules));
                            (ends.bad_data_start, bad_data.first, expected)
                        }
                        Calls::Removed { .. } => (
                            ends.bad_data_start,
                            bad_data.first,
                            "one output, removed, in bad_data".to_owned(),
                        ),
                    };
                    if start > 0 && first.is_none_or(|first| input.offset < first) {
                        findings.skip(Unjudged::OutputRetired, 1);
                        continue;
                    }
                    findings.breach(Breach {
                        kind: BreachKind::LostOutput,
                        topic: Topic::Staging,
                        partition: scope.partition,
                        offset: Some(input.offset),
                        input: Some(input.offset),
                        found: "no output".to_owned(),
                        expected,
                    });
                }
            }
        }
    }

    /// Outputs and the input's offset are committed as one: none may be visible without the other.
    fn judge_ahead(&mut self, ends: Ends) {
        let Some(committed) = ends.committed else { return };
        for topic in [Topic::StockData, Topic::BadData] {
            let furthest = self.progress(topic).furthest;
            if let Some((input, offset)) = furthest.filter(|(input, _)| *input >= committed) {
                let expected = format!("none at or beyond the committed offset {committed}");
                let found = "an output for an input that is not committed";
                self.breach(BreachKind::AheadOfCommit, topic, Some(offset), Some(input), found, expected);
            }
        }
    }

    fn progress(&mut self, topic: Topic) -> &mut Progress {
        match topic {
            Topic::StockData => &mut self.stock_data,
            _ => &mut self.bad_data,
        }
    }

    fn breach(
        &mut self,
        kind: BreachKind,
        topic: Topic,
        offset: Option<Offset>,
        input: Option<Offset>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        let (found, expected) = (found.into(), expected.into());
        self.findings.breach(Breach {
            kind,
            topic,
            partition: self.scope.partition,
            offset,
            input,
            found,
            expected,
        });
    }
}

impl Progress {
    /// Notes an output at `offset` for `input`.
    fn reach(&mut self, offset: Offset, input: Offset, checkpoint: Option<Offset>) {
        self.first.get_or_insert(input);
        if self.furthest.is_none_or(|(furthest, _)| input > furthest) {
            self.furthest = Some((input, offset));
        }
        if checkpoint.is_some_and(|checkpoint| input < checkpoint) {
            self.settled = Some(offset);
        }
    }

    /// The input that an earlier output stood for, if it should have come later than this one.
    fn out_of_order(&mut self, epoch: u32, input: Offset) -> Option<Offset> {
        match self.last {
            Some((last_epoch, last)) if (epoch, input) < (last_epoch, last) => Some(last),
            _ => {
                self.last = Some((epoch, input));
                None
            }
        }
    }
}
