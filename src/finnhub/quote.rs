//! What Finnhub's REST interface answers when it is asked for a quote, read without judging it.
//!
//! Promises: any bytes are read as something; a price is never touched: its text goes to `staging` as it came.

use std::borrow::Cow;

use super::message::{NotATrade, NotATradeReason, Object};
use crate::model::EventTime;

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// A price and its time.
    Quote(Quote<'a>),
    /// Zeros or nulls: Finnhub does not know the symbol.
    Unknown,
    /// Neither.
    Unreadable(NotATrade<'a>),
}

/// A quote as it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote<'a> {
    /// `c`, the current price.
    price: &'a str,
    /// `t`, in seconds since 1970.
    time: &'a str,
}

/// When a quote was, to tell whether another one is newer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// Seconds since 1970.
    Seconds(i64),
    /// A `t` that is no whole number; the gate judges it.
    Other(String),
}

impl<'a> Answer<'a> {
    /// Reads one answer; total on any bytes.
    pub fn read(bytes: &'a [u8]) -> Self {
        match Quote::read(bytes) {
            Ok(quote) if is_nothing(quote.price) && is_nothing(quote.time) => Self::Unknown,
            Ok(quote) => Self::Quote(quote),
            Err(reason) => Self::Unreadable(NotATrade { bytes, reason }),
        }
    }
}

impl<'a> Quote<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, NotATradeReason> {
        let text = simdutf8::basic::from_utf8(bytes).map_err(|_| NotATradeReason::NotUtf8)?;
        let object = Object::read(text)?;
        let field = |name| object.last(name).ok_or(NotATradeReason::NoQuote);
        Ok(Self { price: field("c")?, time: field("t")? })
    }

    /// When it was.
    pub fn moment(&self) -> Moment {
        self.time.parse().map_or_else(|_| Moment::Other(self.time.to_owned()), Moment::Seconds)
    }

    /// The record's value on `staging`, with a volume of 0: a quote is a price without a trade. A `t` in whole
    /// seconds becomes RFC 3339 in UTC; one that has no such form stays as it is, for the gate to judge.
    pub fn staging_value(&self, symbol: &str) -> Vec<u8> {
        let symbol = serde_json::Value::from(symbol);
        let price = self.price;
        format!(r#"{{"symbol":{symbol},"last_price":{price},"volume":0,"timestamp":{}}}"#, self.time_value())
            .into_bytes()
    }

    fn time_value(&self) -> Cow<'a, str> {
        let ms = self.time.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1_000));
        match ms.and_then(EventTime::from_millis) {
            Some(time) => Cow::Owned(format!("\"{time}\"")),
            None => Cow::Borrowed(self.time),
        }
    }
}

impl Moment {
    /// Whether this is news after `last`.
    pub fn is_after(&self, last: &Self) -> bool {
        match (self, last) {
            (Self::Seconds(this), Self::Seconds(last)) => this > last,
            _ => self != last,
        }
    }
}

fn is_nothing(raw: &str) -> bool {
    raw == "null" || raw.parse::<f64>() == Ok(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> Option<String> {
        match Answer::read(text.as_bytes()) {
            Answer::Quote(quote) => Some(String::from_utf8(quote.staging_value("IC \"X\":1")).unwrap()),
            _ => None,
        }
    }

    fn reason(bytes: &[u8]) -> Option<NotATradeReason> {
        match Answer::read(bytes) {
            Answer::Unreadable(bad) if bad.bytes == bytes => Some(bad.reason),
            _ => None,
        }
    }

    #[test]
    fn a_quote_keeps_its_digits() {
        let text =
            r#"{"c":261.7400,"d":1.2,"dp":0.5,"h":263.31,"l":260.68,"o":261.07,"pc":259.45,"t":1582641000}"#;
        let expected = r#"{"symbol":"IC \"X\":1","last_price":261.7400,"volume":0,"timestamp":"2020-02-25T14:30:00.000Z"}"#;
        assert_eq!(value(text).as_deref(), Some(expected));
    }

    #[test]
    fn what_the_gate_must_judge_is_expressed_as_it_is() {
        for (text, end) in [
            (r#"{"c":-1,"t":1}"#, r#""last_price":-1,"volume":0,"timestamp":"1970-01-01T00:00:01.000Z"}"#),
            (r#"{"c":"1","t":"soon"}"#, r#""last_price":"1","volume":0,"timestamp":"soon"}"#),
            (r#"{"c":1,"t":1.5}"#, r#""last_price":1,"volume":0,"timestamp":1.5}"#),
            (
                r#"{"c":0,"t":9223372036854775807}"#,
                r#""last_price":0,"volume":0,"timestamp":9223372036854775807}"#,
            ),
        ] {
            assert!(value(text).is_some_and(|value| value.ends_with(end)), "{text}: {:?}", value(text));
        }
    }

    #[test]
    fn zeros_and_nulls_are_an_unknown_symbol() {
        for text in [
            r#"{"c":0,"d":null,"dp":null,"h":0,"l":0,"o":0,"pc":0,"t":0}"#,
            r#"{"c":null,"t":null}"#,
            r#"{"c":0.0,"t":null}"#,
        ] {
            assert_eq!(Answer::read(text.as_bytes()), Answer::Unknown, "{text}");
        }
    }

    #[test]
    fn anything_else_is_unreadable() {
        assert_eq!(reason(b"{\"c\":1"), Some(NotATradeReason::NotJson));
        assert_eq!(reason(b""), Some(NotATradeReason::NotJson));
        assert_eq!(reason(b"[]"), Some(NotATradeReason::NotAnObject));
        assert_eq!(reason(b"{}"), Some(NotATradeReason::NoQuote));
        assert_eq!(reason(br#"{"error":"oops"}"#), Some(NotATradeReason::NoQuote));
        assert_eq!(reason(b"\xff"), Some(NotATradeReason::NotUtf8));
    }

    #[test]
    fn a_moment_is_news_when_it_has_advanced() {
        let moment = |text: &str| match Answer::read(text.as_bytes()) {
            Answer::Quote(quote) => quote.moment(),
            other => panic!("{other:?}"),
        };
        let (five, six, odd) =
            (moment(r#"{"c":1,"t":5}"#), moment(r#"{"c":1,"t":6}"#), moment(r#"{"c":1,"t":"x"}"#));
        assert!(six.is_after(&five));
        assert!(!five.is_after(&six) && !five.is_after(&five));
        assert!(odd.is_after(&five) && five.is_after(&odd) && !odd.is_after(&odd));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Answer::read(&bytes);
        }
    }
}
