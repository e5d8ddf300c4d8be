//! The answers' wire forms, as whoever answers writes them and whoever asks reads them.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::row::SymbolState;
use crate::model::{Offset, Partition};

/// Whose state of a partition an answer was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holder {
    /// A worker of the instance works on the partition: the state is the newest there is.
    Owner,
    /// Another instance owns it, or this one is still taking it over: the state may lag.
    Replica,
    /// The store of an instance that does not run.
    Stopped,
}

/// Where a partition's state stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// The partition.
    pub partition: Partition,
    /// Whose state it is.
    pub source: Holder,
    /// The next changelog offset that is not in the state.
    pub changelog_next: Offset,
    /// The checkpoint's next input offset; none before the first round.
    pub next_offset: Option<Offset>,
    /// How often the partition has been reset.
    pub epoch: Option<u32>,
    /// How long ago the state was last known to be all of the changelog, in ms.
    pub age_ms: i64,
}

/// Where each partition stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partitions {
    /// The consumer group.
    pub group: String,
    /// Those with state here, in their order.
    pub partitions: Vec<PartitionState>,
}

/// Some symbols' rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbols {
    /// By partition and name.
    pub symbols: Vec<SymbolState>,
    /// Where the partitions that were looked at stood, in their order.
    pub partitions: Vec<PartitionState>,
    /// The cursor to go on with; none at the end. A page may be empty and have one.
    pub next: Option<String>,
}

/// Some of a partition's rows, of all kinds, as the changelog has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawRows {
    /// Where the partition stood.
    pub at: PartitionState,
    /// In the order of their keys.
    pub rows: Vec<RawRow>,
    /// Whether the partition has rows behind the last of these.
    pub has_more: bool,
}

/// A row's bytes, in hex outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawRow {
    /// The key in the changelog.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub key: Vec<u8>,
    /// The value there.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub value: Vec<u8>,
}

/// A question that has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{error}: expected {expected}, found {found}")]
pub struct Refused {
    /// The HTTP status: 400, 404, 500 or 503.
    pub status: u16,
    /// What is wrong.
    pub error: String,
    /// What should have been there.
    pub expected: String,
    /// What was.
    pub found: String,
}

impl Refused {
    /// The question itself is wrong.
    pub fn question(error: &str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { status: 400, error: error.to_owned(), expected: expected.into(), found: found.into() }
    }

    /// There is no such thing.
    pub fn absent(error: &str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { status: 404, ..Self::question(error, expected, found) }
    }

    /// The store did not answer.
    pub fn store(cause: &tickgate_state::StoreError) -> Self {
        let found = cause.to_string();
        Self { status: 500, ..Self::question("the state cannot be read", "a store that can be read", found) }
    }
}

fn to_hex<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&HEXLOWER.encode(bytes))
}

fn from_hex<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
    HEXLOWER.decode(text.as_bytes()).map_err(serde::de::Error::custom)
}
