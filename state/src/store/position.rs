//! Where in the changelog a partition stands, and when that was last known to be its end.
//!
//! Version 1: version, next offset, stamp. Local: never part of the changelog.

use crate::rows::{Reader, RowError};

const VERSION: u8 = 1;

/// Of the rows' types none may be this one.
const POSITION: u8 = b'p';

/// A place in a partition's changelog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The next changelog offset that has not been applied.
    pub changelog_next: i64,
}

/// A position, and when the partition was last known to be current there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamped {
    pub(super) position: Position,
    pub(super) current_at_ms: i64,
}

impl Stamped {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.position.changelog_next.to_be_bytes());
        bytes.extend_from_slice(&self.current_at_ms.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let mut reader = Reader::versioned(bytes, VERSION)?;
        let position = Position { changelog_next: reader.i64()? };
        let current_at_ms = reader.i64()?;
        reader.end()?;
        Ok(Self { position, current_at_ms })
    }
}

pub(super) fn key(partition: u16) -> Vec<u8> {
    super::stored_key(partition, &[POSITION])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_position_comes_back(changelog_next in any::<i64>(), current_at_ms in any::<i64>()) {
            let stamped = Stamped { position: Position { changelog_next }, current_at_ms };
            prop_assert_eq!(Stamped::decode(&stamped.encode()), Ok(stamped));
        }
    }

    #[test]
    fn other_values_are_refused() {
        assert_eq!(Stamped::decode(&[9]), Err(RowError::UnknownVersion { found: 9, known: VERSION }));
        assert_eq!(Stamped::decode(&[1, 0]), Err(RowError::Truncated { expected: 9, found: 2 }));
        assert_eq!(Stamped::decode(&[1; 18]), Err(RowError::TrailingBytes { found: 1 }));
    }

    #[test]
    fn no_row_has_a_position_s_key() {
        assert!(crate::RowKey::decode(&key(7)[2..]).is_err());
    }
}
