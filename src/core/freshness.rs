//! Silences: what the next record says about the one before it, when a symbol is due, and whether the clock on
//! the wall can be believed.

use super::input::Now;
use super::settings::{CALENDAR, CLASS};
use super::task::is_stale;
use crate::model::{Event, EventTime, Freshness, Level, NoticedBy, Price, Reported, SymbolRow, WallTime};

/// How far wall and monotonic clock may drift apart between two looks before the wall clock has leapt.
const LEAP_MS: i64 = 2_000;

/// What an accepted quote makes of its symbol's row, and the events it gives rise to.
///
/// A late quote moves nothing. An equal time isn't late. Silences are measured in the order of arrival.
pub(super) fn accept(
    before: Option<&SymbolRow>,
    symbol: &str,
    event_time: i64,
    price: Price,
    threshold_ms: i64,
    now: Now,
    events: &mut Vec<Event>,
) -> SymbolRow {
    let mut row = before.cloned().unwrap_or_default();
    let Some(last_seen) = row.last_seen else {
        row.last_seen = Some(event_time);
        row.price = Some(price);
        row.price_since = Some(event_time);
        return row;
    };
    if event_time < last_seen {
        return row;
    }
    let silence_ms = event_time - last_seen;
    let was_reported = is_stale(Some(&row));
    let too_long = silence_ms > threshold_ms;
    let event = || silence(symbol, last_seen, silence_ms, threshold_ms, now.wall, NoticedBy::NextRecord);
    if too_long && !was_reported {
        events.push(Event::Stale(event()));
    }
    let moved = event_time > last_seen;
    if (too_long || was_reported) && moved {
        events.push(Event::Recovered(Freshness { late_delivery: !too_long, ..event() }));
    }
    if moved {
        row.reported = None;
    }
    row.last_seen = Some(event_time);
    if row.price.is_none_or(|before| !before.is_amount(price)) {
        row.price_since = Some(event_time);
    }
    row.price = Some(price);
    row
}

/// What the clock makes of a row whose deadline has passed.
pub(super) fn overdue(
    row: &SymbolRow,
    symbol: &str,
    threshold_ms: i64,
    at: WallTime,
) -> Option<(SymbolRow, Event)> {
    let last_seen = row.last_seen?;
    let silence_ms = at.0 - last_seen;
    if !awaits_notice(Some(row)) || silence_ms <= threshold_ms {
        return None;
    }
    let mut after = row.clone();
    after.reported = Some(Reported { silence_from: last_seen, warn: false, error: true });
    let event = silence(symbol, last_seen, silence_ms, threshold_ms, at, NoticedBy::Clock);
    Some((after, Event::Stale(event)))
}

fn silence(
    symbol: &str,
    last_seen: i64,
    silence_ms: i64,
    threshold_ms: i64,
    detected_at: WallTime,
    noticed_by: NoticedBy,
) -> Freshness {
    Freshness {
        symbol: symbol.to_owned(),
        class: CLASS.to_owned(),
        last_seen: EventTime(last_seen),
        level: Level::Error,
        threshold_ms,
        calendar: CALENDAR.to_owned(),
        detected_at,
        noticed_by,
        silence_ms: Some(silence_ms),
        late_delivery: false,
    }
}

/// Whether a silence of this row is still to be noticed.
pub(super) fn awaits_notice(row: Option<&SymbolRow>) -> bool {
    row.is_some_and(|row| row.last_seen.is_some() && !is_stale(Some(row)))
}

/// The first moment at which a row's silence is too long, in ms of wall time; `None` where none is still to be
/// noticed.
pub(super) fn deadline(row: &SymbolRow, threshold_ms: i64) -> Option<i64> {
    let last_seen = row.last_seen.filter(|_| awaits_notice(Some(row)))?;
    Some(last_seen.saturating_add(threshold_ms).saturating_add(1))
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
