//! A record of `stock_data` as a row, or why it can't be one. Pure.

use crate::core::record::Record;
use crate::core::rules::{RuleSettings, Verdict, judge};
use crate::journal::kafka::dead_letters::{Death, Original};
use crate::journal::kafka::headers;
use crate::model::headers::SRC;
use crate::model::{Row, Source};
use rdkafka::message::{BorrowedMessage, Message as _};

/// The gate has judged the record by its own limits; here only what a row needs counts.
const ANY_SIZE: RuleSettings = RuleSettings {
    future_skew_ms: i64::MAX,
    partitions: 0,
    max_value_bytes: usize::MAX,
    max_symbol_bytes: usize::MAX,
    ..RuleSettings::DEFAULT
};

/// A copy of a record, and the row that it stands for.
pub(super) fn read(message: &BorrowedMessage<'_>) -> (Original, Result<Row, Death>) {
    let headers = headers::read(message);
    let source = headers.iter().rev().flatten().find(|(name, _)| *name == SRC).and_then(|(_, value)| *value);
    let record = Record {
        partition: message.partition(),
        offset: message.offset(),
        kafka_time: message.timestamp().to_millis(),
        key: message.key(),
        value: message.payload(),
    };
    (Original::of(message), row_of(&record, source))
}

/// The row that a record stands for; `source` is its last header `tg-src`.
pub(in crate::roles) fn row_of(record: &Record<'_>, source: Option<&[u8]>) -> Result<Row, Death> {
    let Some(source) = source.and_then(Source::decode) else {
        let found = source.map_or("none".to_owned(), |bytes| format!("{} bytes", bytes.len()));
        let detail = format!("expected a header `tg-src` of 12 bytes, partition and offset, found {found}");
        return Err(Death { reason: "no_source", detail });
    };
    match judge(record, &ANY_SIZE) {
        Verdict::Accepted { quote, .. } => Ok(Row::new(quote, source)),
        Verdict::Removed { .. } => {
            let detail = "expected a quote, found a record without a value".to_owned();
            Err(Death { reason: "bad_value", detail })
        }
        Verdict::Rejected(rejection) => {
            let told = rejection.broken.iter().map(|broken| {
                let (rule, field) = (broken.rule.name(), &broken.field);
                format!("{rule}: `{field}`: expected {}, found {}", broken.expected, broken.found)
            });
            Err(Death { reason: "bad_value", detail: told.collect::<Vec<_>>().join("; ") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: Option<&str>, source: Option<&[u8]>) -> Result<Row, Death> {
        let (key, value) = (Some(&b"AAPL"[..]), value.map(str::as_bytes));
        row_of(&Record { partition: 1, offset: 7, kafka_time: Some(0), key, value }, source)
    }

    #[test]
    fn a_quote_is_a_row_whatever_its_size_and_time() {
        let source = Source { partition: 1, offset: 7 };
        let padding = "x".repeat(2_000_000);
        let value = format!(
            r#"{{"symbol":"AAPL","last_price":1.50,"volume":1e2,"timestamp":"2030-01-01T00:00:00Z","note":"{padding}"}}"#
        );
        let row = row(Some(&value), Some(&source.encode())).unwrap();
        assert_eq!((row.symbol.as_str(), row.source), ("AAPL", source));
        assert_eq!(
            (row.last_price.to_string(), row.volume.to_string()),
            ("1.50".to_owned(), "100".to_owned())
        );
    }

    #[test]
    fn what_can_be_no_row_says_why() {
        let source = Source { partition: 1, offset: 7 }.encode();
        let death = |value, source| row(value, source).unwrap_err();
        assert_eq!(death(Some("{}"), None).reason, "no_source");
        assert!(death(Some("{}"), Some(&source[1..])).detail.contains("found 11 bytes"));
        assert_eq!(death(None, Some(&source)).reason, "bad_value");
        let told = death(Some("{}"), Some(&source)).detail;
        assert!(told.contains("missing_field: `last_price`: expected"), "{told}");
    }
}
