//! Silences: what the next record says about the one before it, when a symbol is due, and whether the clock on
//! the wall can be believed.

use super::class::Class;
use super::input::Now;
use crate::model::{Event, EventTime, Freshness, Level, NoticedBy, Price, Reported, SymbolRow, WallTime};

/// How far wall and monotonic clock may drift apart between two looks before the wall clock has leapt.
const LEAP_MS: i64 = 2_000;

/// One silence, as far as its events need it.
struct Silence<'a> {
    symbol: &'a str,
    class: &'a Class,
    from: i64,
    never_seen: bool,
    open_ms: i64,
    detected_at: WallTime,
    noticed_by: NoticedBy,
}

impl Silence<'_> {
    fn event(&self, level: Level) -> Freshness {
        Freshness {
            symbol: self.symbol.to_owned(),
            class: self.class.name.to_string(),
            last_seen: EventTime(self.from),
            level,
            threshold_ms: self.class.threshold_ms(level),
            calendar: self.class.calendar.name().to_owned(),
            detected_at: self.detected_at,
            noticed_by: self.noticed_by,
            silence_ms: Some(self.open_ms),
            late_delivery: false,
            never_seen: self.never_seen,
            feed_silent: false,
        }
    }
}

/// What an accepted quote makes of its symbol's row, and the events it gives rise to.
///
/// A late quote moves nothing. An equal time isn't late. Silences are measured in the order of arrival.
pub(super) fn accept(
    before: Option<&SymbolRow>,
    symbol: &str,
    (event_time, price): (i64, Price),
    class: &Class,
    now: Now,
    events: &mut Vec<Event>,
) -> SymbolRow {
    let mut row = before.cloned().unwrap_or_default();
    if row.last_seen.is_some_and(|last_seen| event_time < last_seen) {
        return row;
    }
    if let Some(from) = silence_from(&row)
        && event_time != from
    {
        let reported = row.reported.take();
        // Open time is never longer than time.
        let is_short = class.shortest_ms().is_none_or(|shortest| event_time.saturating_sub(from) <= shortest);
        if reported.is_some() || !is_short {
            let open_ms = class.calendar.open_ms(from, event_time);
            let (detected_at, noticed_by) = (now.wall, NoticedBy::NextRecord);
            let never_seen = row.last_seen.is_none();
            let silence = Silence { symbol, class, from, never_seen, open_ms, detected_at, noticed_by };
            ended(&silence, reported, events);
        }
    }
    if row.price.is_none_or(|before| !before.is_amount(price)) {
        row.price_since = Some(event_time);
    }
    row.last_seen = Some(event_time);
    row.price = Some(price);
    row
}

/// The events of a silence that a quote has ended: what nobody had noticed, then that it is over.
fn ended(silence: &Silence<'_>, reported: Option<Reported>, events: &mut Vec<Event>) {
    let mut highest = reported.and_then(highest);
    for (level, threshold_ms) in silence.class.levels() {
        if silence.open_ms > threshold_ms && highest < Some(level) {
            events.push(Event::Stale(silence.event(level)));
            highest = Some(level);
        }
    }
    if let Some(level) = highest {
        let event = silence.event(level);
        let late_delivery = event.threshold_ms.is_some_and(|threshold_ms| silence.open_ms <= threshold_ms);
        events.push(Event::Recovered(Freshness { late_delivery, ..event }));
    }
}

/// What the clock makes of a row: the levels that were due by `until` and are passed at `at`.
pub(super) fn overdue(
    row: &SymbolRow,
    symbol: &str,
    class: &Class,
    until: i64,
    at: WallTime,
    events: &mut Vec<Event>,
) -> Option<SymbolRow> {
    let from = silence_from(row)?;
    let open_ms = class.calendar.open_ms(from, at.0);
    let (never_seen, noticed_by) = (row.last_seen.is_none(), NoticedBy::Clock);
    let silence = Silence { symbol, class, from, never_seen, open_ms, detected_at: at, noticed_by };
    let mut reported = row.reported;
    for (level, threshold_ms) in class.levels() {
        let is_due = open_ms > threshold_ms && passed_at(class, from, threshold_ms) <= until;
        if is_due && reported.and_then(highest) < Some(level) {
            events.push(Event::Stale(silence.event(level)));
            let so_far = reported.unwrap_or(Reported { silence_from: from, warn: false, error: false });
            reported = Some(match level {
                Level::Warn => Reported { warn: true, ..so_far },
                Level::Error => Reported { error: true, ..so_far },
            });
        }
    }
    (reported != row.reported).then(|| SymbolRow { reported, ..row.clone() })
}

/// What a symbol's silence counts from: its last-seen, or for one never seen its listing.
pub(super) fn silence_from(row: &SymbolRow) -> Option<i64> {
    row.last_seen.or(row.listed_at)
}

/// The first moment at which a silence of the row passes a level that is still to be noticed, in ms of wall time;
/// `None` where there is none. A level below one that was reported is not to be noticed any more.
pub(super) fn deadline(row: &SymbolRow, class: &Class) -> Option<i64> {
    let from = silence_from(row)?;
    let reported = row.reported.and_then(highest);
    let levels = class.levels().filter(|(level, _)| reported < Some(*level));
    levels.map(|(_, threshold_ms)| passed_at(class, from, threshold_ms)).min()
}

fn passed_at(class: &Class, from: i64, threshold_ms: i64) -> i64 {
    class.calendar.after(from, threshold_ms.saturating_add(1))
}

fn highest(reported: Reported) -> Option<Level> {
    if reported.error { Some(Level::Error) } else { reported.warn.then_some(Level::Warn) }
}

/// How a symbol stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is nothing to watch.
    Unwatched,
    /// No silence of it has been reported, or it is over.
    Fresh,
    /// Its silence was reported at this level, and goes on.
    Silent(Level),
}

/// How the symbol of a row stands.
pub(super) fn standing(row: Option<&SymbolRow>, class: &Class) -> Standing {
    match row {
        Some(row) if silence_from(row).is_some() && class.shortest_ms().is_some() => {
            row.reported.and_then(highest).map_or(Standing::Fresh, Standing::Silent)
        }
        _ => Standing::Unwatched,
    }
}

/// Compares the wall clock with the monotonic one from look to look.
#[derive(Debug)]
pub(super) struct WallClock {
    offset_ms: i64,
}

impl WallClock {
    pub(super) fn new(now: Now) -> Self {
        Self { offset_ms: now.wall.0 - now.monotonic_ms }
    }

    /// How far the wall clock has leapt since the last look; `None` when the two looks agree.
    pub(super) fn leap(&mut self, now: Now) -> Option<i64> {
        let offset_ms = now.wall.0 - now.monotonic_ms;
        let by_ms = offset_ms - self.offset_ms;
        self.offset_ms = offset_ms;
        (by_ms.abs() > LEAP_MS).then_some(by_ms)
    }
}
