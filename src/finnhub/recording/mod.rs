//! Recordings: what a feed sent, a JSON line a message, with the time at which each came.
//!
//! A line is `{"at":1700000000123,"message":{"type":"trade",…}}`: `at` in ms since 1970, the message byte for
//! byte as it came. One that is no JSON of a single line stands as a string in `text`, and one that is no
//! text in `hex`. A file's name says how it is packed: `.gz`, `.zst`, anything else is plain.
//!
//! Promises: what is written is read back to the byte; a line that is damaged costs that line. Deliberately
//! not in here: what messages mean.

mod read;
mod write;

use std::borrow::Cow;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::read::{BadFile, Event, Settings, check, run};
pub use self::write::{Writer, WriterError};
use super::Bytes;

/// One message of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it came, in ms since 1970.
    pub at: i64,
    /// As it came.
    pub message: Bytes,
}

/// How a recording is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

#[derive(Deserialize)]
struct Written<'a> {
    at: i64,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    hex: Option<&'a str>,
}

impl Line {
    /// Reads a line without its end; `None` when it is damaged.
    pub fn read(line: &[u8]) -> Option<Self> {
        let written: Written<'_> = serde_json::from_slice(line).ok()?;
        let message = match (written.message, written.text, written.hex) {
            (Some(raw), None, None) => Bytes::copy_from_slice(raw.get().as_bytes()),
            (None, Some(text), None) => Bytes::from(text.into_owned()),
            (None, None, Some(hex)) => Bytes::from(from_hex(hex)?),
            _ => return None,
        };
        Some(Self { at: written.at, message })
    }

    /// The line with its end.
    pub fn write(&self) -> Vec<u8> {
        let (name, value) = match std::str::from_utf8(&self.message) {
            Ok(text) if is_plain_json(text) => ("message", Cow::Borrowed(text)),
            Ok(text) => ("text", Cow::Owned(serde_json::Value::from(text).to_string())),
            Err(_) => ("hex", Cow::Owned(format!("\"{}\"", to_hex(&self.message)))),
        };
        format!("{{\"at\":{},\"{name}\":{value}}}\n", self.at).into_bytes()
    }
}

/// Whether `text` can stand in a line as it is.
fn is_plain_json(text: &str) -> bool {
    // `null` would be read back as no message.
    let is_whole = |raw: &RawValue| raw.get().len() == text.len() && text != "null";
    !text.contains(['\n', '\r']) && serde_json::from_str::<&RawValue>(text).is_ok_and(is_whole)
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes every write");
    }
    text
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    digits.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(message: &[u8]) -> Line {
        Line { at: 1_700_000_000_123, message: Bytes::copy_from_slice(message) }
    }

    #[test]
    fn a_message_stands_as_it_came() {
        for (message, written) in [
            (br#"{"data":[{"p":1.10}]}"#.as_slice(), r#""message":{"data":[{"p":1.10}]}}"#),
            (b"{\"p\":NaN}", r#""text":"{\"p\":NaN}"}"#),
            (b"{\"p\":\n1}", r#""text":"{\"p\":\n1}"}"#),
            (b" {} ", r#""text":" {} "}"#),
            (b"null", r#""text":"null"}"#),
            (b"", r#""text":""}"#),
            (b"\xff\x00", r#""hex":"ff00"}"#),
        ] {
            let expected = format!("{{\"at\":1700000000123,{written}\n");
            assert_eq!(String::from_utf8(line(message).write()).unwrap(), expected);
        }
    }

    #[test]
    fn damage_is_noticed() {
        for damaged in [
            "",
            "{",
            "17",
            r#"{"message":{}}"#,
            r#"{"at":1}"#,
            r#"{"at":"1","message":{}}"#,
            r#"{"at":1,"message":{},"text":""}"#,
            r#"{"at":1,"hex":"f"}"#,
            r#"{"at":1,"hex":"fg"}"#,
            r#"{"at":1,"message":{"p":1"#,
        ] {
            assert_eq!(Line::read(damaged.as_bytes()), None, "{damaged}");
        }
        assert!(Line::read(br#" {"at":1,"from":"elsewhere","message":{}} "#).is_some());
    }

    proptest! {
        #[test]
        fn round_trips(at in any::<i64>(), message in proptest::collection::vec(any::<u8>(), 0..60)) {
            let line = Line { at, message: Bytes::from(message) };
            let written = line.write();
            prop_assert_eq!(written.iter().position(|byte| *byte == b'\n'), Some(written.len() - 1));
            prop_assert_eq!(Line::read(&written), Some(line));
        }

        #[test]
        fn texts_round_trip(text in r#"[ -~\n\r"\\{}\[\]]{0,40}"#) {
            let line = Line { at: 0, message: Bytes::from(text) };
            prop_assert_eq!(Line::read(&line.write()), Some(line));
        }
    }
}
