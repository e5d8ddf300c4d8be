//! What a symbol's quotes have come to, and what is suspect about the next one beside them.

use super::{RuleSettings, Suspects};
use crate::model::{Price, Rule, SymbolRow};

/// What the suspect rules remember of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// The highest event time of an accepted quote, in ms since 1970.
    pub last_seen: i64,
    /// The price of the last accepted quote that was not late.
    pub price: Price,
    /// The event time since which that has been the price.
    pub price_since: i64,
}

impl History {
    /// What a symbol's row says of it; `None` before its first quote.
    pub fn of(row: &SymbolRow) -> Option<Self> {
        Some(Self { last_seen: row.last_seen?, price: row.price?, price_since: row.price_since? })
    }

    /// A symbol's first quote.
    pub fn begin(event_time: i64, price: Price) -> Self {
        Self { last_seen: event_time, price, price_since: event_time }
    }

    /// The next accepted quote. A late one moves nothing.
    #[must_use]
    pub fn accept(self, event_time: i64, price: Price) -> Self {
        if event_time < self.last_seen {
            return self;
        }
        let price_since = if self.price.is_amount(price) { self.price_since } else { event_time };
        Self { last_seen: event_time, price, price_since }
    }

    /// What is suspect about the symbol's next quote. An equal time is not late. How far a price is from the
    /// last one is asked of late quotes too, how long it has stood still is not.
    pub fn judge(&self, event_time: i64, price: Price, settings: &RuleSettings) -> Suspects {
        let mut suspects = Suspects::default();
        if event_time < self.last_seen {
            suspects.insert(Rule::Late);
        } else if event_time.saturating_sub(self.price_since) > settings.repeated_price_after_ms
            && self.price.is_amount(price)
        {
            suspects.insert(Rule::RepeatedPrice);
        }
        if is_beyond(settings.price_jump_permille, self.price, price) {
            suspects.insert(Rule::PriceJump);
        }
        suspects.and(settings.suspects)
    }
}

/// Whether the larger price is more than `permille` thousandths of the smaller one. Exact.
fn is_beyond(permille: i64, one: Price, other: Price) -> bool {
    if one == other {
        return false;
    }
    let Some((one, other)) = one.aligned(other) else { return true };
    match (one.max(other).checked_mul(1_000), one.min(other).checked_mul(i128::from(permille))) {
        (Some(larger), Some(most)) => larger > most,
        (larger, _) => larger.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::number;
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    const HOUR: i64 = 3_600_000;

    fn price(text: &str) -> Price {
        let decimal = number::parse(text).unwrap();
        Price { mantissa: decimal.mantissa(), scale: u8::try_from(decimal.scale()).unwrap() }
    }

    #[test]
    fn a_quote_is_suspect_where_it_should_be() {
        let history = History { last_seen: 2 * HOUR, price: price("100"), price_since: HOUR };
        let largest = "9999999999999999999999999999";
        let smallest = "0.0000000000000000000000000001";
        let rows = [
            (2 * HOUR, "100", ""),
            (2 * HOUR - 1, "100", "late"),
            (2 * HOUR, "100.00", ""),
            (2 * HOUR + 1, "100", "repeated_price"),
            (2 * HOUR + 1, "100.000", "repeated_price"),
            (2 * HOUR + 1, "100.0001", ""),
            (2 * HOUR + 1, "200", ""),
            (2 * HOUR + 1, "200.0000000000000000000000001", "price_jump"),
            (2 * HOUR + 1, "50", ""),
            (2 * HOUR + 1, "49.9999999999999999999999999", "price_jump"),
            (2 * HOUR + 1, largest, "price_jump"),
            (2 * HOUR + 1, smallest, "price_jump"),
            (HOUR, "1", "price_jump,late"),
            (i64::MIN, "100", "late"),
            (i64::MAX, "100", "repeated_price"),
        ];
        for (time, text, expected) in rows {
            let suspects = history.judge(time, price(text), &RuleSettings::DEFAULT);
            assert_eq!(suspects.to_header(), expected, "{text} at {time}");
        }
    }

    #[test]
    fn what_is_off_marks_nothing() {
        let history = History { last_seen: 2 * HOUR, price: price("100"), price_since: HOUR };
        let suspects = Suspects::ALL.without(Rule::Late);
        let settings = RuleSettings { suspects, ..RuleSettings::DEFAULT };
        assert_eq!(history.judge(0, price("1"), &settings).to_header(), "price_jump");
    }

    #[test]
    fn prices_that_no_quote_has_are_no_reason_to_stop() {
        let odd = [i128::MIN, -1, 0, 1, i128::MAX];
        for one in odd {
            for other in odd {
                for scale in [0, 28, u8::MAX] {
                    let price = Price { mantissa: one, scale };
                    let history = History::begin(0, price);
                    let _ = history.judge(1, Price { mantissa: other, scale: 0 }, &RuleSettings::DEFAULT);
                }
            }
        }
    }

    proptest! {
        /// Against the same question asked of decimals that are short enough to be multiplied exactly.
        #[test]
        fn a_jump_is_one_in_decimals_too(
            one in (1..10_i64.pow(9), 0..6_u32),
            other in (1..10_i64.pow(9), 0..6_u32),
            permille in 1_001..1_000_000_i64,
        ) {
            let decimal = |(mantissa, scale)| Decimal::new(mantissa, scale);
            let price = |(mantissa, scale): (i64, u32)| Price { mantissa: i128::from(mantissa), scale: u8::try_from(scale).unwrap() };
            let (low, high) = (decimal(one).min(decimal(other)), decimal(one).max(decimal(other)));
            let expected = high > low * Decimal::new(permille, 3);
            prop_assert_eq!(is_beyond(permille, price(one), price(other)), expected);
        }
    }
}
