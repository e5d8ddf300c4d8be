//! The events of one partition of `bad_data`: `stale` and `recovered`, against each other.
//!
//! Uniqueness is per partition, as last-seen is: a symbol that a producer put into two partitions has two. A removal ends
//! what is known of a symbol: should it come to the same last-seen again, that is another silence.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::message::{Message, shown};
use super::report::{Breach, BreachKind, Count, Findings, Topic, Unjudged};
use crate::model::{Event, EventTime, Freshness, Kind, Level, Offset, Partition};

/// What makes a silence the one it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) symbol: String,
    pub(super) last_seen: EventTime,
}

impl fmt::Display for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "(`{}`, {})", self.symbol, self.last_seen)
    }
}

/// How a level is written.
pub(super) fn shown_level(level: Level) -> &'static str {
    match level {
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

/// A `stale` that was read.
#[derive(Debug)]
pub(super) struct Stale {
    pub(super) offset: Offset,
    pub(super) said: Freshness,
}

/// What was told of one silence.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// At most one of each level.
    pub(super) stales: BTreeMap<Level, Stale>,
    recovered: Option<Offset>,
    /// How many removals of the symbol came before.
    removals: u32,
}

/// All events of one partition.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// More than one where removals came between them.
    pub(super) silences: BTreeMap<Identity, Vec<Silence>>,
    /// Removals so far, by symbol.
    removals: HashMap<String, u32>,
    /// `recovered` without a `stale` before it: a breach only where none can have been retired.
    unmatched: Vec<(Offset, Identity)>,
}

impl Events {
    /// The `stale` of a silence and level, if it was told.
    pub(super) fn is_told(&self, identity: &Identity, level: Level) -> bool {
        let silences = self.silences.get(identity);
        silences.is_some_and(|all| all.iter().any(|silence| silence.stales.contains_key(&level)))
    }

    /// Takes in the removal of a symbol.
    pub(super) fn removed(&mut self, key: Option<&[u8]>) {
        if let Some(symbol) = key.and_then(|key| std::str::from_utf8(key).ok()) {
            *self.removals.entry(symbol.to_owned()).or_default() += 1;
        }
    }

    fn removals_of(&self, symbol: &str) -> u32 {
        self.removals.get(symbol).copied().unwrap_or(0)
    }

    /// Takes in a `stale`.
    pub(super) fn stale(&mut self, partition: Partition, message: &Message<'_>, findings: &mut Findings) {
        findings.count(Count::Stale, 1);
        let Some((identity, said)) = read(Kind::Stale, partition, message, findings) else { return };
        let (offset, level) = (message.offset, said.level);
        let shown = shown_level(level);
        if let (Some(silence_ms), Some(threshold_ms)) = (said.silence_ms, said.threshold_ms)
            && silence_ms <= threshold_ms
        {
            let found = format!("stale {identity}, {shown}, after a silence of {silence_ms} ms");
            let expected = format!("a silence longer than its threshold, {threshold_ms} ms");
            findings.breach(breach(BreachKind::FalseEvent, partition, offset, found, expected));
        }
        let removals = self.removals_of(&identity.symbol);
        let silences = self.silences.entry(identity.clone()).or_default();
        if silences.last().is_none_or(|silence| silence.removals != removals) {
            silences.push(Silence { removals, ..Silence::default() });
        }
        let Some(silence) = silences.last_mut() else { return };
        if let Some(first) = silence.stales.get(&level) {
            let found = format!("stale {identity}, {shown}, once more");
            let expected = format!("the one at offset {} alone", first.offset);
            findings.breach(breach(BreachKind::DuplicateEvent, partition, offset, found, expected));
            return;
        }
        if let Some((higher, first)) = silence.stales.range(level..).next() {
            let found = format!("stale {identity}, {shown}, after its {}", shown_level(*higher));
            let expected = format!("no lower level after offset {}", first.offset);
            findings.breach(breach(BreachKind::WrongLevel, partition, offset, found, expected));
        }
        silence.stales.insert(level, Stale { offset, said });
    }

    /// Takes in a `recovered`.
    pub(super) fn recovered(&mut self, partition: Partition, message: &Message<'_>, findings: &mut Findings) {
        findings.count(Count::Recovered, 1);
        let Some((identity, said)) = read(Kind::Recovered, partition, message, findings) else { return };
        let offset = message.offset;
        let removals = self.removals_of(&identity.symbol);
        let silence = self.silences.get_mut(&identity).and_then(|all| all.last_mut());
        let Some(silence) = silence.filter(|silence| silence.removals == removals) else {
            self.unmatched.push((offset, identity));
            return;
        };
        if let Some(first) = silence.recovered {
            let found = format!("recovered {identity} once more");
            let expected = format!("the one at offset {first} alone");
            findings.breach(breach(BreachKind::DuplicateEvent, partition, offset, found, expected));
            return;
        }
        silence.recovered = Some(offset);
        if let Some((highest, _)) = silence.stales.last_key_value()
            && *highest != said.level
        {
            let found = format!("recovered {identity}, {}", shown_level(said.level));
            let expected = format!("{}, the highest level that was reported", shown_level(*highest));
            findings.breach(breach(BreachKind::WrongLevel, partition, offset, found, expected));
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
            let identity = Identity { symbol: said.symbol.clone(), last_seen: said.last_seen };
            return Some((identity, said));
        }
        Some(Err(error)) => error.to_string(),
        _ => "no event of a symbol has this kind".to_owned(),
    };
    let found = format!("{} with {}: {problem}", kind.name(), shown(message.value));
    let expected = "the JSON of an event".to_owned();
    findings.breach(breach(BreachKind::UnreadableEvent, partition, message.offset, found, expected));
    None
}

fn breach(kind: BreachKind, partition: Partition, offset: Offset, found: String, expected: String) -> Breach {
    Breach { kind, topic: Topic::BadData, partition, offset: Some(offset), input: None, found, expected }
}
