//! A quote and its wire form on `staging`. Reading one from bytes that may be anything is judging it:
//! that is `core::rules`' work.

use super::EventTime;
use rust_decimal::Decimal;
use std::borrow::Cow;
use tickgate_state::Price;

/// A record that passed: what one symbol's trade said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote<'a> {
    /// What was traded; the record's key.
    pub symbol: Cow<'a, str>,
    /// Above 0; every digit as it came in.
    pub last_price: Decimal,
    /// 0 or more.
    pub volume: Decimal,
    /// When it was traded.
    pub event_time: EventTime,
}

impl Quote<'_> {
    /// The value of its record on `staging`, numbers with every digit they have:
    /// `{"symbol":"AAPL","last_price":189.12,"volume":100,"timestamp":"2026-11-22T14:00:00.123Z"}`.
    pub fn to_json(&self) -> Vec<u8> {
        let Self { symbol, last_price, volume, event_time } = self;
        let symbol = serde_json::to_string(symbol).expect("a string can always be written as JSON");
        format!(
            r#"{{"symbol":{symbol},"last_price":{last_price},"volume":{volume},"timestamp":"{event_time}"}}"#
        )
        .into_bytes()
    }

    /// The price as the store keeps it.
    pub fn price(&self) -> Price {
        let scale = u8::try_from(self.last_price.scale()).expect("a decimal has at most 28 places");
        Price { mantissa: self.last_price.mantissa(), scale }
    }

    /// The same quote, borrowing nothing.
    pub fn into_owned(self) -> Quote<'static> {
        Quote {
            symbol: Cow::Owned(self.symbol.into_owned()),
            last_price: self.last_price,
            volume: self.volume,
            event_time: self.event_time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_contract() {
        let mut quote = Quote {
            symbol: "AAPL".into(),
            last_price: Decimal::new(18_912, 2),
            volume: Decimal::new(100, 0),
            event_time: EventTime(1_795_356_000_123),
        };
        assert_eq!(quote.price(), Price { mantissa: 18_912, scale: 2 });
        let expected =
            r#"{"symbol":"AAPL","last_price":189.12,"volume":100,"timestamp":"2026-11-22T14:00:00.123Z"}"#;
        assert_eq!(String::from_utf8(quote.to_json()).unwrap(), expected);
        quote.symbol = "a\"b\\\u{1}é".into();
        quote.last_price = Decimal::from_i128_with_scale(10_i128.pow(28) - 1, 28);
        let json = String::from_utf8(quote.to_json()).unwrap();
        assert!(
            json.starts_with(r#"{"symbol":"a\"b\\\u0001é","last_price":0.9999999999999999999999999999,"#)
        );
    }
}
