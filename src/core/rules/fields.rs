//! What each known field must say. Every function gives the field's value or the first rule it breaks.

use super::too_large;
use super::view::{Field, View};
use crate::model::number::{self, NumberError};
use crate::model::{Broken, EventTime, Rule};
use rust_decimal::Decimal;
use std::borrow::Cow;

const SYMBOL: &str = "symbol";
const LAST_PRICE: &str = "last_price";
const VOLUME: &str = "volume";
const TIMESTAMP: &str = "timestamp";

/// The symbol: Unicode, not empty, at most `max_bytes` long.
pub(super) fn symbol<'a>(view: &View<'a>, max_bytes: usize) -> Result<Cow<'a, str>, Broken> {
    let raw = present(view.symbol, SYMBOL)?;
    let symbol = string(raw, SYMBOL)?;
    if symbol.is_empty() {
        return Err(Broken::new(Rule::WrongType, SYMBOL, raw, "a string that is not empty"));
    }
    if symbol.len() > max_bytes {
        return Err(too_large(SYMBOL, symbol.len(), max_bytes));
    }
    Ok(symbol)
}

/// The price: above 0.
pub(super) fn last_price(view: &View<'_>) -> Result<Decimal, Broken> {
    let raw = present(view.last_price, LAST_PRICE)?;
    let price = decimal(raw, LAST_PRICE)?;
    if price.is_zero() || price.is_sign_negative() {
        return Err(Broken::new(Rule::PriceNotPositive, LAST_PRICE, raw, "above 0"));
    }
    Ok(price)
}

/// The volume: 0 or more.
pub(super) fn volume(view: &View<'_>) -> Result<Decimal, Broken> {
    let raw = present(view.volume, VOLUME)?;
    let volume = decimal(raw, VOLUME)?;
    if volume.is_sign_negative() && !volume.is_zero() {
        return Err(Broken::new(Rule::NegativeVolume, VOLUME, raw, "0 or more"));
    }
    Ok(volume)
}

/// The event time: not after `latest`, in milliseconds since 1970, if that is known.
pub(super) fn event_time(view: &View<'_>, latest: Option<i64>) -> Result<EventTime, Broken> {
    let raw = present(view.timestamp, TIMESTAMP)?;
    let text = string(raw, TIMESTAMP)?;
    let Some(time) = EventTime::parse(&text) else {
        return Err(Broken::new(Rule::BadTime, TIMESTAMP, &text, "RFC 3339 with an offset"));
    };
    match latest {
        Some(latest) if time.0 > latest => {
            let expected = format!("at most {}", EventTime(latest));
            Err(Broken::new(Rule::FutureTime, TIMESTAMP, &text, expected))
        }
        _ => Ok(time),
    }
}

/// The field's JSON text, if it stands there once and is not null.
fn present<'a>(field: Field<'a>, name: &'static str) -> Result<&'a str, Broken> {
    match (field.raw.map(serde_json::value::RawValue::get), field.times) {
        (None, _) => Err(Broken::new(Rule::MissingField, name, "nothing", "the field")),
        (Some(_), 2..) => {
            Err(Broken::new(Rule::DuplicateField, name, &format!("{} times", field.times), "once"))
        }
        (Some("null"), _) => Err(Broken::new(Rule::NullField, name, "null", "a value")),
        (Some(raw), _) => Ok(raw),
    }
}

fn string<'a>(raw: &'a str, name: &'static str) -> Result<Cow<'a, str>, Broken> {
    let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err(Broken::new(Rule::WrongType, name, raw, "a string"));
    };
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    // The text is JSON, so an escape can only be wrong by naming half a surrogate pair.
    serde_json::from_str(raw)
        .map(Cow::Owned)
        .map_err(|_| Broken::new(Rule::NotUtf8, name, raw, "Unicode without lone surrogates"))
}

fn decimal(raw: &str, name: &'static str) -> Result<Decimal, Broken> {
    number::parse(raw).map_err(|error| {
        let (rule, expected) = match error {
            NumberError::NotANumber => (Rule::WrongType, "a number"),
            NumberError::TooLarge => (Rule::NotFinite, "a number below 10^28"),
            NumberError::TooPrecise => (Rule::TooPrecise, "at most 28 digits"),
        };
        Broken::new(rule, name, raw, expected)
    })
}
