//! What the changelog holds, as plain data with versioned binary codecs, one file per kind.
//!
//! Promises: `decode(encode(row)) == row`; equal rows have equal bytes; any other bytes are an error, never a
//! panic or a guess. Integers are big-endian; a value's first byte is the version of its own kind.
//! Not in here: the store's position, which is local and never reaches the changelog.

mod checkpoint;
mod class;
mod key;
mod reader;
mod symbol;

pub use checkpoint::CheckpointRow;
pub use class::ClassRow;
pub use key::RowKey;
pub use symbol::{Price, Reported, SymbolRow};

pub(crate) use reader::Reader;

/// Why bytes of a changelog record or of the store cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The value was written by a version that this build does not know.
    #[error("version {found} is not known, expected at most {known}; run the newer tickgate that wrote it")]
    UnknownVersion {
        /// The version that the bytes carry.
        found: u8,
        /// The newest version that this build reads.
        known: u8,
    },
    /// The value ends before its fields do.
    #[error("the value ends at byte {found}, expected at least {expected} bytes")]
    Truncated {
        /// How many bytes the fields read so far need.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The value is longer than its fields.
    #[error("{found} bytes follow the value's last field, expected none")]
    TrailingBytes {
        /// How many bytes are left over.
        found: usize,
    },
    /// A field holds what no encoder of a known version writes.
    #[error("field `{field}` holds what its encoder never writes")]
    BadField {
        /// The field's name.
        field: &'static str,
    },
    /// The key is of no known kind, or its name is not UTF-8.
    #[error("key `{key}` is not a row's key, expected `s` or `c` and a UTF-8 name, or `k` alone")]
    BadKey {
        /// The key, with what is not printable escaped, cut at 64 bytes.
        key: String,
    },
}
