//! The events of one partition of `bad_data`: `stale` and `recovered`, against each other.
//!
//! Uniqueness is per partition, as last-seen is: a symbol that a producer put into two partitions has two.

use std::collections::BTreeMap;
use std::fmt;

use super::message::{Message, shown};
use super::report::{Breach, BreachKind, Count, Findings, Topic, Unjudged};
use crate::model::{Event, EventTime, Freshness, Kind, Level, Offset, Partition};

/// What makes an event the one it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) symbol: String,
    pub(super) last_seen: EventTime,
    pub(super) level: Level,
}

impl fmt::Display for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Warn => "warn",
            Level::Error => "error",
        };
        write!(out, "(`{}`, {}, {level})", self.symbol, self.last_seen)
    }
}

/// A `stale` that was read.
#[derive(Debug)]
pub(super) struct Stale {
    pub(super) offset: Offset,
    recovered: Option<Offset>,
}

/// All events of one partition.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) stales: BTreeMap<Identity, Stale>,
    /// `recovered` without a `stale` before it: a breach only where none can have been retired.
    unmatched: Vec<(Offset, Identity)>,
}

impl Events {
    /// Takes in a `stale`.
    pub(super) fn stale(&mut self, partition: Partition, message: &Message<'_>, findings: &mut Findings) {
        findings.count(Count::Stale, 1);
        let Some((identity, said)) = read(Kind::Stale, partition, message, findings) else { return };
        if let Some(silence) = said.silence_ms
            && silence < said.threshold_ms
        {
            let found = format!("stale {identity} after a silence of {silence} ms");
            let expected = format!("a silence of its threshold, {} ms, or longer", said.threshold_ms);
            findings.breach(breach(BreachKind::FalseEvent, partition, message.offset, found, expected));
        }
        if let Some(first) = self.stales.get(&identity) {
            let found = format!("stale {identity} once more");
            let expected = format!("the one at offset {} alone", first.offset);
            findings.breach(breach(BreachKind::DuplicateEvent, partition, message.offset, found, expected));
            return;
        }
        self.stales.insert(identity, Stale { offset: message.offset, recovered: None });
    }

    /// Takes in a `recovered`.
    pub(super) fn recovered(&mut self, partition: Partition, message: &Message<'_>, findings: &mut Findings) {
        findings.count(Count::Recovered, 1);
        let Some((identity, _)) = read(Kind::Recovered, partition, message, findings) else { return };
        match self.stales.get_mut(&identity) {
            Some(Stale { recovered: Some(first), .. }) => {
                let found = format!("recovered {identity} once more");
                let expected = format!("the one at offset {first} alone");
                findings.breach(breach(
                    BreachKind::DuplicateEvent,
                    partition,
                    message.offset,
                    found,
                    expected,
                ));
            }
            Some(stale) => stale.recovered = Some(message.offset),
            None => self.unmatched.push((message.offset, identity)),
        }
    }

    /// Judges what only the end shows. `retired`: the topic's first records are gone.
    pub(super) fn judge_unmatched(&mut self, partition: Partition, retired: bool, findings: &mut Findings) {
        for (offset, identity) in self.unmatched.drain(..) {
            if retired {
                findings.skip(Unjudged::EventHistoryRetired, 1);
                continue;
            }
            let found = format!("recovered {identity}");
            let expected = "its stale before it, in this partition".to_owned();
            findings.breach(breach(BreachKind::UnmatchedRecovered, partition, offset, found, expected));
        }
    }
}

fn read(
    kind: Kind,
    partition: Partition,
    message: &Message<'_>,
    findings: &mut Findings,
) -> Option<(Identity, Freshness)> {
    let problem = match Event::from_json(kind, message.value.unwrap_or_default()) {
        Some(Ok(Event::Stale(said) | Event::Recovered(said))) => {
            let identity =
                Identity { symbol: said.symbol.clone(), last_seen: said.last_seen, level: said.level };
            return Some((identity, said));
        }
        Some(Err(error)) => error.to_string(),
        None => "no event has this kind".to_owned(),
    };
    let found = format!("{} with {}: {problem}", kind.name(), shown(message.value));
    let expected = "the JSON of an event".to_owned();
    findings.breach(breach(BreachKind::UnreadableEvent, partition, message.offset, found, expected));
    None
}

fn breach(kind: BreachKind, partition: Partition, offset: Offset, found: String, expected: String) -> Breach {
    Breach { kind, topic: Topic::BadData, partition, offset: Some(offset), input: None, found, expected }
}
