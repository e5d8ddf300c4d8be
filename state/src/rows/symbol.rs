//! A symbol's row: all that freshness and the suspect rules remember of it.
//!
//! Version 1: version, presence byte, then the present fields in the order of the struct. A price is its scale,
//! the length of its mantissa and the mantissa in the fewest big-endian two's complement bytes, so that rows
//! stay near 24 bytes.

use super::{Reader, RowError};
use std::fmt;

const VERSION: u8 = 1;

const LAST_SEEN: u8 = 1;
const PRICE: u8 = 1 << 1;
const PRICE_SINCE: u8 = 1 << 2;
const REPORTED: u8 = 1 << 3;
const LISTED_AT: u8 = 1 << 4;
const REPORTED_WARN: u8 = 1 << 5;
const REPORTED_ERROR: u8 = 1 << 6;
const ALL: u8 = (1 << 7) - 1;

/// An exact decimal: `mantissa * 10^-scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Price {
    /// All digits, as an integer.
    pub mantissa: i128,
    /// How many of the digits are behind the point.
    pub scale: u8,
}

/// Every digit, in plain notation: `189.120`, `-0.5`, `7`.
impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = usize::from(self.scale);
        // At least one digit before the point.
        let digits = format!("{:0>width$}", self.mantissa.unsigned_abs(), width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let point = if places > 0 { "." } else { "" };
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

impl Price {
    /// Both mantissas at the finer of the two scales; `None` where one of them does not fit: then the amounts are
    /// far from each other, unless no decimal of 28 digits could have been either.
    pub fn aligned(self, other: Self) -> Option<(i128, i128)> {
        if self.scale == other.scale {
            return Some((self.mantissa, other.mantissa));
        }
        let at = |price: Self, scale: u8| {
            let tens = 10_i128.checked_pow(u32::from(scale - price.scale))?;
            price.mantissa.checked_mul(tens)
        };
        let scale = self.scale.max(other.scale);
        Some((at(self, scale)?, at(other, scale)?))
    }

    /// Whether both are the same amount: `1.5` is `1.50`.
    pub fn is_amount(self, other: Self) -> bool {
        self == other || self.aligned(other).is_some_and(|(own, other)| own == other)
    }
}

/// Which silence has been reported, and at which levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reported {
    /// The `last_seen` that the silence counts from, in ms since 1970.
    pub silence_from: i64,
    /// Whether its `warn` has been reported.
    pub warn: bool,
    /// Whether its `error` has been reported.
    pub error: bool,
}

/// What is remembered of one symbol. Times are in ms since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SymbolRow {
    /// The highest event time of an accepted record.
    pub last_seen: Option<i64>,
    /// The last accepted price.
    pub price: Option<Price>,
    /// The event time since which the price has been the same.
    pub price_since: Option<i64>,
    /// The silence that has been reported, if any.
    pub reported: Option<Reported>,
    /// When the symbol was first put on the watch list.
    pub listed_at: Option<i64>,
}

impl SymbolRow {
    /// The row's bytes, as the changelog and the store hold them.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48);
        bytes.push(VERSION);
        bytes.push(self.presence());
        if let Some(last_seen) = self.last_seen {
            bytes.extend_from_slice(&last_seen.to_be_bytes());
        }
        if let Some(price) = self.price {
            encode_price(price, &mut bytes);
        }
        if let Some(price_since) = self.price_since {
            bytes.extend_from_slice(&price_since.to_be_bytes());
        }
        if let Some(reported) = self.reported {
            bytes.extend_from_slice(&reported.silence_from.to_be_bytes());
        }
        if let Some(listed_at) = self.listed_at {
            bytes.extend_from_slice(&listed_at.to_be_bytes());
        }
        bytes
    }

    /// Reads what `encode` wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let mut reader = Reader::versioned(bytes, VERSION)?;
        let presence = reader.u8()?;
        let has = |bit: u8| presence & bit != 0;
        if presence & !ALL != 0 || (!has(REPORTED) && (has(REPORTED_WARN) || has(REPORTED_ERROR))) {
            return Err(RowError::BadField { field: "presence" });
        }
        let row = Self {
            last_seen: reader.i64_if(has(LAST_SEEN))?,
            price: if has(PRICE) { Some(decode_price(&mut reader)?) } else { None },
            price_since: reader.i64_if(has(PRICE_SINCE))?,
            reported: reader.i64_if(has(REPORTED))?.map(|silence_from| Reported {
                silence_from,
                warn: has(REPORTED_WARN),
                error: has(REPORTED_ERROR),
            }),
            listed_at: reader.i64_if(has(LISTED_AT))?,
        };
        reader.end()?;
        Ok(row)
    }

    fn presence(&self) -> u8 {
        let bit = |present: bool, bit: u8| if present { bit } else { 0 };
        bit(self.last_seen.is_some(), LAST_SEEN)
            | bit(self.price.is_some(), PRICE)
            | bit(self.price_since.is_some(), PRICE_SINCE)
            | bit(self.reported.is_some(), REPORTED)
            | bit(self.listed_at.is_some(), LISTED_AT)
            | bit(self.reported.is_some_and(|reported| reported.warn), REPORTED_WARN)
            | bit(self.reported.is_some_and(|reported| reported.error), REPORTED_ERROR)
    }
}

fn encode_price(price: Price, bytes: &mut Vec<u8>) {
    let mantissa = price.mantissa.to_be_bytes();
    let shortest = &mantissa[superfluous(&mantissa)..];
    bytes.push(price.scale);
    bytes.extend_from_slice(&u8::try_from(shortest.len()).expect("an i128 has 16 bytes").to_be_bytes());
    bytes.extend_from_slice(shortest);
}

fn decode_price(reader: &mut Reader<'_>) -> Result<Price, RowError> {
    let bad = || RowError::BadField { field: "price" };
    let scale = reader.u8()?;
    let length = usize::from(reader.u8()?);
    if !(1..=16).contains(&length) {
        return Err(bad());
    }
    let shortest = reader.take(length)?;
    let sign = if shortest[0] & 0x80 == 0 { 0 } else { 0xff };
    let mut mantissa = [sign; 16];
    mantissa[16 - length..].copy_from_slice(shortest);
    if superfluous(&mantissa) != 16 - length {
        return Err(bad());
    }
    Ok(Price { mantissa: i128::from_be_bytes(mantissa), scale })
}

/// How many leading bytes only repeat the sign of the byte after them.
fn superfluous(mantissa: &[u8; 16]) -> usize {
    mantissa
        .windows(2)
        .take_while(|pair| (pair[0] == 0 && pair[1] & 0x80 == 0) || (pair[0] == 0xff && pair[1] & 0x80 != 0))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn price() -> impl Strategy<Value = Price> {
        let mantissa = prop_oneof![any::<i128>(), any::<i64>().prop_map(i128::from), -300_i128..300];
        (mantissa, any::<u8>()).prop_map(|(mantissa, scale)| Price { mantissa, scale })
    }

    fn reported() -> impl Strategy<Value = Reported> {
        (any::<i64>(), any::<bool>(), any::<bool>()).prop_map(|(silence_from, warn, error)| Reported {
            silence_from,
            warn,
            error,
        })
    }

    fn row() -> impl Strategy<Value = SymbolRow> {
        (
            any::<Option<i64>>(),
            proptest::option::of(price()),
            any::<Option<i64>>(),
            proptest::option::of(reported()),
            any::<Option<i64>>(),
        )
            .prop_map(|(last_seen, price, price_since, reported, listed_at)| SymbolRow {
                last_seen,
                price,
                price_since,
                reported,
                listed_at,
            })
    }

    proptest! {
        #[test]
        fn a_row_comes_back(row in row()) {
            prop_assert_eq!(SymbolRow::decode(&row.encode()), Ok(row));
        }

        #[test]
        fn a_shorter_value_is_truncated(row in row(), cut in any::<prop::sample::Index>()) {
            let bytes = row.encode();
            let cut = cut.index(bytes.len());
            let truncated = matches!(SymbolRow::decode(&bytes[..cut]), Err(RowError::Truncated { .. }));
            prop_assert!(truncated);
        }

        #[test]
        fn any_bytes_are_a_row_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 1..64)) {
            bytes[0] = VERSION;
            if let Ok(row) = SymbolRow::decode(&bytes) {
                prop_assert_eq!(row.encode(), bytes);
            }
        }
    }

    #[test]
    fn prices_show_every_digit() {
        let rows = [
            (18_912, 2, "189.12"),
            (189_120, 3, "189.120"),
            (7, 0, "7"),
            (0, 0, "0"),
            (0, 2, "0.00"),
            (-5, 1, "-0.5"),
            (1, 28, "0.0000000000000000000000000001"),
            (i128::MIN, 0, "-170141183460469231731687303715884105728"),
        ];
        for (mantissa, scale, text) in rows {
            assert_eq!(Price { mantissa, scale }.to_string(), text);
        }
    }

    #[test]
    fn amounts_are_compared_whatever_their_scale() {
        let price = |mantissa, scale| Price { mantissa, scale };
        assert!(price(15, 1).is_amount(price(1_500, 3)));
        assert!(!price(15, 1).is_amount(price(1_501, 3)));
        assert!(price(0, 0).is_amount(price(0, 28)));
        assert_eq!(price(15, 1).aligned(price(2, 0)), Some((15, 20)));
        assert_eq!(price(i128::MAX, 0).aligned(price(1, 1)), None);
        assert_eq!(price(1, 0).aligned(price(1, u8::MAX)), None);
        assert!(!price(i128::MIN, 0).is_amount(price(1, u8::MAX)));
    }

    #[test]
    fn the_wire_form_is_fixed() {
        let row = SymbolRow {
            last_seen: Some(1),
            price: Some(Price { mantissa: 18_912, scale: 2 }),
            price_since: None,
            reported: Some(Reported { silence_from: 1, warn: false, error: true }),
            listed_at: None,
        };
        let expected = [1, 0b100_1011, 0, 0, 0, 0, 0, 0, 0, 1, 2, 2, 0x49, 0xe0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(row.encode(), expected);
    }

    #[test]
    fn other_values_are_refused() {
        assert_eq!(SymbolRow::decode(&[2, 0]), Err(RowError::UnknownVersion { found: 2, known: VERSION }));
        assert_eq!(SymbolRow::decode(&[0, 0]), Err(RowError::UnknownVersion { found: 0, known: VERSION }));
        assert_eq!(SymbolRow::decode(&[1, 0, 9]), Err(RowError::TrailingBytes { found: 1 }));
        assert_eq!(SymbolRow::decode(&[1, 0x80]), Err(RowError::BadField { field: "presence" }));
        assert_eq!(SymbolRow::decode(&[1, REPORTED_WARN]), Err(RowError::BadField { field: "presence" }));
        assert_eq!(SymbolRow::decode(&[1, PRICE, 0, 2, 0, 1]), Err(RowError::BadField { field: "price" }));
        assert_eq!(SymbolRow::decode(&[1, PRICE, 0, 17]), Err(RowError::BadField { field: "price" }));
    }
}
