//! An output as the message it becomes: what it keeps of its input, and our headers, which come behind the
//! input's.

use super::effect::Output;
use super::record::Record;
use crate::model::{Kind, Source, fnv1a, headers};

/// How much of the key an `unsendable` note shows, in bytes.
const SHOWN_KEY_BYTES: usize = 256;

impl Output {
    /// Index of its input in the batch; an event has none.
    pub fn at(&self) -> Option<usize> {
        match self {
            Self::Forward { at, .. }
            | Self::Reject { at, .. }
            | Self::Remove { at, .. }
            | Self::Unsendable { at, .. } => Some(*at),
            Self::Event { .. } => None,
        }
    }

    /// Its kind, which its header names; `None` for what goes to `stock_data`, where there is only one.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Forward { .. } => None,
            Self::Reject { .. } => Some(Kind::Rejected),
            Self::Remove { .. } => Some(Kind::Removed),
            Self::Unsendable { .. } => Some(Kind::Unsendable),
            Self::Event { kind, .. } => Some(*kind),
        }
    }

    /// Whether key, value, record time and headers are the input's, untouched.
    pub fn keeps_input(&self) -> bool {
        matches!(self, Self::Forward { .. } | Self::Reject { .. } | Self::Remove { .. })
    }

    /// Hands our headers to `add`, in their order; `source` is the input's place. Readers take the last of a
    /// name: where the kept headers may carry a name of ours, ours is written even if there is nothing to tell.
    pub fn own_headers(
        &self,
        source: Source,
        may_carry: impl Fn(&str) -> bool,
        mut add: impl FnMut(&'static str, &[u8]),
    ) {
        let forged = |name| self.keeps_input() && may_carry(name);
        if let Self::Forward { epoch, .. }
        | Self::Reject { epoch, .. }
        | Self::Remove { epoch, .. }
        | Self::Unsendable { epoch, .. } = self
        {
            add(headers::SRC, &source.encode());
            if *epoch != 0 || forged(headers::EPOCH) {
                add(headers::EPOCH, &headers::epoch_bytes(*epoch));
            }
        }
        if let Some(kind) = self.kind() {
            add(headers::KIND, kind.name().as_bytes());
        }
        match self {
            Self::Forward { suspects, .. } if !suspects.is_empty() || forged(headers::SUSPECT) => {
                add(headers::SUSPECT, suspects.to_header().as_bytes());
            }
            Self::Reject { rejection, .. } => add(headers::REJECTION, rejection),
            _ => {}
        }
    }
}

/// What stands in place of an output that Kafka refuses: its input's key in hex, cut at 256 bytes, how large
/// the value was and its hash, and why.
pub fn describe_unsendable(input: &Record<'_>, reason: &str) -> Vec<u8> {
    let hex = |key: &[u8]| {
        key.iter().take(SHOWN_KEY_BYTES).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
    };
    let value = input.value.unwrap_or_default();
    serde_json::json!({
        "key_hex": input.key.map(hex),
        "value_bytes": value.len(),
        "value_fnv1a": format!("{:016x}", fnv1a(value)),
        "error": reason,
    })
    .to_string()
    .into_bytes()
}
