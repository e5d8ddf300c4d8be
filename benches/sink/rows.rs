//! The rows: a function of their numbers, so that nobody needs to tell anybody.

use tickgate::model::{EventTime, Row, Source, partition_of};

use rust_decimal::Decimal;

/// 2026-11-02T00:00:00Z: all rows are of this day, as long as there are fewer than 86 million.
const FIRST_MS: i64 = 1_793_577_600_000;

/// How many rows there are, and of what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) count: u64,
    pub(crate) symbols: u64,
    pub(crate) partitions: i32,
}

impl Rows {
    /// The row of a number below `count`; each is a millisecond after the one before.
    pub(crate) fn row(&self, number: u64) -> Row {
        // Fibonacci hashing: spreads the symbols without repeating their order.
        let chance = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        let symbol = Self::symbol(chance % self.symbols);
        let after_ms = i64::try_from(number).expect("a bench has fewer rows");
        let cents = i64::try_from(10_000 + chance % 40_000).expect("below 50,000");
        let source = Source { partition: partition_of(symbol.as_bytes(), self.partitions), offset: after_ms };
        Row {
            symbol,
            event_time: EventTime(FIRST_MS + after_ms),
            source,
            last_price: Decimal::new(cents, 2),
            volume: Decimal::from(1 + chance % 900),
        }
    }

    /// All rows, one after another.
    pub(crate) fn all(self) -> impl Iterator<Item = Row> {
        (0..self.count).map(move |number| self.row(number))
    }

    /// The names of the symbols.
    pub(crate) fn symbol(number: u64) -> String {
        format!("SYM{number:05}")
    }

    /// The day of all rows, in days since 1970.
    pub(crate) fn day(&self) -> i64 {
        self.row(0).day()
    }
}
