//! The checkpoint row: the input that a partition's state stands for.
//!
//! Version 1: version, presence byte, next offset, epoch, fingerprint, then the input time if present.

use super::{Reader, RowError};

const VERSION: u8 = 1;

const INPUT_TIME: u8 = 1;

/// Where in staging a partition's state stands, written by every round that touches the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRow {
    /// The offset of the next input; must equal the group's committed offset.
    pub next_offset: i64,
    /// How often the partition has been reset.
    pub epoch: u32,
    /// The fingerprint of the settings that the round was decided with.
    pub fingerprint: u64,
    /// The Kafka time of the last input below `next_offset`, in ms since 1970.
    pub input_time: Option<i64>,
}

impl CheckpointRow {
    /// The row's bytes, as the changelog and the store hold them.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(30);
        bytes.push(VERSION);
        bytes.push(if self.input_time.is_some() { INPUT_TIME } else { 0 });
        bytes.extend_from_slice(&self.next_offset.to_be_bytes());
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.fingerprint.to_be_bytes());
        if let Some(input_time) = self.input_time {
            bytes.extend_from_slice(&input_time.to_be_bytes());
        }
        bytes
    }

    /// Reads what `encode` wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let mut reader = Reader::versioned(bytes, VERSION)?;
        let presence = reader.u8()?;
        if presence & !INPUT_TIME != 0 {
            return Err(RowError::BadField { field: "presence" });
        }
        let row = Self {
            next_offset: reader.i64()?,
            epoch: reader.u32()?,
            fingerprint: reader.u64()?,
            input_time: reader.i64_if(presence & INPUT_TIME != 0)?,
        };
        reader.end()?;
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_comes_back(
            next_offset in any::<i64>(),
            epoch in any::<u32>(),
            fingerprint in any::<u64>(),
            input_time in any::<Option<i64>>(),
        ) {
            let row = CheckpointRow { next_offset, epoch, fingerprint, input_time };
            prop_assert_eq!(CheckpointRow::decode(&row.encode()), Ok(row));
        }

        #[test]
        fn any_bytes_are_a_row_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 1..40)) {
            bytes[0] = VERSION;
            if let Ok(row) = CheckpointRow::decode(&bytes) {
                prop_assert_eq!(row.encode(), bytes);
            }
        }
    }

    #[test]
    fn other_values_are_refused() {
        assert_eq!(
            CheckpointRow::decode(&[2, 0]),
            Err(RowError::UnknownVersion { found: 2, known: VERSION })
        );
        assert_eq!(CheckpointRow::decode(&[1, 2]), Err(RowError::BadField { field: "presence" }));
        assert_eq!(CheckpointRow::decode(&[1, 0, 7]), Err(RowError::Truncated { expected: 10, found: 3 }));
    }
}
