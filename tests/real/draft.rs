//! A record before it is sent, and what can be done to it: shapes that are all good, faults that break the
//! rules they name, and headers that a stranger may have put on.

use tickgate::model::EventTime;

use crate::feed::Sent;

/// A record whose parts can still be changed. It begins as a good one.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The symbol as it was meant.
    pub symbol: String,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The event time as it was meant, in ms since 1970.
    pub time_ms: i64,
    /// The value's members in their order: name and JSON text.
    pub fields: Vec<(&'static str, String)>,
    /// Stands for the whole value when it is set.
    pub value: Option<Vec<u8>>,
    /// Whether there is no value at all.
    pub tombstone: bool,
}

/// Another form of a good record.
pub type Shape = fn(&mut Draft);

/// The rules that a record breaks, and how it comes to.
pub type Fault = (&'static [&'static str], fn(&mut Draft));

/// Headers: names and values.
pub type Headers = &'static [(&'static str, Option<&'static [u8]>)];

impl Draft {
    /// A good record.
    pub fn new(symbol: &str, price_cents: u32, volume: u32, time_ms: i64) -> Self {
        let time = EventTime(time_ms);
        Self {
            symbol: symbol.to_owned(),
            key: Some(symbol.as_bytes().to_vec()),
            time_ms,
            fields: vec![
                ("symbol", serde_json::to_string(symbol).unwrap()),
                ("last_price", format!("{}.{:02}", price_cents / 100, price_cents % 100)),
                ("volume", volume.to_string()),
                ("timestamp", format!("\"{time}\"")),
            ],
            value: None,
            tombstone: false,
        }
    }

    /// The record to send.
    pub fn finish(self) -> Sent {
        let value = match self.value {
            _ if self.tombstone => None,
            Some(value) => Some(value),
            None => Some(self.to_json().into_bytes()),
        };
        Sent { key: self.key, value, ..Sent::default() }
    }

    fn to_json(&self) -> String {
        let fields: Vec<_> = self.fields.iter().map(|(name, raw)| format!("\"{name}\":{raw}")).collect();
        format!("{{{}}}", fields.join(","))
    }

    fn say(&mut self, name: &'static str, raw: impl Into<String>) {
        let field = self.fields.iter_mut().find(|(known, _)| *known == name).unwrap();
        field.1 = raw.into();
    }

    fn add(&mut self, name: &'static str, raw: impl Into<String>) {
        self.fields.push((name, raw.into()));
    }

    fn drop(&mut self, name: &str) {
        self.fields.retain(|(known, _)| *known != name);
    }

    fn replace(&mut self, value: impl Into<Vec<u8>>) {
        self.value = Some(value.into());
    }

    fn rename(&mut self, symbol: &str) {
        self.say("symbol", serde_json::to_string(symbol).unwrap());
        self.key = Some(symbol.as_bytes().to_vec());
    }

    /// The value, `levels` deep.
    fn nest(&mut self, levels: usize) {
        self.add("deep", format!("{}1{}", "[".repeat(levels), "]".repeat(levels)));
    }

    /// Fills the value up with spaces.
    fn pad(&mut self, bytes: usize) {
        let value = self.to_json();
        self.replace(format!("{value}{}", " ".repeat(bytes - value.len())));
    }
}

/// All of them must pass.
pub const SHAPES: &[Shape] = &[
    |d| d.say("last_price", "189"),
    |d| d.say("last_price", "1.8912e2"),
    |d| d.say("last_price", "189.1200"),
    |d| d.say("last_price", "123456789012345678901.2345678"),
    |d| d.say("last_price", "0.0000000000000000000000000001"),
    |d| d.say("volume", "0"),
    |d| d.say("volume", "-0.0"),
    |d| d.say("volume", "0.00000001"),
    |d| d.say("timestamp", format!("\"{}+00:00\"", EventTime(d.time_ms).to_string().trim_end_matches('Z'))),
    |d| {
        let there = EventTime(d.time_ms + 19_800_000).to_string();
        d.say("timestamp", format!("\"{}456789+05:30\"", there.trim_end_matches('Z')));
    },
    |d| d.say("timestamp", format!("\"{}\"", EventTime(d.time_ms - 3_600_000))),
    |d| d.fields.reverse(),
    |d| d.add("conditions", r#"["1",{"a":[null,1e400,"\ud800"]}]"#),
    |d| d.fields.insert(0, ("Symbol", "-1".to_owned())),
    |d| d.nest(100),
    |d| {
        let escaped: Vec<_> = d.symbol.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        d.say("symbol", format!("\"{}\"", escaped.concat()));
    },
    |d| d.replace(d.to_json().replace("\":", "\" :\r\n\t").replace(",\"", " ,\n \"")),
    |d| d.pad(65_536),
];

/// Each breaks the rules it names, and no other. Every rule that a record alone decides is among them.
pub const FAULTS: &[Fault] = &[
    (&["not_utf8"], |d| d.replace([d.to_json().as_bytes(), b"\xff"].concat())),
    (&["not_utf8"], |d| d.say("symbol", r#""\ud800""#)),
    (&["not_utf8"], |d| (d.tombstone, d.key) = (true, Some(b"A\xc3".to_vec()))),
    (&["not_json"], |d| d.say("last_price", "NaN")),
    (&["not_json"], |d| d.say("last_price", "-Infinity")),
    (&["not_json"], |d| d.say("volume", "01")),
    (&["not_json"], |d| d.replace("")),
    (&["not_json"], |d| d.replace("no JSON at all")),
    (&["not_json"], |d| d.replace(&d.to_json().as_bytes()[..20])),
    (&["not_json"], |d| d.nest(20_000)),
    (&["not_an_object"], |d| d.replace(format!("[{}]", d.to_json()))),
    (&["not_an_object"], |d| d.replace("null")),
    (&["duplicate_field"], |d| d.add("volume", "1")),
    (&["duplicate_field"], |d| d.add("\\u0073ymbol", "\"X\"")),
    (&["missing_field"], |d| d.drop("volume")),
    (&["missing_field"], |d| d.drop("symbol")),
    (&["null_field"], |d| d.say("last_price", "null")),
    (&["wrong_type"], |d| d.say("last_price", "\"189.12\"")),
    (&["wrong_type"], |d| d.say("timestamp", "1795356000")),
    (&["wrong_type"], |d| d.say("symbol", "\"\"")),
    (&["not_finite"], |d| d.say("last_price", "1e400")),
    (&["not_finite"], |d| d.say("volume", "1e28")),
    (&["too_precise"], |d| d.say("last_price", "1.2345678901234567890123456789")),
    (&["price_not_positive"], |d| d.say("last_price", "0")),
    (&["price_not_positive"], |d| d.say("last_price", "-189.12")),
    (&["negative_volume"], |d| d.say("volume", "-1")),
    (&["bad_time"], |d| d.say("timestamp", "\"2026-11-22T14:00:00\"")),
    (&["bad_time"], |d| d.say("timestamp", "\"2026-02-30T14:00:00Z\"")),
    (&["bad_time"], |d| d.say("timestamp", "\"\"")),
    (&["future_time"], |d| d.say("timestamp", format!("\"{}\"", EventTime(d.time_ms + 86_400_000)))),
    (&["future_time"], |d| d.say("timestamp", "\"9999-12-31T23:59:59Z\"")),
    (&["key_mismatch"], |d| d.key = Some(b"another".to_vec())),
    (&["key_mismatch"], |d| d.key = Some(vec![0xff, 0])),
    (&["missing_key"], |d| d.key = None),
    (&["missing_key"], |d| d.key = Some(Vec::new())),
    (&["missing_key"], |d| (d.tombstone, d.key) = (true, None)),
    (&["too_large"], |d| d.pad(65_537)),
    (&["too_large"], |d| d.rename(&"é".repeat(129))),
    (&["too_large"], |d| (d.tombstone, d.key) = (true, Some(vec![b'K'; 257]))),
    // Several at once.
    (&["price_not_positive", "missing_field", "future_time"], |d| {
        d.say("last_price", "-1");
        d.drop("volume");
        d.say("timestamp", "\"2999-01-01T00:00:00Z\"");
    }),
    (&["null_field", "duplicate_field", "bad_time", "key_mismatch"], |d| {
        d.say("last_price", "null");
        d.add("volume", "-1");
        d.say("timestamp", "\"yesterday\"");
        d.key = Some(b"another".to_vec());
    }),
    // A record counts once for each break of a rule.
    (&["missing_field", "missing_field", "missing_field", "missing_field", "missing_key"], |d| {
        d.replace("{}");
        d.key = None;
    }),
    (&["not_json", "missing_key"], |d| {
        d.replace("{");
        d.key = None;
    }),
    (&["too_large", "wrong_type", "negative_volume", "not_finite"], |d| {
        d.say("volume", "-7");
        d.say("last_price", "-1e999");
        d.say("timestamp", "[]");
        d.pad(70_000);
    }),
];

/// Own headers of a producer, some of them forgeries of ours.
pub const HEADERS: &[Headers] = &[
    &[("trace", Some(b"4bf92f3577b34da6"))],
    &[("none", None), ("empty", Some(b"")), ("bytes", Some(b"\x00\xff"))],
    &[("twice", Some(b"1")), ("twice", Some(b"2"))],
    &[("tg-src", Some(b"\0\0\0\x01\0\0\0\0\0\0\0\x02")), ("tg-kind", Some(b"stale"))],
    &[("tg-src", Some(b"short")), ("tg-epoch", Some(b"\0\0\0\x09"))],
    &[("tg-rejection", Some(b"{}")), ("tg-suspect", Some(b"late")), ("tg-kind", None)],
];
