//! A freshness class's row: when a quote of it was last accepted, and since when its feed has been silent.
//!
//! Version 1: version, presence byte, then the present fields in the order of the struct.

use super::{Reader, RowError};

const VERSION: u8 = 1;

const LAST_ACCEPTED: u8 = 1;
const SILENT_FROM: u8 = 1 << 1;

/// What is remembered of one class in one partition. Times are in ms since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassRow {
    /// When a quote of the class was last accepted.
    pub last_accepted: Option<i64>,
    /// The silence of the whole feed that has been reported and not yet ended, if any.
    pub silent_from: Option<i64>,
}

impl ClassRow {
    /// The row's bytes, as the changelog and the store hold them.
    pub fn encode(&self) -> Vec<u8> {
        let mut presence = 0;
        if self.last_accepted.is_some() {
            presence |= LAST_ACCEPTED;
        }
        if self.silent_from.is_some() {
            presence |= SILENT_FROM;
        }
        let mut bytes = vec![VERSION, presence];
        for time in [self.last_accepted, self.silent_from].into_iter().flatten() {
            bytes.extend_from_slice(&time.to_be_bytes());
        }
        bytes
    }

    /// Reads what `encode` wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let mut reader = Reader::versioned(bytes, VERSION)?;
        let presence = reader.u8()?;
        if presence & !(LAST_ACCEPTED | SILENT_FROM) != 0 {
            return Err(RowError::BadField { field: "presence" });
        }
        let row = Self {
            last_accepted: reader.i64_if(presence & LAST_ACCEPTED != 0)?,
            silent_from: reader.i64_if(presence & SILENT_FROM != 0)?,
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
        fn a_row_comes_back(last_accepted in any::<Option<i64>>(), silent_from in any::<Option<i64>>()) {
            let row = ClassRow { last_accepted, silent_from };
            prop_assert_eq!(ClassRow::decode(&row.encode()), Ok(row));
        }

        #[test]
        fn any_bytes_are_a_row_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 1..24)) {
            bytes[0] = VERSION;
            if let Ok(row) = ClassRow::decode(&bytes) {
                prop_assert_eq!(row.encode(), bytes);
            }
        }
    }

    #[test]
    fn other_values_are_refused() {
        assert_eq!(ClassRow::decode(&[2, 0]), Err(RowError::UnknownVersion { found: 2, known: VERSION }));
        assert_eq!(ClassRow::decode(&[1]), Err(RowError::Truncated { expected: 2, found: 1 }));
        assert_eq!(ClassRow::decode(&[1, 4]), Err(RowError::BadField { field: "presence" }));
        assert_eq!(ClassRow::decode(&[1, 0, 0]), Err(RowError::TrailingBytes { found: 1 }));
    }
}
