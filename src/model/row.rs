//! A quote as the table keeps it: one row of `stock` for each record of `stock_data`.

use super::{EventTime, Quote, Source};
use rust_decimal::Decimal;
use std::cmp::Ordering;

/// One row. (symbol, day, event time, source) tells it from every other: real trades share a millisecond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What was traded.
    pub symbol: String,
    /// When it was traded.
    pub event_time: EventTime,
    /// The record of staging that said so.
    pub source: Source,
    /// Every digit as it came in.
    pub last_price: Decimal,
    /// Likewise.
    pub volume: Decimal,
}

/// A decimal as it is stored: the unscaled number in two's complement, and the places behind the point.
pub type StoredDecimal = (Vec<u8>, i32);

/// A row of `stock` as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// `symbol`
    pub symbol: String,
    /// `day`, in days since 1970.
    pub day: i64,
    /// `timestamp`, in ms since 1970.
    pub time_ms: i64,
    /// `source_partition` and `source_offset`.
    pub source: Source,
    /// `last_price` and its write time in microseconds, if it is there.
    pub last_price: Option<(StoredDecimal, i64)>,
    /// `volume`, likewise.
    pub volume: Option<(StoredDecimal, i64)>,
}

/// A row of `latest` as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLatest {
    /// `symbol`
    pub symbol: String,
    /// `source_offset`, `timestamp` in ms, `last_price`, `volume`, and the write time; `None` where any is null.
    pub quote: Option<(i64, i64, StoredDecimal, StoredDecimal, i64)>,
}

/// Milliseconds of a day; event times know no leap seconds.
const DAY_MS: i64 = 86_400_000;

impl Row {
    /// The row of a quote whose record stands there.
    pub fn new(quote: Quote<'_>, source: Source) -> Self {
        let Quote { symbol, last_price, volume, event_time } = quote;
        Self { symbol: symbol.into_owned(), event_time, source, last_price, volume }
    }

    /// The day of the event time in UTC, in days since 1970-01-01.
    pub fn day(&self) -> i64 {
        self.event_time.0.div_euclid(DAY_MS)
    }

    /// Whether this one stays in `latest` when both are written: the later event time does, else the greater
    /// quote, byte for byte, as Cassandra settles cells of equal write times.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        let first = |row: &Self| (row.event_time, row.source.offset);
        match first(self).cmp(&first(other)) {
            Ordering::Equal => self.decimals() > other.decimals(),
            order => order == Ordering::Greater,
        }
    }

    /// Both numbers as they follow each other in the quote.
    fn decimals(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [self.last_price, self.volume] {
            let (unscaled, scale) = cql_decimal(number);
            bytes.extend((unscaled.len() + 4).to_be_bytes());
            bytes.extend(scale.to_be_bytes());
            bytes.extend(unscaled);
        }
        bytes
    }

    /// The write time in microseconds since 1970: a function of the row, so that writing it again changes
    /// nothing.
    pub fn write_time_us(&self) -> i64 {
        self.event_time.0.saturating_mul(1_000)
    }
}

/// A decimal as CQL has it: the unscaled number as the fewest bytes of two's complement, big-endian, and the
/// number of places behind the point.
pub fn cql_decimal(number: Decimal) -> (Vec<u8>, i32) {
    let bytes = number.mantissa().to_be_bytes();
    let is_sign = |pair: &[u8]| {
        (pair[0] == 0 && pair[1].leading_zeros() > 0) || (pair[0] == 0xff && pair[1].leading_ones() > 0)
    };
    let start = bytes.windows(2).take_while(|pair| is_sign(pair)).count();
    let scale = i32::try_from(number.scale()).expect("a decimal has at most 28 places");
    (bytes[start..].to_vec(), scale)
}

/// The unscaled number of what is stored; none where it has more than 128 bits.
pub fn unscaled(bytes: &[u8]) -> Option<i128> {
    let sign = if bytes.first().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 };
    let mut whole = [sign; 16];
    let start = whole.len().checked_sub(bytes.len())?;
    whole[start..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(whole))
}

/// What `cql_decimal` wrote, digit for digit; none where somebody wrote what a [`Decimal`] cannot hold.
pub fn decimal_of((bytes, scale): &StoredDecimal) -> Option<Decimal> {
    let unscaled = unscaled(bytes)?;
    let (unscaled, scale) = match u32::try_from(*scale) {
        Ok(scale) => (unscaled, scale),
        Err(_) => (unscaled.checked_mul(10_i128.checked_pow(scale.unsigned_abs())?)?, 0),
    };
    Decimal::try_from_i128_with_scale(unscaled, scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> Row {
        Row {
            symbol: "AAPL".to_owned(),
            event_time: EventTime(ms),
            source: Source { partition: 0, offset: 0 },
            last_price: Decimal::ONE,
            volume: Decimal::ZERO,
        }
    }

    #[test]
    fn days_begin_at_midnight_in_utc() {
        assert_eq!([at(0).day(), at(DAY_MS - 1).day(), at(DAY_MS).day(), at(-1).day()], [0, 0, 1, -1]);
        assert_eq!(at(1_795_356_000_123).day(), 20_779);
        assert_eq!(at(1_795_356_000_123).write_time_us(), 1_795_356_000_123_000);
    }

    #[test]
    fn decimals_are_the_fewest_bytes() {
        let rows: [(i128, &[u8]); 8] = [
            (0, &[0]),
            (127, &[0x7f]),
            (128, &[0, 0x80]),
            (255, &[0, 0xff]),
            (-1, &[0xff]),
            (-128, &[0x80]),
            (-129, &[0xff, 0x7f]),
            (18_912, &[0x49, 0xe0]),
        ];
        for (mantissa, bytes) in rows {
            let number = Decimal::from_i128_with_scale(mantissa, 2);
            assert_eq!(cql_decimal(number), (bytes.to_vec(), 2), "{mantissa}");
        }
    }

    #[test]
    fn decimals_of_others_are_read_where_they_fit() {
        let of = |bytes: &[u8], scale| decimal_of(&(bytes.to_vec(), scale)).map(|number| number.to_string());
        let rows: [(&[u8], i32, Option<&str>); 8] = [
            (&[0x49, 0xe0], 2, Some("189.12")),
            (&[0xff, 0x7f], 0, Some("-129")),
            (&[1], -3, Some("1000")),
            (&[], 0, Some("0")),
            (&[1], 29, None),
            (&[1], -29, None),
            (&[1], i32::MIN, None),
            (&[1; 17], 0, None),
        ];
        for (bytes, scale, expected) in rows {
            assert_eq!(of(bytes, scale).as_deref(), expected, "{bytes:?} {scale}");
        }
    }

    proptest! {
        #[test]
        fn decimals_read_back(mantissa in -(10_i128.pow(28) - 1)..10_i128.pow(28), scale in 0..=28_u32) {
            let read = decimal_of(&cql_decimal(Decimal::from_i128_with_scale(mantissa, scale))).unwrap();
            prop_assert_eq!((read.mantissa(), read.scale()), (mantissa, scale));
        }

        #[test]
        fn whatever_is_stored_is_read_or_left(bytes in proptest::collection::vec(any::<u8>(), 0..20), scale: i32) {
            let _ = decimal_of(&(bytes, scale));
        }
    }
}
