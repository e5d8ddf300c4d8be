//! A symbol's row as people read it.

use serde::{Deserialize, Serialize};

use crate::model::{EventTime, Level, Partition, SymbolRow};

/// What the gate remembers of a symbol in one partition. A symbol has rows in several if it came in several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolState {
    /// The symbol.
    pub symbol: String,
    /// The partition whose state has the row.
    pub partition: Partition,
    /// The highest event time of an accepted record.
    pub last_seen: Option<EventTime>,
    /// The last accepted price: every digit, as text, for no reader to round it.
    pub last_price: Option<String>,
    /// Since when the price has been the same.
    pub price_since: Option<EventTime>,
    /// The highest level at which its present silence has been reported; none while it is heard of.
    pub level: Option<Level>,
    /// All levels at which that has been reported.
    pub reported: Vec<Level>,
    /// What that silence counts from.
    pub silence_from: Option<EventTime>,
    /// When it was first put on the watch list.
    pub listed_at: Option<EventTime>,
}

impl SymbolState {
    /// The state that a row tells of.
    pub fn new(symbol: &str, partition: Partition, row: &SymbolRow) -> Self {
        Self {
            symbol: symbol.to_owned(),
            partition,
            last_seen: row.last_seen.map(EventTime),
            last_price: row.price.map(|price| price.to_string()),
            price_since: row.price_since.map(EventTime),
            level: level(row),
            reported: levels(row).collect(),
            silence_from: row.reported.map(|reported| EventTime(reported.silence_from)),
            listed_at: row.listed_at.map(EventTime),
        }
    }
}

/// The highest level at which the row's present silence has been reported.
pub(super) fn level(row: &SymbolRow) -> Option<Level> {
    levels(row).max()
}

fn levels(row: &SymbolRow) -> impl Iterator<Item = Level> {
    let warn = row.reported.filter(|reported| reported.warn).map(|_| Level::Warn);
    let error = row.reported.filter(|reported| reported.error).map(|_| Level::Error);
    [warn, error].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Price, Reported};

    #[test]
    fn a_row_is_told_digit_for_digit() {
        let row = SymbolRow {
            last_seen: Some(1_795_356_000_123),
            price: Some(Price { mantissa: 9_999_999_999_999_999_999_999_999_999, scale: 20 }),
            price_since: None,
            reported: Some(Reported { silence_from: 1_795_356_000_123, warn: true, error: true }),
            listed_at: Some(0),
        };
        let state = SymbolState::new("IC MARKETS:1", 3, &row);
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(
            json,
            r#"{"symbol":"IC MARKETS:1","partition":3,"last_seen":"2026-11-22T14:00:00.123Z","last_price":"99999999.99999999999999999999","price_since":null,"level":"error","reported":["warn","error"],"silence_from":"2026-11-22T14:00:00.123Z","listed_at":"1970-01-01T00:00:00.000Z"}"#
        );
        assert_eq!(serde_json::from_str::<SymbolState>(&json).unwrap(), state);
        let silent = |warn, error| SymbolRow {
            reported: Some(Reported { silence_from: 0, warn, error }),
            ..SymbolRow::default()
        };
        assert_eq!(level(&SymbolRow::default()), None);
        assert_eq!(level(&silent(false, false)), None);
        assert_eq!(level(&silent(true, false)), Some(Level::Warn));
        assert_eq!(level(&silent(false, true)), Some(Level::Error));
    }
}
