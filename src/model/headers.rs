//! Kafka headers that tickgate writes. Ours come last, and readers take the last of a name: an input may
//! carry forged ones.

use super::{Offset, Partition};

/// Which input an output stands for ([`Source`], 12 bytes).
pub const SRC: &str = "tg-src";
/// The state's epoch (`u32`, big-endian), once a reset has raised it above 0.
pub const EPOCH: &str = "tg-epoch";
/// Names of the suspect rules, comma-separated.
pub const SUSPECT: &str = "tg-suspect";
/// Which kind of output in `bad_data` this is.
pub const KIND: &str = "tg-kind";
/// The rejection as JSON.
pub const REJECTION: &str = "tg-rejection";

/// On a record of staging that `tickgate replay` has put there: where it came from ([`super::Replayed`], JSON).
pub const REPLAY: &str = "tg-replay";

/// The value of [`EPOCH`].
pub fn epoch_bytes(epoch: u32) -> [u8; 4] {
    epoch.to_be_bytes()
}

/// Reads [`EPOCH`]; `None` where it has another length, as a forged one may.
pub fn epoch_of(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// What a record of `bad_data` is, as its header [`KIND`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A record that broke rules; carries [`REJECTION`] and [`SRC`].
    Rejected,
    /// A tombstone that ended a symbol's watch; carries [`SRC`].
    Removed,
    /// A symbol fell silent.
    Stale,
    /// A symbol that had fallen silent is back.
    Recovered,
    /// A whole class fell silent.
    FeedSilent,
    /// A class that had fallen silent is back.
    FeedRecovered,
    /// What ingest received and could not read as a trade.
    NotATrade,
    /// Stands for a record that the broker refuses for good; carries [`SRC`].
    Unsendable,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Rejected,
        Self::Removed,
        Self::Stale,
        Self::Recovered,
        Self::FeedSilent,
        Self::FeedRecovered,
        Self::NotATrade,
        Self::Unsendable,
    ];

    /// The header's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Removed => "removed",
            Self::Stale => "stale",
            Self::Recovered => "recovered",
            Self::FeedSilent => "feed_silent",
            Self::FeedRecovered => "feed_recovered",
            Self::NotATrade => "not_a_trade",
            Self::Unsendable => "unsendable",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// The coordinates of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// Partition of `staging`.
    pub partition: Partition,
    /// Offset within it.
    pub offset: Offset,
}

impl Source {
    /// The header's bytes: `u32` partition, `u64` offset, both big-endian.
    #[allow(clippy::cast_sign_loss)] // neither is negative in a record that Kafka delivered
    pub fn encode(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&(self.partition as u32).to_be_bytes());
        bytes[4..].copy_from_slice(&(self.offset as u64).to_be_bytes());
        bytes
    }

    /// Reads the header back; `None` when it isn't 12 bytes or out of range.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 12] = bytes.try_into().ok()?;
        let (partition, offset) = bytes.split_at(4);
        Some(Self {
            partition: u32::from_be_bytes(partition.try_into().ok()?).try_into().ok()?,
            offset: u64::from_be_bytes(offset.try_into().ok()?).try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn epochs_read_back(epoch: u32, bytes: Vec<u8>) {
            prop_assert_eq!(epoch_of(&epoch_bytes(epoch)), Some(epoch));
            prop_assert_eq!(epoch_of(&bytes).is_some(), bytes.len() == 4);
        }
    }

    #[test]
    fn names_of_kinds_lead_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(*kind));
        }
        assert_eq!(Kind::ALL.len(), 8);
        assert_eq!(Kind::from_name("Rejected"), None);
    }

    /// Whoever reads our topics goes by these; they are for ever.
    #[test]
    fn others_know_the_headers_by_these_names_and_bytes() {
        let names = [SRC, EPOCH, SUSPECT, KIND, REJECTION, REPLAY];
        assert_eq!(names, ["tg-src", "tg-epoch", "tg-suspect", "tg-kind", "tg-rejection", "tg-replay"]);
        let source = Source { partition: 0x0102, offset: 0x0304_0506 };
        assert_eq!(source.encode(), [0, 0, 1, 2, 0, 0, 0, 0, 3, 4, 5, 6]);
    }

    proptest! {
        #[test]
        fn source_round_trips(partition in 0..i32::MAX, offset in 0..i64::MAX) {
            let source = Source { partition, offset };
            prop_assert_eq!(Source::decode(&source.encode()), Some(source));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Some(source) = Source::decode(&bytes) {
                prop_assert_eq!(source.encode().to_vec(), bytes);
            }
        }
    }
}
