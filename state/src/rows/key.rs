//! The key of a row, in the changelog and, after the partition, in the store: a kind's byte, then the name.

use super::RowError;

const SYMBOL: u8 = b's';
const CLASS: u8 = b'c';
const CHECKPOINT: u8 = b'k';

/// How many bytes of a bad key its error shows.
const SHOWN_BYTES_MAX: usize = 64;

/// Which row a changelog record stands for. The partition is the changelog's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey<'a> {
    /// A symbol's row, by its name.
    Symbol(&'a str),
    /// A freshness class's row, by its name.
    Class(&'a str),
    /// The partition's one checkpoint row.
    Checkpoint,
}

impl<'a> RowKey<'a> {
    /// The key's bytes: `s` or `c` and the UTF-8 name, or `k` alone.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, name) = match self {
            Self::Symbol(name) => (SYMBOL, *name),
            Self::Class(name) => (CLASS, *name),
            Self::Checkpoint => (CHECKPOINT, ""),
        };
        let mut bytes = Vec::with_capacity(1 + name.len());
        bytes.push(kind);
        bytes.extend_from_slice(name.as_bytes());
        bytes
    }

    /// Reads what `encode` wrote; anything else is `RowError::BadKey`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, RowError> {
        let bad = || RowError::BadKey {
            key: bytes.get(..SHOWN_BYTES_MAX).unwrap_or(bytes).escape_ascii().to_string(),
        };
        let (&kind, name) = bytes.split_first().ok_or_else(bad)?;
        let name = str::from_utf8(name).map_err(|_| bad())?;
        match kind {
            SYMBOL => Ok(Self::Symbol(name)),
            CLASS => Ok(Self::Class(name)),
            CHECKPOINT if name.is_empty() => Ok(Self::Checkpoint),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_comes_back(name in ".{0,40}") {
            for key in [RowKey::Symbol(&name), RowKey::Class(&name), RowKey::Checkpoint] {
                let bytes = key.encode();
                prop_assert_eq!(RowKey::decode(&bytes), Ok(key));
            }
        }

        #[test]
        fn any_bytes_are_a_key_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(key) = RowKey::decode(&bytes) {
                prop_assert_eq!(key.encode(), bytes);
            }
        }
    }

    #[test]
    fn the_wire_form_is_fixed() {
        assert_eq!(RowKey::Symbol("IC MARKETS:1").encode(), b"sIC MARKETS:1");
        assert_eq!(RowKey::Class("crypto").encode(), b"ccrypto");
        assert_eq!(RowKey::Checkpoint.encode(), b"k");
    }

    #[test]
    fn other_keys_are_bad() {
        for bytes in [&b""[..], b"x", b"kk", b"pAAPL", b"s\xff"] {
            assert!(matches!(RowKey::decode(bytes), Err(RowError::BadKey { .. })), "{bytes:?}");
        }
        let long = RowKey::decode(&[b'x'; 1000]).expect_err("no such kind");
        assert!(long.to_string().len() < 200, "{long}");
    }
}
