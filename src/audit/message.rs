//! One Kafka message as the auditor sees it, and the comparisons that are made on its parts.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::model::{Offset, Source, headers};

/// A header: name and value.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

/// How many bytes of a value a breach shows.
const SHOWN_BYTES_MAX: usize = 96;

/// A message of any of the four topics that are audited, borrowed from whoever fetched it.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// Its offset in its own topic.
    pub offset: Offset,
    /// Its Kafka time in ms since 1970, if it has one.
    pub kafka_time: Option<i64>,
    /// Key bytes.
    pub key: Option<&'a [u8]>,
    /// Value bytes; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in their order.
    pub headers: Vec<Header<'a>>,
}

impl<'a> Message<'a> {
    /// The value of the last header called `name`; an input may carry forged ones before it.
    pub fn last(&self, name: &str) -> Option<&'a [u8]> {
        last(&self.headers, name)
    }

    /// Which input the message stands for; `None` without the header or when it cannot be read.
    pub fn source(&self) -> Option<Source> {
        Source::decode(self.last(headers::SRC)?)
    }
}

/// The value of the last of `headers` that is called `name`.
pub(super) fn last<'a>(headers: &[Header<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().rev().find(|(found, _)| *found == name).and_then(|(_, value)| *value)
}

/// 64 bits that stand for any part of a message; the same only within one run.
pub(super) fn digest(part: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    part.hash(&mut hasher);
    hasher.finish()
}

/// Bytes as a person reads them, cut at a bound.
pub(super) fn shown(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    let head = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let mut text = match std::str::from_utf8(head) {
        Ok(text) if !text.contains(char::is_control) => format!("`{text}`"),
        _ => format!("`{}`", head.escape_ascii()),
    };
    if bytes.len() > head.len() {
        let _ = write!(text, "… ({} bytes)", bytes.len());
    }
    text
}

/// Header names as a person reads them, with how long each value is.
pub(super) fn shown_headers(headers: &[Header<'_>]) -> String {
    let names: Vec<_> = headers
        .iter()
        .take(16)
        .map(|(name, value)| match value {
            Some(value) if *name != headers::SRC => format!("{name}={}", shown(Some(value))),
            _ => (*name).to_owned(),
        })
        .collect();
    format!("{} headers: {}", headers.len(), names.join(", "))
}
