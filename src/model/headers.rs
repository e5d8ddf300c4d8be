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
