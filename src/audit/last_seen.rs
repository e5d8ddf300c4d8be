//! Each symbol's last-seen, computed from the inputs, against the changelog's rows and the events.

use std::collections::{BTreeMap, HashSet};

use super::event::{Events, Identity};
use super::expected::{Calls, Inputs, NameId, Seen};
use super::report::{Breach, BreachKind, Count, Findings, Topic, Unjudged};
use super::rows::{Rows, SymbolSeen};
use crate::model::{EventTime, Level, Offset, Partition};

/// What of a partition's history is there to compute from.
#[derive(Debug, Clone, Copy)]
pub(super) struct History {
    pub(super) partition: Partition,
    /// The inputs that the rows stand for, exclusive.
    pub(super) until: Offset,
    /// Staging is retained from its very first record.
    pub(super) complete: bool,
    /// Events below this offset of `bad_data` belong to inputs below `until`.
    pub(super) events_until: Offset,
    /// The first records of `bad_data` are gone.
    pub(super) events_retired: bool,
}

/// A symbol's last-seen as the inputs have it.
#[derive(Debug, Clone, Copy)]
struct Computed {
    last_seen: Option<EventTime>,
    /// All that counts is among the inputs; else it is only a lower bound.
    exact: bool,
}

/// Compares rows and events with the inputs.
pub(super) fn judge(
    history: History,
    inputs: &Inputs,
    rows: &Rows,
    events: &Events,
    findings: &mut Findings,
) {
    let claimed: HashSet<(NameId, EventTime)> = events
        .stales
        .keys()
        .filter_map(|event| Some((inputs.known(&event.symbol)?, event.last_seen)))
        .collect();
    let (computed, had) = compute(history, inputs, &claimed);
    for (&symbol, &computed) in &computed {
        let symbol = inputs.name(symbol);
        compare(history, symbol, computed, rows.symbols.get(symbol), findings);
    }
    for (symbol, row) in &rows.symbols {
        let computed_too = inputs.known(symbol).is_some_and(|id| computed.contains_key(&id));
        if !computed_too && row.last_seen.is_some() {
            let nothing = Computed { last_seen: None, exact: history.complete };
            compare(history, symbol, nothing, Some(row), findings);
        }
        judge_reported(history, symbol, *row, events, findings);
    }
    for (event, stale) in &events.stales {
        let symbol = inputs.known(&event.symbol);
        let was_seen = symbol.is_some_and(|symbol| had.contains(&(symbol, event.last_seen)));
        // A watch-listed symbol's first silence counts from its listing.
        let listed_at = rows.symbols.get(&event.symbol).and_then(|row| row.listed_at);
        if was_seen || listed_at == Some(event.last_seen.0) {
            continue;
        }
        if !history.complete {
            findings.skip(Unjudged::EventHistoryRetired, 1);
        } else if stale.offset >= history.events_until {
            findings.skip(Unjudged::EventsBeyondCut, 1);
        } else {
            findings.breach(Breach {
                kind: BreachKind::FalseEvent,
                topic: Topic::BadData,
                partition: history.partition,
                offset: Some(stale.offset),
                input: None,
                found: format!("stale {event}"),
                expected: "a last-seen that the symbol's accepted inputs came to".to_owned(),
            });
        }
    }
}

/// Each symbol's last-seen, and which of the `claimed` last-seens there were on the way.
fn compute(
    history: History,
    inputs: &Inputs,
    claimed: &HashSet<(NameId, EventTime)>,
) -> (BTreeMap<NameId, Computed>, HashSet<(NameId, EventTime)>) {
    let mut computed: BTreeMap<NameId, Computed> = BTreeMap::new();
    let mut had = HashSet::new();
    for input in inputs.iter().take_while(|input| input.offset < history.until) {
        match input.calls {
            // What Kafka refused changes nothing, a removal neither.
            _ if matches!(input.seen, Seen::Unsendable { .. }) => {}
            Calls::Accepted { symbol, event_time, .. } => {
                let event_time = EventTime(event_time);
                let state =
                    computed.entry(symbol).or_insert(Computed { last_seen: None, exact: history.complete });
                if state.last_seen.is_none_or(|last_seen| event_time > last_seen) {
                    state.last_seen = Some(event_time);
                    if claimed.contains(&(symbol, event_time)) {
                        had.insert((symbol, event_time));
                    }
                }
            }
            Calls::Removed { symbol } => {
                computed.insert(symbol, Computed { last_seen: None, exact: true });
            }
            Calls::Rejected { .. } => {}
        }
    }
    (computed, had)
}

fn compare(
    history: History,
    symbol: &str,
    computed: Computed,
    row: Option<&SymbolSeen>,
    findings: &mut Findings,
) {
    let found = row.and_then(|row| row.last_seen).map(EventTime);
    if found == computed.last_seen {
        findings.count(Count::SymbolsCompared, 1);
        return;
    }
    // What retention took may have been later than all that is left, never earlier.
    if !computed.exact && found > computed.last_seen {
        findings.skip(Unjudged::HistoryRetired, 1);
        return;
    }
    findings.count(Count::SymbolsCompared, 1);
    let shown = |time: Option<EventTime>| time.map_or("none".to_owned(), |time| time.to_string());
    findings.breach(Breach {
        kind: BreachKind::WrongLastSeen,
        topic: Topic::Changelog,
        partition: history.partition,
        offset: row.map(|row| row.offset),
        input: None,
        found: format!("last-seen of `{symbol}` {}", shown(found)),
        expected: format!("{}, from the inputs below {}", shown(computed.last_seen), history.until),
    });
}

/// What a row calls reported must have its event.
fn judge_reported(history: History, symbol: &str, row: SymbolSeen, events: &Events, findings: &mut Findings) {
    let Some(reported) = row.reported else { return };
    // A silence that counts from the listing has no last-seen to find its event by.
    if row.last_seen != Some(reported.silence_from) {
        return;
    }
    let last_seen = EventTime(reported.silence_from);
    for (level, is_reported) in [(Level::Warn, reported.warn), (Level::Error, reported.error)] {
        let identity = Identity { symbol: symbol.to_owned(), last_seen, level };
        if !is_reported || events.stales.contains_key(&identity) {
            continue;
        }
        if history.events_retired {
            findings.skip(Unjudged::EventHistoryRetired, 1);
            continue;
        }
        findings.breach(Breach {
            kind: BreachKind::LostEvent,
            topic: Topic::Changelog,
            partition: history.partition,
            offset: Some(row.offset),
            input: None,
            found: format!("a row that calls {identity} reported"),
            expected: "its stale in this partition of bad_data".to_owned(),
        });
    }
}
