//! Each symbol's last-seen, computed from the inputs, against the changelog's rows and the events.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::event::{Events, Identity, Stale, shown_level};
use super::expected::{Calls, Inputs, NameId, Seen};
use super::report::{Breach, BreachKind, Count, Findings, Topic, Unjudged};
use super::rows::{Rows, SymbolSeen};
use crate::core::Classes;
use crate::model::{EventTime, Level, NoticedBy, Offset, Partition};

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
    classes: &Classes,
    findings: &mut Findings,
) {
    let walked = walk(history, inputs, classes, events);
    findings.skip(Unjudged::UnreportedSilences, if history.events_retired { 0 } else { walked.unreported });
    for (&symbol, &computed) in &walked.computed {
        let symbol = inputs.name(symbol);
        compare(history, symbol, computed, rows.symbols.get(symbol), findings);
    }
    for (symbol, row) in &rows.symbols {
        let computed_too = inputs.known(symbol).is_some_and(|id| walked.computed.contains_key(&id));
        if !computed_too && row.last_seen.is_some() {
            let nothing = Computed { last_seen: None, exact: history.complete };
            compare(history, symbol, nothing, Some(row), findings);
        }
        judge_reported(history, symbol, *row, events, findings);
    }
    for (identity, silences) in &events.silences {
        let symbol = inputs.known(&identity.symbol);
        let next = symbol.and_then(|symbol| walked.had.get(&(symbol, identity.last_seen)));
        // A watch-listed symbol's first silence counts from its listing.
        let listed_at = rows.symbols.get(&identity.symbol).and_then(|row| row.listed_at);
        let is_listing = listed_at == Some(identity.last_seen.0);
        for stale in silences.iter().flat_map(|silence| silence.stales.values()) {
            match next {
                Some(next) if !stale.said.never_seen => {
                    judge_length(history, classes, stale, next, findings);
                }
                _ if stale.said.never_seen && is_listing => {
                    judge_length(history, classes, stale, &[], findings);
                }
                _ if stale.said.never_seen && symbol.is_some_and(|of| walked.removed.contains(&of)) => {
                    findings.skip(Unjudged::ListingsRemoved, 1);
                }
                _ => judge_unknown(history, identity, stale, findings),
            }
        }
    }
}

/// A `stale` with a last-seen that the inputs never came to.
fn judge_unknown(history: History, identity: &Identity, stale: &Stale, findings: &mut Findings) {
    if !history.complete {
        findings.skip(Unjudged::EventHistoryRetired, 1);
    } else if stale.offset >= history.events_until {
        findings.skip(Unjudged::EventsBeyondCut, 1);
    } else {
        let found = format!("stale {identity}, {}", shown_level(stale.said.level));
        let expected = "a last-seen that the symbol's accepted inputs came to".to_owned();
        findings.breach(false_event(history, stale, found, expected));
    }
}

/// How long the silence of a `stale` was, computed again: by the calendar, until the clock that noticed it or the
/// quote that followed, one of these where the symbol came to that last-seen several times.
fn judge_length(
    history: History,
    classes: &Classes,
    stale: &Stale,
    next: &[EventTime],
    findings: &mut Findings,
) {
    let said = &stale.said;
    let class = classes.class_of(&said.symbol);
    let is_of_these = said.class == *class.name
        && said.calendar == class.calendar.name()
        && said.threshold_ms == class.threshold_ms(said.level);
    if !is_of_these {
        findings.skip(Unjudged::EventsOfOtherSettings, 1);
        return;
    }
    let until = match said.noticed_by {
        NoticedBy::Clock => vec![said.detected_at.0],
        NoticedBy::NextRecord => next.iter().map(|next| next.0).collect(),
    };
    let lengths: Vec<i64> =
        until.iter().map(|until| class.calendar.open_ms(said.last_seen.0, *until)).collect();
    let Some(silence_ms) = lengths.last().filter(|_| history.complete) else {
        findings.skip(Unjudged::EventHistoryRetired, 1);
        return;
    };
    findings.count(Count::SilencesCompared, 1);
    if !lengths.iter().any(|length| said.silence_ms == Some(*length)) {
        let found = format!(
            "stale (`{}`, {}) after {} ms",
            said.symbol,
            said.last_seen,
            said.silence_ms.unwrap_or_default()
        );
        let expected = format!("{silence_ms} ms of open time by the calendar `{}`", said.calendar);
        findings.breach(false_event(history, stale, found, expected));
    }
}

fn false_event(history: History, stale: &Stale, found: String, expected: String) -> Breach {
    Breach {
        kind: BreachKind::FalseEvent,
        topic: Topic::BadData,
        partition: history.partition,
        offset: Some(stale.offset),
        input: None,
        found,
        expected,
    }
}

/// What the inputs came to, one after the other.
struct Walked {
    computed: BTreeMap<NameId, Computed>,
    /// The last-seens on the way that events name, and what each moved to.
    had: HashMap<(NameId, EventTime), Vec<EventTime>>,
    /// Silences, by level, that the settings call too long and no event tells of.
    unreported: u64,
    /// Symbols with a removal.
    removed: HashSet<NameId>,
}

fn walk(history: History, inputs: &Inputs, classes: &Classes, events: &Events) -> Walked {
    let claimed: HashSet<(NameId, EventTime)> = events
        .silences
        .keys()
        .filter_map(|silence| Some((inputs.known(&silence.symbol)?, silence.last_seen)))
        .collect();
    let mut walked =
        Walked { computed: BTreeMap::new(), had: HashMap::new(), unreported: 0, removed: HashSet::new() };
    for input in inputs.iter().take_while(|input| input.offset < history.until) {
        match input.calls {
            // What Kafka refused changes nothing, a removal neither.
            _ if matches!(input.seen, Seen::Unsendable { .. }) => {}
            Calls::Accepted { symbol, event_time, .. } => {
                let event_time = EventTime(event_time);
                let nothing = Computed { last_seen: None, exact: history.complete };
                let state = walked.computed.entry(symbol).or_insert(nothing);
                let before = state.last_seen;
                if before.is_some_and(|before| event_time <= before) {
                    continue;
                }
                state.last_seen = Some(event_time);
                if claimed.contains(&(symbol, event_time)) {
                    walked.had.entry((symbol, event_time)).or_default();
                }
                let Some(before) = before else { continue };
                if let Some(next) = walked.had.get_mut(&(symbol, before)) {
                    next.push(event_time);
                }
                if state.exact {
                    walked.unreported += unreported(inputs.name(symbol), before, event_time, classes, events);
                }
            }
            Calls::Removed { symbol } => {
                walked.computed.insert(symbol, Computed { last_seen: None, exact: true });
                walked.removed.insert(symbol);
            }
            Calls::Rejected { .. } => {}
        }
    }
    walked
}

/// The levels that a silence passed and no event tells of.
fn unreported(symbol: &str, from: EventTime, to: EventTime, classes: &Classes, events: &Events) -> u64 {
    let class = classes.class_of(symbol);
    if class.shortest_ms().is_none_or(|shortest| to.0.saturating_sub(from.0) <= shortest) {
        return 0;
    }
    let silence_ms = class.calendar.open_ms(from.0, to.0);
    let identity = Identity { symbol: symbol.to_owned(), last_seen: from };
    let passed = class.levels().filter(|(_, threshold_ms)| silence_ms > *threshold_ms);
    passed.map(|(level, _)| u64::from(!events.is_told(&identity, level))).sum()
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
        let identity = Identity { symbol: symbol.to_owned(), last_seen };
        if !is_reported || events.is_told(&identity, level) {
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
            found: format!("a row that calls {identity} reported, {}", shown_level(level)),
            expected: "its stale in this partition of bad_data".to_owned(),
        });
    }
}
