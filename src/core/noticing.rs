//! Silences that the clock notices, on idle input too.
//!
//! The task's clock stands at the wall time of a look at the partition's end, once everything below that end
//! is committed: a backlog, a stall or an open upstream transaction never makes a silence.

use super::deadlines::{First, Span};
use super::effect::{Effect, Notice, Output};
use super::freshness;
use super::input::{End, Generation, NamedRow, Now};
use super::processor::{LOOK_AGAIN_MS, Processor};
use super::task::Task;
use crate::model::{Partition, WallTime};

/// Rows that the store was asked for.
#[derive(Debug)]
pub(super) struct Looking {
    spans: Vec<Span>,
    why: Why,
}

#[derive(Debug)]
enum Why {
    /// Nobody has looked through them; so many rows have been read since the last tick.
    Unknown { rows: usize },
    /// Some may be due: what was due by then, when each partition's end was looked at, and the classes that were silent.
    Due { until: i64, covered: Vec<(Partition, WallTime)>, silent_feeds: Vec<Box<str>> },
}

/// A page and what is in it.
type PageRows<'a> = (Partition, First, &'a [NamedRow]);

impl Processor {
    /// Lists and looks through what nobody has yet, or asks for the ends of the partitions that may have something due.
    pub(super) fn look(&mut self, generation: Generation, now: Now) {
        self.generation = generation;
        if self.list() || self.scan_unknown(0) || self.look_at_feeds(now) {
            return;
        }
        self.look_not_before_ms = now.monotonic_ms + LOOK_AGAIN_MS;
        let partitions = self.deadlines.due_partitions(now.wall.0 - self.settings.grace_ms);
        let looks = partitions.iter().filter_map(|p| Some((*p, self.tasks.get(p)?.committed))).collect();
        self.effects.push_back(Effect::LookAtEnds(looks));
    }

    /// Asks for rows of a page that nobody has looked through, if there is one and the turn is not over.
    fn scan_unknown(&mut self, rows: usize) -> bool {
        let span = self.deadlines.unknown().filter(|_| rows < self.settings.scan_rows_max);
        let scans = span.is_some();
        if let Some(span) = span {
            self.scan(vec![span], Why::Unknown { rows });
        }
        scans
    }

    fn scan(&mut self, spans: Vec<Span>, why: Why) {
        let limit = self.settings.scan_rows_max;
        self.effects.push_back(Effect::Scan { spans: spans.clone(), limit });
        self.looking = Some(Looking { spans, why });
    }

    /// Whether the wall clock has leapt since the last look: then nothing is noticed by it until two looks agree, and
    /// times of earlier looks mean nothing.
    pub(super) fn has_leapt(&mut self, now: Now) -> bool {
        let Some(by_ms) = self.clock.leap(now) else { return false };
        self.notice(Notice::ClockLeapt { by_ms });
        self.tasks.values_mut().for_each(Task::forget_end);
        self.feeds.distrust();
        true
    }

    pub(super) fn ends_seen(&mut self, ends: &[End], silent_feeds: Vec<Box<str>>, now: Now) {
        if self.has_leapt(now) {
            return;
        }
        let mut covered: Vec<(Partition, WallTime)> = Vec::with_capacity(ends.len());
        for end in ends {
            let task = self.tasks.get_mut(&end.partition);
            covered.extend(task.and_then(|task| task.clock(end)).map(|at| (end.partition, at)));
        }
        let until = now.wall.0 - self.settings.grace_ms;
        let partitions: Vec<Partition> = covered.iter().map(|(partition, _)| *partition).collect();
        let spans = self.deadlines.due_pages(until, &partitions, self.settings.scan_rows_max);
        if !spans.is_empty() {
            self.scan(spans, Why::Due { until, covered, silent_feeds });
        }
    }

    /// The store's answer: pages are put where their rows belong in time, and what is silent is reported.
    pub(super) fn scanned(&mut self, answer: &[Vec<NamedRow>], now: Now) {
        let Some(Looking { spans, why }) = self.looking.take() else { return };
        assert_eq!(spans.len(), answer.len(), "a scan answers every span asked");
        let (limit, classes) = (self.settings.scan_rows_max, &self.settings.classes);
        let mut pages = Vec::with_capacity(spans.len());
        for (span, rows) in spans.iter().zip(answer) {
            let cut = self.deadlines.scanned(span, rows, limit, classes);
            pages.extend(cut.into_iter().map(|(page, range)| (span.partition, page, &rows[range])));
        }
        match why {
            Why::Unknown { rows } => {
                let read: usize = answer.iter().map(Vec::len).sum();
                // At least one, so that many small partitions end the turn too.
                self.scan_unknown(rows + read.max(1));
            }
            Why::Due { until, covered, silent_feeds } => {
                self.report(&pages, until, &covered, &silent_feeds, now);
            }
        }
    }

    /// Reports what was due by `until` and is silent, in a round of its own.
    fn report(
        &mut self,
        pages: &[PageRows<'_>],
        until: i64,
        covered: &[(Partition, WallTime)],
        silent_feeds: &[Box<str>],
        now: Now,
    ) {
        let classes = self.settings.classes.clone();
        let (mut outputs, mut events) = (Vec::new(), Vec::new());
        let mut settles = Vec::new();
        for (partition, page, rows) in pages {
            let looked_at = covered.iter().find(|(of, _)| of == partition).map(|(_, at)| *at);
            let (Some(looked_at), Some(task)) = (looked_at, self.tasks.get_mut(partition)) else { continue };
            let reported = outputs.len();
            let mut next: Option<i64> = None;
            for (symbol, row) in *rows {
                let class = classes.class_of(symbol);
                let overdue = freshness::overdue(row, symbol, class, until, looked_at, &mut events);
                let at = freshness::deadline(overdue.as_ref().unwrap_or(row), class);
                next = at.into_iter().chain(next).min();
                let Some(after) = overdue else { continue };
                let slot = task.slot_id(symbol, &classes);
                task.learn(slot, Some(row.clone()));
                task.set(slot, Some(after));
                let feed_silent = silent_feeds.iter().any(|name| **name == *class.name);
                for event in events.drain(..) {
                    let event = event.within_silent_feed(feed_silent);
                    outputs.push(Output::event(*partition, task.symbol(slot).clone(), &event));
                }
            }
            if outputs.len() > reported {
                settles.push((*partition, page.clone(), next));
            }
        }
        if outputs.is_empty() {
            return;
        }
        let generation = self.generation;
        let round = self.open_round(generation, now);
        round.partitions.extend(settles.iter().map(|(partition, _, _)| *partition));
        round.settles = settles;
        self.effects.push_back(Effect::Send(outputs));
        self.finish_round();
    }
}
