//! What is known of each symbol now: price, changes, volume, freshness, marks, and the recent past as bars. Pure:
//! times are arguments.
//!
//! Bounded: at most [`SYMBOLS_MAX`] symbols, and the more there are, the less of the past is kept of each.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde::Serialize;

use super::bars::{self, Bar, Bars, COARSE_S, FINE_S, Range};
use crate::core::class::{Class, ClassId, Classes};
use crate::model::headers::Kind;
use crate::model::{Event, EventTime, Freshness, Level, WallTime};
use crate::query::SymbolState;

/// Symbols that are shown; what comes beyond is counted.
pub const SYMBOLS_MAX: usize = 50_000;
/// Bars of all symbols together, some 100 bytes each.
const BARS_MAX: usize = 1_500_000;
/// Bars of each kind that every symbol has room for.
const BARS_MIN: usize = 8;
/// Fine bars of a symbol: a little more than an hour of them.
const FINE_MAX: usize = 370;
/// Coarse bars of a symbol: three days of them.
const COARSE_MAX: usize = 864;
/// Silences of a symbol that are remembered.
const SILENCES_MAX: usize = 20;
/// How often the table is asked for a day's first quote, where it has none so far that is as old as those that were read.
const OPEN_TRIES_MAX: u8 = 10;
/// For how long a mark is shown.
const MARK_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;
const HOUR_S: i64 = 3_600;

/// A record of `stock_data`, as far as it is shown.
#[derive(Debug, Clone)]
pub struct Trade<'a> {
    /// What was traded.
    pub symbol: &'a str,
    /// Every digit as it came in.
    pub price: Decimal,
    /// Likewise.
    pub volume: Decimal,
    /// When, in ms since 1970.
    pub time_ms: i64,
    /// When Kafka took it in, likewise.
    pub kafka_ms: i64,
    /// The names of the suspect rules that it is marked with.
    pub marks: Vec<&'a str>,
}

/// A symbol as the table shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The symbol.
    pub symbol: String,
    /// Grows with every change of any row: of two states of a row, the one with the higher version is the later.
    pub version: u64,
    /// The price of the highest event time: every digit, as text. None before a quote has been read.
    pub last_price: Option<String>,
    /// Change in percent since the first quote of the day (UTC) of the last one: by the table, where there is one, else
    /// the first that was read.
    pub change_day: Option<f64>,
    /// Change in percent against the price an hour ago, or against the first one read since.
    pub change_hour: Option<f64>,
    /// Volume read of the day (UTC) of the last quote: every digit, as text.
    pub volume: String,
    /// The highest event time.
    pub last_seen: Option<EventTime>,
    /// The highest level at which the present silence has been reported; none while it is heard of.
    pub level: Option<Level>,
    /// The gate has let go of the symbol: it is watched again from its next quote on.
    pub is_removed: bool,
    /// When the present silence passes, or has passed, the threshold of level `warn`, by the symbol's class and that
    /// one's calendar; none where it is not held to that level. The gate waits a grace more.
    pub warn_at: Option<WallTime>,
    /// The same of level `error`.
    pub error_at: Option<WallTime>,
    /// The class that the last event named.
    pub class: Option<String>,
    /// Suspect rules of the last hour.
    pub marks: Vec<String>,
}

/// A silence that was reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Silence {
    /// The last event time before it.
    pub from: EventTime,
    /// When it was seen to be over; none while it lasts.
    pub to: Option<EventTime>,
    /// The highest level that was reported.
    pub level: Level,
}

/// Bars of a symbol, and what they are of.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// Seconds of a step.
    pub step_s: i64,
    /// Oldest first; steps without a quote are left out.
    pub bars: Vec<Bar>,
    /// Silences that were reported, oldest first.
    pub silences: Vec<Silence>,
}

/// All symbols.
#[derive(Debug)]
pub struct Market {
    classes: Classes,
    index: HashMap<Arc<str>, usize>,
    entries: Vec<Entry>,
    changed: Vec<usize>,
    version: u64,
    left_out: u64,
    trades: u64,
    read_since_ms: i64,
}

#[derive(Debug)]
struct Entry {
    symbol: Arc<str>,
    held_to: ClassId,
    version: u64,
    is_changed: bool,
    price: Option<Decimal>,
    last_ms: i64,
    listed_ms: Option<i64>,
    heard_ms: i64,
    removed_ms: Option<i64>,
    remembered_ms: i64,
    day: i64,
    day_open: Decimal,
    day_first_ms: i64,
    is_open_sure: bool,
    open_tries: u8,
    day_volume: Decimal,
    level: Option<Level>,
    class: Option<String>,
    marks: Vec<(String, i64)>,
    silences: VecDeque<Silence>,
    fine: Bars,
    coarse: Bars,
}

impl Market {
    /// No symbol yet; those that come are held to what their classes say.
    pub fn new(classes: Classes) -> Self {
        Self {
            classes,
            index: HashMap::new(),
            entries: Vec::new(),
            changed: Vec::new(),
            version: 0,
            left_out: 0,
            trades: 0,
            read_since_ms: i64::MAX,
        }
    }

    /// Takes in a record of `stock_data`.
    pub fn trade(&mut self, trade: &Trade<'_>) {
        self.trades += 1;
        let (keep, read_since_ms) = (self.keep(), self.read_since_ms);
        let Some(at) = self.find_or_add(trade.symbol) else { return };
        self.entries[at].trade(trade, keep, read_since_ms);
        self.change(at);
    }

    /// Takes in an event of `bad_data`; one about a class is none of a symbol.
    pub fn event(&mut self, event: &Event) {
        let Some(said) = event.freshness() else { return };
        let Some(at) = self.find_or_add(&said.symbol) else { return };
        self.entries[at].event(event.kind(), said);
        self.change(at);
    }

    /// Takes in what the gate remembers of a symbol, where that is later than all that was read of it.
    pub fn remembered(&mut self, state: &SymbolState) {
        let known = self.index.get(state.symbol.as_str()).map(|&at| self.entries[at].last_ms);
        let is_later = match known {
            Some(last_ms) => state.last_seen.is_some_and(|seen| seen.0 > last_ms),
            None => self.has_room(),
        };
        if !is_later {
            return;
        }
        let Some(at) = self.find_or_add(&state.symbol) else { return };
        self.entries[at].remembered(state);
        self.change(at);
    }

    /// All that was accepted since then is read.
    pub fn set_read_since(&mut self, since_ms: i64) {
        self.read_since_ms = since_ms;
    }

    /// Symbols, at most so many, of which the first quote of the day may not have been read, with that day (since 1970,
    /// UTC); `again` also those of which the table had nothing so old when it was asked.
    pub fn without_open(&self, most: usize, again: bool) -> Vec<(Arc<str>, i64)> {
        let is_due = |tries| tries == 0 || again && tries < OPEN_TRIES_MAX;
        let unsure = |entry: &&Entry| !entry.is_open_sure && is_due(entry.open_tries);
        let unsure = self.entries.iter().filter(unsure).take(most);
        unsure.map(|entry| (Arc::clone(&entry.symbol), entry.day)).collect()
    }

    /// The time and price of the first quote of a day, as the table has it; that may be behind what was read.
    pub fn opened(&mut self, symbol: &str, day: i64, first: Option<(i64, Decimal)>) {
        let Some(&at) = self.index.get(symbol).filter(|at| self.entries[**at].day == day) else { return };
        let entry = &mut self.entries[at];
        entry.open_tries += 1;
        entry.is_open_sure = first.is_some_and(|(time_ms, _)| time_ms <= entry.day_first_ms);
        if let Some((time_ms, price)) = first.filter(|(time_ms, _)| *time_ms < entry.day_first_ms) {
            (entry.day_first_ms, entry.day_open) = (time_ms, price);
            self.change(at);
        }
    }

    /// Whether symbols that were not read of can still be taken in.
    pub fn has_room(&self) -> bool {
        self.entries.len() < SYMBOLS_MAX
    }

    /// A symbol is not watched any more, since that time of Kafka's. The topics are read side by side: its quotes until
    /// then may be read later, and its quotes since then may have been read.
    pub fn removed(&mut self, symbol: &str, kafka_ms: i64) {
        let Some(at) = self.find_or_add(symbol) else { return };
        self.entries[at].removed(kafka_ms);
        self.change(at);
    }

    /// The rows that have changed since this was asked last, and the version that all rows stand at.
    pub fn take_changes(&mut self, now_ms: i64) -> (u64, Vec<Row>) {
        let changed = std::mem::take(&mut self.changed);
        for &at in &changed {
            self.entries[at].is_changed = false;
        }
        let rows = changed.iter().map(|&at| self.row_of(&self.entries[at], now_ms)).collect();
        (self.version, rows)
    }

    /// Every row, in no order.
    pub fn rows(&self, now_ms: i64) -> impl Iterator<Item = Row> {
        self.entries.iter().map(move |entry| self.row_of(entry, now_ms))
    }

    /// One row.
    pub fn row(&self, symbol: &str, now_ms: i64) -> Option<Row> {
        self.index.get(symbol).map(|&at| self.row_of(&self.entries[at], now_ms))
    }

    /// The past of one symbol, as far as it is kept; `step_s` where it must be that, else what suits a chart.
    pub fn past(&self, symbol: &str, range: Range, now_ms: i64, step_s: Option<i64>) -> Option<Past> {
        self.index.get(symbol).map(|&at| self.entries[at].past(range, now_ms.div_euclid(1_000), step_s))
    }

    /// The version that all rows stand at.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many symbols there are, how many records were of symbols for which there was no room, and how many
    /// trades have been taken in.
    pub fn counts(&self) -> (usize, u64, u64) {
        (self.entries.len(), self.left_out, self.trades)
    }

    fn row_of(&self, entry: &Entry, now_ms: i64) -> Row {
        entry.row(now_ms, self.classes.get(entry.held_to))
    }

    /// Bars of each kind that are kept of a symbol.
    fn keep(&self) -> (usize, usize) {
        let each = BARS_MAX / self.entries.len().max(1);
        let part = |max: usize| (max * each / (FINE_MAX + COARSE_MAX)).clamp(BARS_MIN, max);
        (part(FINE_MAX), part(COARSE_MAX))
    }

    fn find_or_add(&mut self, symbol: &str) -> Option<usize> {
        if let Some(&at) = self.index.get(symbol) {
            return Some(at);
        }
        if !self.has_room() {
            self.left_out += 1;
            return None;
        }
        let symbol: Arc<str> = symbol.into();
        self.index.insert(Arc::clone(&symbol), self.entries.len());
        let held_to = self.classes.of(&symbol);
        self.entries.push(Entry::new(symbol, held_to));
        Some(self.entries.len() - 1)
    }

    fn change(&mut self, at: usize) {
        self.version += 1;
        let entry = &mut self.entries[at];
        entry.version = self.version;
        if !entry.is_changed {
            entry.is_changed = true;
            self.changed.push(at);
        }
    }
}

impl Entry {
    fn new(symbol: Arc<str>, held_to: ClassId) -> Self {
        Self {
            symbol,
            held_to,
            version: 0,
            is_changed: false,
            price: None,
            last_ms: i64::MIN,
            listed_ms: None,
            heard_ms: i64::MIN,
            removed_ms: None,
            remembered_ms: i64::MIN,
            day: i64::MIN,
            day_open: Decimal::ZERO,
            day_first_ms: i64::MAX,
            is_open_sure: true,
            open_tries: 0,
            day_volume: Decimal::ZERO,
            level: None,
            class: None,
            marks: Vec::new(),
            silences: VecDeque::new(),
            fine: Bars::new(FINE_S),
            coarse: Bars::new(COARSE_S),
        }
    }

    fn trade(&mut self, trade: &Trade<'_>, (fine, coarse): (usize, usize), read_since_ms: i64) {
        self.heard_ms = self.heard_ms.max(trade.kafka_ms);
        self.removed_ms = self.removed_ms.filter(|removed| trade.kafka_ms <= *removed);
        let (price, volume) = (trade.price, trade.volume);
        self.fine.take(trade.time_ms, price, volume, fine);
        self.coarse.take(trade.time_ms, price, volume, coarse);
        for mark in &trade.marks {
            self.marks.retain(|(known, _)| known != mark);
            self.marks.push(((*mark).to_owned(), trade.time_ms));
        }
        let day = trade.time_ms.div_euclid(DAY_MS);
        if day > self.day {
            // Only before the first quote that was read there may be others of its day.
            self.is_open_sure = self.day > i64::MIN || read_since_ms <= day.saturating_mul(DAY_MS);
            (self.day, self.day_open, self.day_volume) = (day, price, Decimal::ZERO);
            self.day_first_ms = trade.time_ms;
        }
        if day == self.day {
            self.day_volume = bars::sum(self.day_volume, volume);
        }
        // What is late is no news of the price.
        if trade.time_ms >= self.last_ms {
            self.price = Some(price);
            self.last_ms = trade.time_ms;
        }
    }

    fn removed(&mut self, kafka_ms: i64) {
        // Quotes that were not read are later too, where the gate remembers them.
        if self.heard_ms.max(self.remembered_ms) > kafka_ms {
            return;
        }
        self.removed_ms = Some(kafka_ms);
        self.level = None;
        for silence in self.silences.iter_mut().filter(|silence| silence.to.is_none()) {
            silence.to = Some(EventTime(kafka_ms.max(silence.from.0)));
        }
    }

    fn remembered(&mut self, state: &SymbolState) {
        self.removed_ms = None;
        let price = state.last_price.as_deref().and_then(|text| text.parse::<Decimal>().ok());
        self.price = price.or(self.price);
        self.last_ms = state.last_seen.map_or(self.last_ms, |seen| seen.0);
        self.remembered_ms = self.last_ms;
        self.listed_ms = state.listed_at.map(|listed| listed.0);
        self.level = state.level;
        if let (Some(level), Some(from)) = (state.level, state.silence_from) {
            self.began(Silence { from, to: None, level });
        }
    }

    fn began(&mut self, silence: Silence) {
        self.silences.push_back(silence);
        if self.silences.len() > SILENCES_MAX {
            self.silences.pop_front();
        }
    }

    fn event(&mut self, kind: Kind, said: &Freshness) {
        self.class = Some(said.class.clone());
        self.removed_ms = None;
        let at = self.silences.iter().rposition(|silence| silence.from == said.last_seen);
        if kind == Kind::Stale {
            self.level = self.level.max(Some(said.level));
            match at.and_then(|at| self.silences.get_mut(at)) {
                Some(silence) => silence.level = silence.level.max(said.level),
                None => self.began(Silence { from: said.last_seen, to: None, level: said.level }),
            }
            if said.never_seen {
                self.listed_ms = Some(said.last_seen.0);
            } else {
                self.last_ms = self.last_ms.max(said.last_seen.0);
            }
        } else {
            self.level = None;
            let silence_ms = said.silence_ms.unwrap_or_default();
            let ended = EventTime(said.last_seen.0.saturating_add(silence_ms).min(said.detected_at.0));
            if let Some(silence) = at.and_then(|at| self.silences.get_mut(at)) {
                silence.to = Some(ended);
            }
        }
    }

    fn row(&self, now_ms: i64, class: &Class) -> Row {
        let hour_ago = self.price_at(now_ms.div_euclid(1_000) - HOUR_S);
        let seen = Some(self.last_ms).filter(|ms| *ms > i64::MIN);
        let silence_from = seen.or(self.listed_ms).filter(|_| self.removed_ms.is_none());
        let passed_at = |level| {
            let open_ms = class.threshold_ms(level)?.saturating_add(1);
            silence_from.map(|from| WallTime(class.calendar.after(from, open_ms)))
        };
        let is_recent = |time_ms: i64| now_ms.saturating_sub(time_ms) < MARK_MS;
        Row {
            symbol: self.symbol.to_string(),
            version: self.version,
            last_price: self.price.map(|price| price.to_string()),
            change_day: self.price.and_then(|price| percent(price, self.day_open)),
            change_hour: self.price.zip(hour_ago).and_then(|(price, then)| percent(price, then)),
            volume: self.day_volume.to_string(),
            last_seen: seen.map(EventTime),
            level: self.level,
            is_removed: self.removed_ms.is_some(),
            warn_at: passed_at(Level::Warn),
            error_at: passed_at(Level::Error),
            class: self.class.clone(),
            marks: self.marks.iter().filter(|(_, at)| is_recent(*at)).map(|(name, _)| name.clone()).collect(),
        }
    }

    /// The price at a moment, else the first one that is known after. The more symbols there are, the later the fine
    /// bars begin.
    fn price_at(&self, time_s: i64) -> Option<Decimal> {
        let fine = self.fine.price_at(time_s);
        fine.or_else(|| self.coarse.price_at(time_s)).or_else(|| self.coarse.first_price())
    }

    fn past(&self, range: Range, now_s: i64, step_s: Option<i64>) -> Past {
        let first_s = self.coarse.first_s().unwrap_or(now_s);
        let from_s = range.from_s(now_s).unwrap_or(first_s);
        let span_s = now_s - from_s.max(first_s);
        // The fine bars may begin later than the coarse ones, which then know more.
        let has_all = |bars: &Bars| bars.first_s().is_some_and(|fine| fine <= from_s.max(first_s) + COARSE_S);
        let step_s = step_s.unwrap_or_else(|| bars::step_for(span_s, FINE_S));
        let bars = if step_s < COARSE_S && has_all(&self.fine) {
            bars::merge(self.fine.since(from_s), step_s)
        } else {
            bars::merge(self.coarse.since(from_s), step_s.max(COARSE_S))
        };
        let step_s = if step_s < COARSE_S && !has_all(&self.fine) { COARSE_S } else { step_s };
        Past { step_s, bars, silences: self.silences.iter().cloned().collect() }
    }
}

/// The change in percent, to the digits that a float has; none against nothing.
fn percent(now: Decimal, then: Decimal) -> Option<f64> {
    let (now, then) = (now.to_f64()?, then.to_f64()?);
    (then > 0.0).then(|| (now - then) / then * 100.0)
}
