//! [`judge`] gives every record exactly one verdict, whatever its bytes are. The verdict is a function of the
//! record and the settings: no clock, no state. Every rule that is broken is reported, but of each field only
//! the first: a price that is no number is not also not positive. A good record pays for none of this, as
//! evidence is only made where a rule is broken.
//!
//! `late`, `price_jump` and `repeated_price` need the symbol's [`History`] too. They can only mark: where a
//! record goes never depends on what came before it.

mod fields;
mod history;
mod suspects;
mod view;

pub use history::History;
pub use suspects::Suspects;

use crate::core::record::Record;
use crate::model::{Broken, Partition, Quote, Rejection, Rule, partition_of};
use view::View;

/// What the rules need to know besides the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSettings {
    /// How many milliseconds an event time may be ahead of the record's Kafka time.
    pub future_skew_ms: i64,
    /// Partitions of `staging`; 0 leaves `wrong_partition` unjudged.
    pub partitions: i32,
    /// The longest value, in bytes.
    pub max_value_bytes: usize,
    /// The longest symbol, in bytes of UTF-8.
    pub max_symbol_bytes: usize,
    /// From the last price to this one, up or down, in thousandths: more is a `price_jump`.
    pub price_jump_permille: i64,
    /// Event time in milliseconds; a price that has been the same for longer is a `repeated_price`.
    pub repeated_price_after_ms: i64,
    /// The suspect rules that are judged at all.
    pub suspects: Suspects,
    /// Whether `wrong_partition` rejects instead of marking.
    pub rejects_wrong_partition: bool,
}

impl RuleSettings {
    /// What holds where nothing is set, but for the number of partitions.
    pub const DEFAULT: Self = Self {
        future_skew_ms: 5_000,
        partitions: 0,
        max_value_bytes: 65_536,
        max_symbol_bytes: 256,
        price_jump_permille: 2_000,
        repeated_price_after_ms: 3_600_000,
        suspects: Suspects::ALL,
        rejects_wrong_partition: false,
    };
}

impl Default for RuleSettings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It is a quote; it passes, marked with what is suspect about it.
    Accepted {
        /// What it says.
        quote: Quote<'a>,
        /// The rules it broke that only mark.
        suspects: Suspects,
    },
    /// It is a tombstone: the symbol's watch ends.
    Removed {
        /// Whose watch.
        symbol: &'a str,
    },
    /// It broke rules.
    Rejected(Rejection),
}

/// Judges one record. Total: any bytes have a verdict.
pub fn judge<'a>(record: &Record<'a>, settings: &RuleSettings) -> Verdict<'a> {
    let Some(value) = record.value else { return judge_tombstone(record, settings) };
    let mut broken = Vec::new();
    if value.len() > settings.max_value_bytes {
        broken.push(too_large(VALUE, value.len(), settings.max_value_bytes));
    }
    let quote = match View::read(value) {
        Ok(view) => judge_fields(&view, record, settings, &mut broken),
        Err(unreadable) => {
            broken.push(unreadable);
            judge_key(record, None, &mut broken);
            None
        }
    };
    let suspects = judge_place(record, settings, &mut broken);
    match quote {
        Some(quote) if broken.is_empty() => Verdict::Accepted { quote, suspects },
        _ => Verdict::Rejected(Rejection { broken }),
    }
}

/// All fields, and the key beside them; `None` when one of them is no part of a quote.
fn judge_fields<'a>(
    view: &View<'a>,
    record: &Record<'a>,
    settings: &RuleSettings,
    broken: &mut Vec<Broken>,
) -> Option<Quote<'a>> {
    let symbol = keep(broken, fields::symbol(view, settings.max_symbol_bytes));
    let last_price = keep(broken, fields::last_price(view));
    let volume = keep(broken, fields::volume(view));
    let latest = record.kafka_time.map(|time| time.saturating_add(settings.future_skew_ms));
    let event_time = keep(broken, fields::event_time(view, latest));
    judge_key(record, symbol.as_deref(), broken);
    Some(Quote { symbol: symbol?, last_price: last_price?, volume: volume?, event_time: event_time? })
}

fn judge_key(record: &Record<'_>, symbol: Option<&str>, broken: &mut Vec<Broken>) {
    match (record.key, symbol) {
        (None | Some(b""), _) => broken.push(missing_key(record)),
        (Some(key), Some(symbol)) if key != symbol.as_bytes() => {
            let expected = format!("the symbol `{symbol}`");
            broken.push(Broken::new(Rule::KeyMismatch, KEY, &String::from_utf8_lossy(key), expected));
        }
        _ => {}
    }
}

/// A tombstone has only its key to say whose watch ends.
fn judge_tombstone<'a>(record: &Record<'a>, settings: &RuleSettings) -> Verdict<'a> {
    let broken = match record.key {
        None | Some(b"") => missing_key(record),
        Some(key) if key.len() > settings.max_symbol_bytes => {
            too_large(KEY, key.len(), settings.max_symbol_bytes)
        }
        Some(key) => match view::text_of(key, KEY) {
            Ok(symbol) => return Verdict::Removed { symbol },
            Err(not_utf8) => not_utf8,
        },
    };
    Verdict::Rejected(Rejection { broken: vec![broken] })
}

/// Whether the record is where its key belongs; a record without a key belongs nowhere.
fn judge_place(record: &Record<'_>, settings: &RuleSettings, broken: &mut Vec<Broken>) -> Suspects {
    let mut suspects = Suspects::default();
    let Some(key) = record.key.filter(|key| !key.is_empty()) else { return suspects };
    if settings.partitions <= 0 || !settings.suspects.contains(Rule::WrongPartition) {
        return suspects;
    }
    let home = partition_of(key, settings.partitions);
    if home != record.partition && settings.rejects_wrong_partition {
        broken.push(wrong_partition(record.partition, home));
    } else if home != record.partition {
        suspects.insert(Rule::WrongPartition);
    }
    suspects
}

const KEY: &str = "key";
const VALUE: &str = "value";

fn keep<T>(broken: &mut Vec<Broken>, read: Result<T, Broken>) -> Option<T> {
    read.map_err(|one| broken.push(one)).ok()
}

#[cold]
fn missing_key(record: &Record<'_>) -> Broken {
    let found = if record.key.is_none() { "null" } else { "no bytes" };
    Broken::new(Rule::MissingKey, KEY, found, "the symbol")
}

#[cold]
fn wrong_partition(found: Partition, home: Partition) -> Broken {
    let expected = format!("partition {home}, the key's by murmur2");
    Broken::new(Rule::WrongPartition, KEY, &format!("partition {found}"), expected)
}

#[cold]
fn too_large(field: &'static str, bytes: usize, most: usize) -> Broken {
    Broken::new(Rule::TooLarge, field, &format!("{bytes} bytes"), format!("at most {most} bytes"))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
