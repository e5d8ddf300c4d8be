//! What the gate must have come to, folded record by record in the order of arrival: as simple as the words
//! of the contract, and without any of the gate's code.

use std::collections::BTreeMap;
use std::sync::Arc;

use tickgate::model::{Offset, Partition};

use crate::journal::Truth;

/// What is known of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub last_seen: i64,
    pub cents: i64,
}

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

#[derive(Debug, Default)]
struct Part {
    /// Everything below has been folded.
    next: Offset,
    /// By symbol: what holds from which next offset on.
    history: BTreeMap<Arc<str>, Vec<(Offset, Option<Seen>)>>,
    spans: BTreeMap<Arc<str>, Vec<Span>>,
}

#[derive(Debug, Default)]
pub struct Reference {
    parts: BTreeMap<Partition, Part>,
}

impl Reference {
    /// The offset below which everything has been folded.
    pub fn next(&self, partition: Partition) -> Offset {
        self.parts.get(&partition).map_or(0, |part| part.next)
    }

    pub fn fold(&mut self, partition: Partition, at: Offset, truth: &Truth) {
        let part = self.parts.entry(partition).or_default();
        part.next = at + 1;
        let (symbol, seen) = match truth {
            Truth::Quote { symbol, time, cents } => {
                let before = part.history.get(symbol).and_then(|history| history.last()?.1);
                if before.is_some_and(|before| *time < before.last_seen) {
                    return;
                }
                (symbol, Some(Seen { last_seen: *time, cents: *cents }))
            }
            Truth::Tombstone { symbol } => (symbol, None),
            Truth::Bad | Truth::Unsendable => return,
        };
        let spans = part.spans.entry(symbol.clone()).or_default();
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
        part.history.entry(symbol.clone()).or_default().push((at + 1, seen));
    }

    /// What was known of a symbol when `next` was the next offset.
    pub fn seen(&self, partition: Partition, symbol: &str, next: Offset) -> Option<Seen> {
        let history = self.parts.get(&partition)?.history.get(symbol)?;
        let at = history.partition_point(|(from, _)| *from <= next);
        history[..at].last()?.1
    }

    /// Every symbol that was known when `next` was the next offset.
    pub fn all_seen(&self, partition: Partition, next: Offset) -> BTreeMap<Arc<str>, Seen> {
        let Some(part) = self.parts.get(&partition) else { return BTreeMap::new() };
        part.history
            .keys()
            .filter_map(|symbol| Some((symbol.clone(), self.seen(partition, symbol, next)?)))
            .collect()
    }

    pub fn spans(&self) -> impl Iterator<Item = (Partition, &Arc<str>, &[Span])> {
        self.parts.iter().flat_map(|(partition, part)| {
            part.spans.iter().map(|(symbol, spans)| (*partition, symbol, spans.as_slice()))
        })
    }
}
