//! The tables against `stock_data`: each record that was loaded has its one row, and each row its record.
//!
//! Feed it in this order: dead letters, records, rows, latest quotes. What is beyond the sink's committed offset
//! may have its row or not. A record takes about 200 bytes while it is held, and all are.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::report::{Breach, BreachKind, Count, Findings, Topic, Unjudged};
use crate::model::row::{StoredDecimal, StoredLatest, StoredRow, cql_decimal, unscaled};
use crate::model::{Offset, Partition, Row, Source};

/// A record of `stock_data`.
#[derive(Debug, Clone)]
pub struct Loadable {
    /// Its partition of `stock_data`.
    pub partition: Partition,
    /// Its offset there.
    pub offset: Offset,
    /// The row that it stands for; `None` when it can be none.
    pub row: Option<Row>,
    /// Whether the sink has committed it.
    pub is_loaded: bool,
    /// Whether its row may have outlived its time.
    pub may_be_expired: bool,
}

/// The check of both tables.
#[derive(Debug)]
pub struct TableCheck {
    findings: Findings,
    dead: HashSet<(Partition, Offset)>,
    records: HashMap<Source, Expected>,
    latest: HashMap<String, Newest>,
    read: BTreeMap<Partition, Read>,
}

#[derive(Debug)]
struct Expected {
    row: Row,
    partition: Partition,
    offset: Offset,
    is_loaded: bool,
    is_dead: bool,
    may_be_expired: bool,
    rows: u32,
}

/// The newest rows of a symbol.
#[derive(Debug)]
struct Newest {
    /// Of those loaded.
    loaded: Option<Row>,
    /// Of all.
    any: Row,
    may_be_expired: bool,
    is_seen: bool,
}

/// What was read of one partition.
#[derive(Debug, Default)]
struct Read {
    /// Retention has taken records before the first.
    is_retired: bool,
    first_source: Option<Offset>,
    last_source: Option<Offset>,
}

impl TableCheck {
    /// A check that has seen nothing; keeps at most `shown_max` breaches whole.
    pub fn new(shown_max: usize) -> Self {
        Self {
            findings: Findings::new(shown_max),
            dead: HashSet::new(),
            records: HashMap::new(),
            latest: HashMap::new(),
            read: BTreeMap::new(),
        }
    }

    /// The record that stands there in `stock_data` is a dead letter.
    pub fn dead(&mut self, partition: Partition, offset: Offset) {
        self.dead.insert((partition, offset));
    }

    /// A partition of `stock_data` is read next; whether retention has taken its beginning.
    pub fn partition(&mut self, partition: Partition, is_retired: bool) {
        self.read.entry(partition).or_default().is_retired = is_retired;
    }

    /// Takes in the next record of `stock_data`.
    pub fn record(&mut self, record: Loadable) {
        let Loadable { partition, offset, row, is_loaded, may_be_expired } = record;
        let is_dead = self.dead.contains(&(partition, offset));
        self.findings.count(Count::Loaded, u64::from(is_loaded));
        self.findings.count(Count::DeadLetters, u64::from(is_dead));
        self.findings.skip(Unjudged::RowsBeyondCut, u64::from(!is_loaded));
        let Some(row) = row else {
            if is_loaded && !is_dead {
                let found = "neither a row nor a dead letter".to_owned();
                self.at_record(BreachKind::LostRow, partition, offset, found, "a dead letter");
            }
            return;
        };
        let read = self.read.entry(partition).or_default();
        read.first_source.get_or_insert(row.source.offset);
        read.last_source = read.last_source.max(Some(row.source.offset));
        if !is_dead {
            self.newest(&row, is_loaded, may_be_expired);
        }
        let expected = Expected { row, partition, offset, is_loaded, is_dead, may_be_expired, rows: 0 };
        // An output that was made once more after a reset is the same row.
        self.records
            .entry(expected.row.source)
            .and_modify(|known| known.is_loaded |= is_loaded)
            .or_insert(expected);
    }

    fn newest(&mut self, row: &Row, is_loaded: bool, may_be_expired: bool) {
        let newest = self.latest.entry(row.symbol.clone()).or_insert_with(|| Newest {
            loaded: None,
            any: row.clone(),
            may_be_expired,
            is_seen: false,
        });
        newest.may_be_expired &= may_be_expired;
        if row.is_newer_than(&newest.any) {
            newest.any = row.clone();
        }
        if is_loaded && newest.loaded.as_ref().is_none_or(|loaded| row.is_newer_than(loaded)) {
            newest.loaded = Some(row.clone());
        }
    }

    /// Takes in a row of `stock`.
    pub fn stock(&mut self, stored: &StoredRow) {
        self.findings.count(Count::Rows, 1);
        let source = stored.source;
        let Some(expected) = self.records.get_mut(&source) else { return self.stray(stored) };
        expected.rows += 1;
        let (row, doubled) = (&expected.row, expected.rows > 1);
        let wanted = told(row);
        let is_same = stored.symbol == row.symbol
            && stored.day == row.day()
            && stored.time_ms == row.event_time.0
            && stored.last_price == Some((cql_decimal(row.last_price), row.write_time_us()))
            && stored.volume == Some((cql_decimal(row.volume), row.write_time_us()));
        if doubled {
            self.at_row(BreachKind::DoubledRow, source, told_stored(stored), "one row alone".to_owned());
        }
        if !is_same {
            self.at_row(BreachKind::AlteredRow, source, told_stored(stored), wanted);
        }
    }

    /// A row whose record was not read.
    fn stray(&mut self, stored: &StoredRow) {
        let Source { partition, offset } = stored.source;
        let Some(read) = self.read.get(&partition) else {
            let expected = "a source in a partition that there is".to_owned();
            return self.at_row(BreachKind::StrayRow, stored.source, told_stored(stored), expected);
        };
        if read.last_source.is_none_or(|last| offset > last) {
            self.findings.skip(Unjudged::RowsBeyondRead, 1);
        } else if read.is_retired && read.first_source.is_some_and(|first| offset < first) {
            self.findings.skip(Unjudged::RowsRetired, 1);
        } else {
            let expected = "a record of stock_data with this source".to_owned();
            self.at_row(BreachKind::StrayRow, stored.source, told_stored(stored), expected);
        }
    }

    /// Takes in a row of `latest`.
    pub fn latest(&mut self, stored: &StoredLatest) {
        self.findings.count(Count::LatestRows, 1);
        let is_retired = self.read.values().any(|read| read.is_retired);
        let Some(newest) = self.latest.get_mut(&stored.symbol) else {
            if is_retired {
                self.findings.skip(Unjudged::RowsRetired, 1);
            } else {
                self.at_latest(&stored.symbol, &told_latest(stored), "no row: no record has the symbol");
            }
            return;
        };
        newest.is_seen = true;
        let is = |row: &Row| stored.quote == Some(quote_of(row));
        if newest.loaded.as_ref().is_some_and(is) || is(&newest.any) {
            return;
        }
        let is_running_on = newest.loaded.as_ref().is_none_or(|loaded| newest.any.is_newer_than(loaded));
        let wanted = told(newest.loaded.as_ref().unwrap_or(&newest.any));
        let is_newer =
            stored.quote.as_ref().is_some_and(|(_, time_ms, ..)| *time_ms >= newest.any.event_time.0);
        if is_running_on {
            self.findings.skip(Unjudged::RowsBeyondCut, 1);
        } else if is_retired && is_newer {
            self.findings.skip(Unjudged::RowsRetired, 1);
        } else {
            self.at_latest(&stored.symbol, &told_latest(stored), &wanted);
        }
    }

    /// Judges what only the end shows, and says what all came to.
    pub fn finish(mut self) -> Findings {
        let mut lost: Vec<Expected> = std::mem::take(&mut self.records).into_values().collect(); // order: sorted below
        lost.retain(|expected| expected.is_loaded && !expected.is_dead && expected.rows == 0);
        lost.sort_by_key(|expected| (expected.partition, expected.offset));
        for Expected { row, partition, offset, may_be_expired, .. } in lost {
            if may_be_expired {
                self.findings.skip(Unjudged::RowsExpired, 1);
            } else {
                self.at_record(BreachKind::LostRow, partition, offset, "no row".to_owned(), &told(&row));
            }
        }
        let mut missing: Vec<Newest> = std::mem::take(&mut self.latest).into_values().collect(); // order: sorted below
        missing.retain(|newest| !newest.is_seen && newest.loaded.is_some());
        missing.sort_by(|one, other| one.any.symbol.cmp(&other.any.symbol));
        for Newest { any, may_be_expired, .. } in missing {
            if may_be_expired {
                self.findings.skip(Unjudged::RowsExpired, 1);
            } else {
                self.at_latest(&any.symbol, "no row", &told(&any));
            }
        }
        self.findings
    }

    fn at_record(
        &mut self,
        kind: BreachKind,
        partition: Partition,
        offset: Offset,
        found: String,
        expected: &str,
    ) {
        let (offset, expected) = (Some(offset), expected.to_owned());
        self.findings.breach(Breach {
            kind,
            topic: Topic::StockData,
            partition,
            offset,
            input: None,
            found,
            expected,
        });
    }

    /// The place of a row is its source.
    fn at_row(&mut self, kind: BreachKind, source: Source, found: String, expected: String) {
        let Source { partition, offset } = source;
        let (topic, input) = (Topic::StockTable, Some(offset));
        self.findings.breach(Breach { kind, topic, partition, offset: None, input, found, expected });
    }

    fn at_latest(&mut self, symbol: &str, found: &str, expected: &str) {
        self.findings.breach(Breach {
            kind: BreachKind::WrongLatest,
            topic: Topic::LatestTable,
            partition: 0,
            offset: None,
            input: None,
            found: format!("`{symbol}`: {found}"),
            expected: expected.to_owned(),
        });
    }
}

fn quote_of(row: &Row) -> (Offset, i64, StoredDecimal, StoredDecimal, i64) {
    let (price, volume) = (cql_decimal(row.last_price), cql_decimal(row.volume));
    (row.source.offset, row.event_time.0, price, volume, row.write_time_us())
}

fn told(row: &Row) -> String {
    let Row { symbol, event_time, source, last_price, volume } = row;
    let (Source { partition, offset }, written) = (source, row.write_time_us());
    format!(
        "`{symbol}` {event_time} price {last_price} volume {volume} of {partition}@{offset}, written {written}"
    )
}

fn told_stored(stored: &StoredRow) -> String {
    let StoredRow { symbol, day, time_ms, source, last_price, volume } = stored;
    let shown = |value: &Option<(StoredDecimal, i64)>| match value {
        Some((number, written)) => format!("{}, written {written}", decimal(number)),
        None => "null".to_owned(),
    };
    format!(
        "`{symbol}` day {day} time {time_ms} ms price {} volume {} of {}@{}",
        shown(last_price),
        shown(volume),
        source.partition,
        source.offset
    )
}

fn told_latest(stored: &StoredLatest) -> String {
    match &stored.quote {
        None => "null".to_owned(),
        Some((offset, time_ms, price, volume, written)) => {
            let (price, volume) = (decimal(price), decimal(volume));
            format!("time {time_ms} ms price {price} volume {volume} of offset {offset}, written {written}")
        }
    }
}

/// As a person reads it, if it is one of ours.
fn decimal((bytes, scale): &StoredDecimal) -> String {
    match unscaled(bytes) {
        Some(unscaled) => format!("{unscaled}e{}", -i64::from(*scale)),
        None => format!("a number of {} bytes", bytes.len()),
    }
}
