//! What Finnhub's websocket sends, read without judging it.
//!
//! Promises: any bytes are read as something, trade by trade, so that one bad trade never loses its
//! neighbours; a number is never touched: its text goes to `staging` as it came. Deliberately not in
//! here: rules. A trade with a negative, null, missing or doubled price is expressed as it is, and the
//! gate rejects it with the evidence; only what has no symbol to be keyed by is [`NotATrade`].

use std::borrow::Cow;
use std::io::Write as _;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::EventTime;

/// One message of the websocket.
#[derive(Debug, PartialEq)]
pub enum Message<'a> {
    /// A `trade` message: its trades in order, each readable or not.
    Trades(Vec<Result<Trade<'a>, NotATrade<'a>>>),
    /// The server's sign of life.
    Ping,
    /// What the server complains of, in its words.
    Error(String),
    /// None of these.
    Unreadable(NotATrade<'a>),
}

/// A trade as it was received: a symbol, and the known fields as text.
#[derive(Debug, PartialEq)]
pub struct Trade<'a> {
    symbol: Cow<'a, str>,
    /// In the order of [`Field`]; a field that came twice is here twice.
    fields: Vec<(Field, &'a str)>,
}

/// Bytes that cannot be expressed as a record of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotATrade<'a> {
    /// The bytes as received: the element of the message that is bad, or the whole message.
    pub bytes: &'a [u8],
    /// Why.
    pub reason: NotATradeReason,
}

/// Why bytes are not a trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NotATradeReason {
    /// The message is not UTF-8.
    NotUtf8,
    /// The message, or one element of its `data`, is not JSON.
    NotJson,
    /// The message, or one element of its `data`, is JSON but not an object.
    NotAnObject,
    /// The message's `type` is missing or none that is known.
    UnknownType,
    /// A trade message without a `data` array.
    NoData,
    /// No `s`, or none that is a non-empty string.
    NoSymbol,
    /// An answer about a quote without `c` or without `t`.
    NoQuote,
    /// A line of a recording that is none.
    DamagedLine,
}

impl NotATradeReason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::NotUtf8,
        Self::NotJson,
        Self::NotAnObject,
        Self::UnknownType,
        Self::NoData,
        Self::NoSymbol,
        Self::NoQuote,
        Self::DamagedLine,
    ];

    /// The reason as a word for logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::UnknownType => "unknown_type",
            Self::NoData => "no_data",
            Self::NoSymbol => "no_symbol",
            Self::NoQuote => "no_quote",
            Self::DamagedLine => "damaged_line",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Symbol,
    Price,
    Volume,
    Time,
}

impl<'a> Message<'a> {
    /// Reads one message; total on any bytes.
    pub fn read(bytes: &'a [u8]) -> Self {
        let Ok(text) = simdutf8::basic::from_utf8(bytes) else {
            return Self::unreadable(bytes, NotATradeReason::NotUtf8);
        };
        match Object::read(text) {
            Ok(envelope) => Self::from_envelope(text, &envelope),
            Err(reason) => salvaged(text).unwrap_or(Self::unreadable(bytes, reason)),
        }
    }

    fn from_envelope(text: &'a str, envelope: &Object<'a>) -> Self {
        match envelope.last("type").and_then(string).as_deref() {
            Some("trade") => {
                let data = envelope.last("data").map(serde_json::from_str::<Vec<&RawValue>>);
                match data {
                    Some(Ok(elements)) => {
                        Self::Trades(elements.into_iter().map(|raw| Trade::read(raw.get())).collect())
                    }
                    _ => Self::unreadable(text.as_bytes(), NotATradeReason::NoData),
                }
            }
            Some("ping") => Self::Ping,
            Some("error") => {
                let words =
                    envelope.last("msg").map(|raw| string(raw).map_or(raw.to_owned(), Cow::into_owned));
                Self::Error(words.unwrap_or_default())
            }
            _ => Self::unreadable(text.as_bytes(), NotATradeReason::UnknownType),
        }
    }

    fn unreadable(bytes: &'a [u8], reason: NotATradeReason) -> Self {
        Self::Unreadable(NotATrade { bytes, reason })
    }
}

impl<'a> Trade<'a> {
    /// Reads one element of a trade message's `data`.
    pub fn read(text: &'a str) -> Result<Self, NotATrade<'a>> {
        let not_a_trade = |reason| NotATrade { bytes: text.as_bytes(), reason };
        let object = Object::read(text).map_err(not_a_trade)?;
        let mut fields: Vec<(Field, &'a str)> = object
            .0
            .iter()
            .filter_map(|(name, raw)| Some((Field::of_finnhub(&name.0)?, raw.get())))
            .collect();
        fields.sort_by_key(|(field, _)| *field);
        let symbol = fields
            .iter()
            .rev()
            .filter(|(field, _)| *field == Field::Symbol)
            .find_map(|(_, raw)| string(raw).filter(|symbol| !symbol.is_empty()))
            .ok_or_else(|| not_a_trade(NotATradeReason::NoSymbol))?;
        Ok(Self { symbol, fields })
    }

    /// The symbol, which is the record's key.
    pub fn symbol(&self) -> &str {
        &self.symbol
    }

    /// The record's value on `staging`: a JSON object of `symbol`, `last_price`, `volume` and `timestamp`,
    /// each with the text that was received. A `t` in whole milliseconds becomes RFC 3339 in UTC; one that
    /// has no such form stays as it is, for the gate to judge.
    pub fn staging_value(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(128);
        value.push(b'{');
        for (at, (field, raw)) in self.fields.iter().enumerate() {
            if at > 0 {
                value.push(b',');
            }
            value.push(b'"');
            value.extend_from_slice(field.on_staging().as_bytes());
            value.extend_from_slice(b"\":");
            match (field, raw.parse::<i64>()) {
                (Field::Time, Ok(ms)) => push_time(&mut value, ms, raw),
                _ => value.extend_from_slice(raw.as_bytes()),
            }
        }
        value.push(b'}');
        value
    }
}

impl Field {
    fn of_finnhub(name: &str) -> Option<Self> {
        match name {
            "s" => Some(Self::Symbol),
            "p" => Some(Self::Price),
            "v" => Some(Self::Volume),
            "t" => Some(Self::Time),
            _ => None,
        }
    }

    fn on_staging(self) -> &'static str {
        match self {
            Self::Symbol => "symbol",
            Self::Price => "last_price",
            Self::Volume => "volume",
            Self::Time => "timestamp",
        }
    }
}

/// A JSON object's fields in order, doubles included.
pub(super) struct Object<'a>(Vec<(Name<'a>, &'a RawValue)>);

#[derive(serde::Deserialize)]
pub(super) struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Object<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, NotATradeReason> {
        serde_json::from_str(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => NotATradeReason::NotAnObject,
            _ => NotATradeReason::NotJson,
        })
    }

    /// The text of a field's value; of the last, if there are several.
    pub(super) fn last(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(found, _)| found.0 == name).map(|(_, raw)| raw.get())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Vec<(Name<'de>, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(map.size_hint().unwrap_or(5));
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Fields).map(Object)
    }
}

/// The string that `raw` is, if it is one.
fn string(raw: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Name<'_>>(raw).ok().map(|name| name.0)
}

fn push_time(value: &mut Vec<u8>, ms: i64, raw: &str) {
    match EventTime::from_millis(ms) {
        Some(time) => write!(value, "\"{time}\"").expect("a vector takes every write"),
        None => value.extend_from_slice(raw.as_bytes()),
    }
}

/// The elements of a trade message that is not JSON as a whole: the brackets of its `data` are followed
/// and each element is read on its own. `None` when that finds nothing.
fn salvaged(text: &str) -> Option<Message<'_>> {
    if !text.contains("\"trade\"") {
        return None;
    }
    let data =
        text.split_once("\"data\"")?.1.trim_start().strip_prefix(':')?.trim_start().strip_prefix('[')?;
    let elements = elements(data);
    if elements.is_empty() {
        return None;
    }
    Some(Message::Trades(elements.into_iter().map(Trade::read).collect()))
}

/// Splits what follows the `[` of an array at its own commas, up to its `]` or the end.
fn elements(data: &str) -> Vec<&str> {
    let mut elements = Vec::new();
    let (mut start, mut depth) = (0, 0_usize);
    let (mut quoted, mut escaped) = (false, false);
    let mut end = data.len();
    for (at, byte) in data.bytes().enumerate() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => depth += 1,
            b']' if depth == 0 => {
                end = at;
                break;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                elements.push(data[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    elements.push(data[start..end].trim());
    elements.retain(|element| !element.is_empty());
    elements
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Key and value of a record, or the bytes that are none and why.
    type Outcome<'a> = Result<(String, String), (&'a [u8], NotATradeReason)>;

    fn values(message: &str) -> Vec<Outcome<'_>> {
        let Message::Trades(trades) = Message::read(message.as_bytes()) else {
            panic!("expected trades in {message}");
        };
        let value = |trade: Trade<'_>| String::from_utf8(trade.staging_value()).unwrap();
        trades
            .into_iter()
            .map(|trade| match trade {
                Ok(trade) => Ok((trade.symbol().to_owned(), value(trade))),
                Err(bad) => Err((bad.bytes, bad.reason)),
            })
            .collect()
    }

    fn value_of(trade: &str) -> String {
        String::from_utf8(Trade::read(trade).unwrap().staging_value()).unwrap()
    }

    #[test]
    fn every_trade_of_a_message_keeps_its_digits() {
        let message = r#"{"data":[{"c":["1","12"],"p":189.1200,"s":"AAPL","t":1700000000123,"v":0},
            {"s":"IC MARKETS:1","p":0.10000000000000000000000001,"t":1700000000123,"v":1e2}],"type":"trade"}"#;
        assert_eq!(
            values(message),
            [
                Ok((
                    "AAPL".into(),
                    r#"{"symbol":"AAPL","last_price":189.1200,"volume":0,"timestamp":"2023-11-14T22:13:20.123Z"}"#
                        .into()
                )),
                Ok((
                    "IC MARKETS:1".into(),
                    r#"{"symbol":"IC MARKETS:1","last_price":0.10000000000000000000000001,"volume":1e2,"timestamp":"2023-11-14T22:13:20.123Z"}"#
                        .into()
                )),
            ]
        );
    }

    #[test]
    fn what_the_gate_must_judge_is_expressed_as_it_is() {
        for (trade, value) in [
            (
                r#"{"s":"A","p":-1,"v":1,"t":0}"#,
                r#"{"symbol":"A","last_price":-1,"volume":1,"timestamp":"1970-01-01T00:00:00.000Z"}"#,
            ),
            (r#"{"s":"A","p":null,"t":null}"#, r#"{"symbol":"A","last_price":null,"timestamp":null}"#),
            (r#"{"p":1,"s":"A","p":"2"}"#, r#"{"symbol":"A","last_price":1,"last_price":"2"}"#),
            (r#"{"s":"A","p":1e400,"v":{}}"#, r#"{"symbol":"A","last_price":1e400,"volume":{}}"#),
            (r#"{"s":"A","t":1.5}"#, r#"{"symbol":"A","timestamp":1.5}"#),
            (r#"{"s":"A","t":"1700000000123"}"#, r#"{"symbol":"A","timestamp":"1700000000123"}"#),
            (r#"{"s":"A","t":9999999999999999}"#, r#"{"symbol":"A","timestamp":9999999999999999}"#),
            (r#"{"s":"A","t":-1}"#, r#"{"symbol":"A","timestamp":"1969-12-31T23:59:59.999Z"}"#),
        ] {
            assert_eq!(value_of(trade), value);
        }
    }

    #[test]
    fn a_trade_without_a_symbol_is_alone_in_its_misfortune() {
        let message = r#"{"type":"trade","data":[{"s":"A","p":1},{"p":2},{"s":"","p":2},{"s":7},{"s":"\ud800"},17,null,{"s":"B","p":3}]}"#;
        let no_symbol = |bytes: &'static str| Err((bytes.as_bytes(), NotATradeReason::NoSymbol));
        let not_an_object = |bytes: &'static str| Err((bytes.as_bytes(), NotATradeReason::NotAnObject));
        assert_eq!(
            values(message),
            [
                Ok(("A".into(), r#"{"symbol":"A","last_price":1}"#.into())),
                no_symbol(r#"{"p":2}"#),
                no_symbol(r#"{"s":"","p":2}"#),
                no_symbol(r#"{"s":7}"#),
                no_symbol(r#"{"s":"\ud800"}"#),
                not_an_object("17"),
                not_an_object("null"),
                Ok(("B".into(), r#"{"symbol":"B","last_price":3}"#.into())),
            ]
        );
    }

    #[test]
    fn broken_json_loses_one_trade_and_not_the_message() {
        let message =
            r#"{"type":"trade","data":[{"s":"A","p":1},{"s":"B","p":NaN,"c":["]"]},{"s":"C","p":3}]}"#;
        assert_eq!(
            values(message),
            [
                Ok(("A".into(), r#"{"symbol":"A","last_price":1}"#.into())),
                Err((br#"{"s":"B","p":NaN,"c":["]"]}"#.as_slice(), NotATradeReason::NotJson)),
                Ok(("C".into(), r#"{"symbol":"C","last_price":3}"#.into())),
            ]
        );
        let cut = r#"{"type":"trade","data":[{"s":"A","p":1},{"s":"B","p"#;
        assert_eq!(values(cut)[1], Err((br#"{"s":"B","p"#.as_slice(), NotATradeReason::NotJson)));
    }

    #[test]
    fn other_messages() {
        assert_eq!(Message::read(br#"{"type":"ping"}"#), Message::Ping);
        assert_eq!(
            Message::read(br#"{"type":"error","msg":"Invalid symbol"}"#),
            Message::Error("Invalid symbol".into())
        );
        assert_eq!(Message::read(br#"{"type":"trade","data":[]}"#), Message::Trades(Vec::new()));
        for (bytes, reason) in [
            (b"\xff".as_slice(), NotATradeReason::NotUtf8),
            (b"", NotATradeReason::NotJson),
            (b"{", NotATradeReason::NotJson),
            (b"[1]", NotATradeReason::NotAnObject),
            (b"{}", NotATradeReason::UnknownType),
            (br#"{"type":"news","data":[]}"#, NotATradeReason::UnknownType),
            (br#"{"type":"trade"}"#, NotATradeReason::NoData),
            (br#"{"type":"trade","data":{"s":"A"}}"#, NotATradeReason::NoData),
        ] {
            assert_eq!(Message::read(bytes), Message::Unreadable(NotATrade { bytes, reason }));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::read(&bytes);
        }

        #[test]
        fn any_data_is_read_and_every_value_is_whole_or_given_back(
            data in "[\\[\\]{}\",:\\\\spvtcA0-9.eE -]{0,80}",
        ) {
            let message = format!("{{\"type\":\"trade\",\"data\":[{data}]}}");
            if let Message::Trades(trades) = Message::read(message.as_bytes()) {
                for trade in trades {
                    match trade {
                        Ok(trade) => {
                            let value = trade.staging_value();
                            prop_assert!(serde_json::from_slice::<&RawValue>(&value).is_ok());
                        }
                        Err(bad) => prop_assert!(message.contains(std::str::from_utf8(bad.bytes).unwrap())),
                    }
                }
            }
        }

        #[test]
        fn good_trades_survive_any_neighbour(
            price in "[0-9]{1,12}(\\.[0-9]{1,20})?",
            symbol in "[A-Z: ]{1,12}",
            junk in "(null|[0-9]+|\\{[a-z ]*\\}|\\{\"s\":NaN\\}|\"[a-z]*\")",
        ) {
            // A leading zero is not JSON.
            let price = format!("1{price}");
            let good = format!("{{\"s\":\"{symbol}\",\"p\":{price},\"v\":1,\"t\":1}}");
            let message = format!("{{\"data\":[{good},{junk},{good}],\"type\":\"trade\"}}");
            let read = values(&message);
            let expected = format!(
                "{{\"symbol\":\"{symbol}\",\"last_price\":{price},\"volume\":1,\"timestamp\":\"1970-01-01T00:00:00.001Z\"}}"
            );
            prop_assert_eq!(read.len(), 3);
            prop_assert_eq!(&read[0], &Ok((symbol.clone(), expected.clone())));
            prop_assert!(read[1].is_err());
            prop_assert_eq!(&read[2], &Ok((symbol, expected)));
        }
    }
}
