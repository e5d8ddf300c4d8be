//! What the gate must have come to, folded record by record in the order of arrival: as simple as the words
//! of the contract, and without any of the gate's code.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use tickgate::model::{Offset, Partition};

use crate::journal::Truth;

/// What is known of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_field_names)] // last-seen is the word
pub struct Seen {
    pub last_seen: i64,
    pub cents: i64,
    /// Since when that has been the price.
    pub since: i64,
}

/// More than half as much again, or less than two thirds, is a jump.
pub const JUMP_PERMILLE: i64 = 1_500;
/// A price that stands still for longer is suspect.
pub const REPEATED_AFTER_MS: i64 = 10_000;

/// A time during which a symbol's last-seen stood still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub last_seen: i64,
    pub end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Open,
    /// A quote with this event time followed.
    Moved(i64),
    /// A tombstone ended the watch.
    Removed,
}

/// A place in a partition's input: how often the input was reset, then the next offset.
pub type At = (u32, Offset);

/// From where on something holds, when the record was appended, and what holds.
type Since = (At, i64, Option<Seen>);

#[derive(Debug, Default)]
struct Part {
    epoch: u32,
    /// Everything below has been folded.
    next: Offset,
    /// Records that were deleted before anybody judged them, as somebody was told.
    lost: Vec<Range<Offset>>,
    history: BTreeMap<Arc<str>, Vec<Since>>,
    spans: BTreeMap<Arc<str>, Vec<Span>>,
    listed: BTreeMap<Arc<str>, i64>,
    removed: BTreeSet<Arc<str>>,
}

#[derive(Debug, Default)]
pub struct Reference {
    parts: BTreeMap<Partition, Part>,
    /// The symbol of each quote that was accepted, and when its record was appended.
    accepted: Vec<(Arc<str>, i64)>,
}

impl Reference {
    /// The offset below which everything has been folded.
    pub fn next(&self, partition: Partition) -> Offset {
        self.parts.get(&partition).map_or(0, |part| part.next)
    }

    /// How often the partition has been reset.
    pub fn epoch(&self, partition: Partition) -> u32 {
        self.parts.get(&partition).map_or(0, |part| part.epoch)
    }

    /// Each accepted quote, by its symbol and when its record was appended.
    pub fn accepted(&self) -> &[(Arc<str>, i64)] {
        &self.accepted
    }

    /// Whether a record may go without an output.
    pub fn is_lost(&self, partition: Partition, at: Offset) -> bool {
        self.parts.get(&partition).is_some_and(|part| part.lost.iter().any(|range| range.contains(&at)))
    }

    /// These records were deleted, and somebody was told that they will not be judged.
    pub fn lose(&mut self, partition: Partition, range: Range<Offset>) {
        self.parts.entry(partition).or_default().lost.push(range);
    }

    /// Somebody chose to go on here. What is known of symbols stays.
    pub fn reset(&mut self, partition: Partition, next: Offset) {
        let part = self.parts.entry(partition).or_default();
        part.epoch += 1;
        part.next = next;
        part.lost.clear();
    }

    /// `at_ms`: when the record was appended. What the records before it make suspect about it.
    pub fn fold(&mut self, partition: Partition, at: Offset, at_ms: i64, truth: &Truth) -> Vec<&'static str> {
        let part = self.parts.entry(partition).or_default();
        part.next = at + 1;
        let mut marks = Vec::new();
        let (symbol, seen) = match truth {
            Truth::Quote { symbol, time, cents } => {
                self.accepted.push((symbol.clone(), at_ms));
                let before = part.history.get(symbol).and_then(|history| history.last()?.2);
                marks = before.map(|before| suspicions(before, *time, *cents)).unwrap_or_default();
                if before.is_some_and(|before| *time < before.last_seen) {
                    return marks;
                }
                let since =
                    before.filter(|before| before.cents == *cents).map_or(*time, |before| before.since);
                (symbol, Some(Seen { last_seen: *time, cents: *cents, since }))
            }
            Truth::Tombstone { symbol } => {
                part.listed.remove(symbol);
                part.removed.insert(symbol.clone());
                (symbol, None)
            }
            Truth::Bad | Truth::Unsendable { .. } => return marks,
        };
        part.turn(symbol, seen);
        let since = ((part.epoch, at + 1), at_ms, seen);
        part.history.entry(symbol.clone()).or_default().push(since);
        marks
    }

    /// A symbol is watched from here on, if nothing was known of it.
    pub fn list(&mut self, partition: Partition, symbol: &Arc<str>, listed_at: i64) {
        let part = self.parts.entry(partition).or_default();
        part.listed.insert(symbol.clone(), listed_at);
        let spans = part.spans.entry(symbol.clone()).or_default();
        if spans.last().is_none_or(|span| span.end == End::Removed) {
            spans.push(Span { last_seen: listed_at, end: End::Open });
        }
    }

    /// When a symbol was listed last.
    pub fn last_listing(&self) -> i64 {
        self.parts.values().flat_map(|part| part.listed.values()).copied().max().unwrap_or(i64::MIN)
    }

    pub fn listed_at(&self, partition: Partition, symbol: &str) -> Option<i64> {
        self.parts.get(&partition)?.listed.get(symbol).copied()
    }

    /// Whether a tombstone of the symbol ever came.
    pub fn was_removed(&self, partition: Partition, symbol: &str) -> bool {
        self.parts.get(&partition).is_some_and(|part| part.removed.contains(symbol))
    }

    /// What was known of a symbol from the records appended before a moment.
    pub fn seen_before(&self, partition: Partition, symbol: &str, ms: i64) -> Option<Seen> {
        let history = self.parts.get(&partition)?.history.get(symbol)?;
        let at = history.partition_point(|(_, at_ms, _)| *at_ms < ms);
        history[..at].last()?.2
    }

    /// Every symbol that was known at a place in the input.
    pub fn all_seen(&self, partition: Partition, at: At) -> BTreeMap<Arc<str>, Seen> {
        let Some(part) = self.parts.get(&partition) else { return BTreeMap::new() };
        let seen = |history: &[Since]| {
            let end = history.partition_point(|(from, _, _)| *from <= at);
            history[..end].last()?.2
        };
        part.history.iter().filter_map(|(symbol, history)| Some((symbol.clone(), seen(history)?))).collect()
    }

    pub fn spans(&self) -> impl Iterator<Item = (Partition, &Arc<str>, &[Span])> {
        self.parts.iter().flat_map(|(partition, part)| {
            part.spans.iter().map(|(symbol, spans)| (*partition, symbol, spans.as_slice()))
        })
    }
}

fn suspicions(before: Seen, time: i64, cents: i64) -> Vec<&'static str> {
    let (low, high) = (before.cents.min(cents), before.cents.max(cents));
    let is_late = time < before.last_seen;
    let stands_still = !is_late && cents == before.cents && time - before.since > REPEATED_AFTER_MS;
    let all = [
        ("price_jump", high * 1_000 > low * JUMP_PERMILLE),
        ("late", is_late),
        ("repeated_price", stands_still),
    ];
    all.into_iter().filter(|(_, holds)| *holds).map(|(name, _)| name).collect()
}

impl Part {
    /// A symbol's last-seen moves, or its watch ends.
    fn turn(&mut self, symbol: &Arc<str>, seen: Option<Seen>) {
        let spans = self.spans.entry(symbol.clone()).or_default();
        let open = spans.last_mut().filter(|span| span.end == End::Open);
        match (open, seen) {
            (Some(span), Some(seen)) if span.last_seen == seen.last_seen => {}
            (Some(span), Some(seen)) => {
                span.end = End::Moved(seen.last_seen);
                spans.push(Span { last_seen: seen.last_seen, end: End::Open });
            }
            (None, Some(seen)) => spans.push(Span { last_seen: seen.last_seen, end: End::Open }),
            (Some(span), None) => span.end = End::Removed,
            (None, None) => {}
        }
    }
}
