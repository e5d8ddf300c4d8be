//! A changelog row's bytes in words, whatever they are.

use data_encoding::HEXLOWER;
use tickgate_state::{ClassRow, RowError, RowKey};

use super::table::text;
use crate::model::{CheckpointRow, EventTime, SymbolRow};

/// Whose row it is.
pub(super) fn key(key: &[u8]) -> String {
    match RowKey::decode(key) {
        Ok(RowKey::Symbol(name)) => format!("symbol `{}`", name.escape_debug()),
        Ok(RowKey::Class(name)) => format!("class `{}`", name.escape_debug()),
        Ok(RowKey::Checkpoint) => "checkpoint".to_owned(),
        Err(_) => format!("key {}", HEXLOWER.encode(key)),
    }
}

/// What it says; bytes that nobody can read are shown as they are.
pub(super) fn value(key: &[u8], value: Option<&[u8]>) -> String {
    let Some(value) = value else { return "no row".to_owned() };
    read(key, value).unwrap_or_else(|error| format!("{} ({error})", HEXLOWER.encode(value)))
}

fn read(key: &[u8], value: &[u8]) -> Result<String, RowError> {
    let time = |ms: Option<i64>| text(ms.map(EventTime));
    Ok(match RowKey::decode(key)? {
        RowKey::Symbol(_) => {
            let row = SymbolRow::decode(value)?;
            let reported = row.reported.map(|reported| {
                let (warn, error) = (reported.warn, reported.error);
                format!("{} (warn {warn}, error {error})", EventTime(reported.silence_from))
            });
            format!(
                "last seen {}, price {} since {}, reported {}, listed {}",
                time(row.last_seen),
                text(row.price),
                time(row.price_since),
                text(reported),
                time(row.listed_at)
            )
        }
        RowKey::Class(_) => {
            let row = ClassRow::decode(value)?;
            format!("last accepted {}, silent from {}", time(row.last_accepted), time(row.silent_from))
        }
        RowKey::Checkpoint => {
            let CheckpointRow { next_offset, epoch, fingerprint, input_time } = CheckpointRow::decode(value)?;
            let input_time = time(input_time);
            format!(
                "next offset {next_offset}, epoch {epoch}, settings {fingerprint:016x}, input time {input_time}"
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Price;

    #[test]
    fn rows_are_told_and_garbage_is_shown() {
        let row = SymbolRow {
            last_seen: Some(0),
            price: Some(Price { mantissa: 150, scale: 2 }),
            ..SymbolRow::default()
        };
        let symbol = RowKey::Symbol("A\u{1b}").encode();
        assert_eq!(key(&symbol), "symbol `A\\u{1b}`");
        assert_eq!(
            value(&symbol, Some(&row.encode())),
            "last seen 1970-01-01T00:00:00.000Z, price 1.50 since -, reported -, listed -"
        );
        assert_eq!(value(&symbol, None), "no row");
        assert!(value(&symbol, Some(&[9, 9])).starts_with("0909 (version 9"));
        assert_eq!(key(b"x\xff"), "key 78ff");
    }
}
