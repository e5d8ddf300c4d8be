//! The value of a record as far as it is JSON: the raw text of each known field. Reading it is the only
//! pass over the whole value, and allocates nothing; what the fields say is `fields`' to judge.

use super::VALUE;
use crate::model::{Broken, Rule};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// How deep arrays and objects may stand in each other, the value's own object being the first. JSON itself
/// knows no limit, but parsers downstream end their process on less than 20,000.
pub(super) const MAX_DEPTH: usize = 128;

/// The known fields of a value.
#[derive(Debug, Default)]
pub(super) struct View<'a> {
    pub(super) symbol: Field<'a>,
    pub(super) last_price: Field<'a>,
    pub(super) volume: Field<'a>,
    pub(super) timestamp: Field<'a>,
    too_deep: bool,
}

/// One known field of a value.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Field<'a> {
    /// Its JSON text, where it stands last.
    pub(super) raw: Option<&'a RawValue>,
    /// How often it stands there.
    pub(super) times: u32,
}

impl<'a> View<'a> {
    /// Reads a value: `not_utf8`, `not_json` or `not_an_object` where it is none.
    pub(super) fn read(value: &'a [u8]) -> Result<Self, Broken> {
        let text = text_of(value, VALUE)?;
        match serde_json::from_str::<Self>(text) {
            Ok(view) if view.too_deep => Err(too_deep(text)),
            Ok(view) => Ok(view),
            Err(error) => Err(unreadable(text, &error)),
        }
    }
}

/// `bytes` as text, or `not_utf8` for `field`.
pub(super) fn text_of<'a>(bytes: &'a [u8], field: &'static str) -> Result<&'a str, Broken> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| not_utf8(bytes, field))
}

#[cold]
fn not_utf8(bytes: &[u8], field: &'static str) -> Broken {
    let valid = simdutf8::compat::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    let found = match bytes.get(valid) {
        Some(byte) => format!("byte 0x{byte:02x} at {valid}"),
        None => "no UTF-8".to_owned(),
    };
    Broken::new(Rule::NotUtf8, field, &found, "UTF-8")
}

#[cold]
fn unreadable(text: &str, error: &serde_json::Error) -> Broken {
    if text.trim_start().starts_with('{') {
        return not_json(text, error);
    }
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) if is_deeper_than(MAX_DEPTH, text) => too_deep(text),
        Ok(_) => Broken::new(Rule::NotAnObject, VALUE, text, "a JSON object"),
        Err(error) => not_json(text, &error),
    }
}

/// The evidence is the text around the place where the parser gave up.
fn not_json(text: &str, error: &serde_json::Error) -> Broken {
    let before_line: usize =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let place = text.floor_char_boundary(before_line + error.column());
    let start = text.floor_char_boundary(place.saturating_sub(32));
    Broken::new(Rule::NotJson, VALUE, &text[start..], format!("JSON: {error}"))
}

#[cold]
fn too_deep(text: &str) -> Broken {
    Broken::new(Rule::NotJson, VALUE, text, format!("JSON nested at most {MAX_DEPTH} deep"))
}

/// Whether arrays and objects stand more than `most` deep in each other. `json` must be JSON.
fn is_deeper_than(most: usize, json: &str) -> bool {
    let shortest = 2 * (most + 1);
    if json.len() < shortest {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            return true;
        }
    }
    false
}

/// The name of a member of the value's object.
enum Name {
    Symbol,
    LastPrice,
    Volume,
    Timestamp,
    Unknown,
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a field's name")
    }

    fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<Name, E> {
        Ok(match name {
            b"symbol" => Name::Symbol,
            b"last_price" => Name::LastPrice,
            b"volume" => Name::Volume,
            b"timestamp" => Name::Timestamp,
            _ => Name::Unknown,
        })
    }
}

impl<'de> Deserialize<'de> for Name {
    /// As bytes: an unknown name with a lone surrogate is ignored like any other.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_bytes(NameVisitor)
    }
}

struct ViewVisitor;

impl<'de> Visitor<'de> for ViewVisitor {
    type Value = View<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<View<'de>, M::Error> {
        let mut view = View::default();
        while let Some(name) = members.next_key::<Name>()? {
            let raw: &'de RawValue = members.next_value()?;
            view.too_deep |= is_deeper_than(MAX_DEPTH - 1, raw.get());
            let field = match name {
                Name::Symbol => &mut view.symbol,
                Name::LastPrice => &mut view.last_price,
                Name::Volume => &mut view.volume,
                Name::Timestamp => &mut view.timestamp,
                Name::Unknown => continue,
            };
            field.raw = Some(raw);
            field.times = field.times.saturating_add(1);
        }
        Ok(view)
    }
}

impl<'de> Deserialize<'de> for View<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ViewVisitor)
    }
}
