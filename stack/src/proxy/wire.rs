//! As much of Kafka's protocol as it takes to tell requests apart. Frames come with their size before them.
//!
//! Sources: `RequestHeader.json`, `ResponseHeader.json` and `EndTxnRequest.json` of Kafka's message
//! definitions.

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Records for some partitions.
    Produce,
    /// A group's offsets, outside a transaction.
    OffsetCommit,
    /// A member joins its group.
    JoinGroup,
    /// A member is alive.
    Heartbeat,
    /// A producer asks for its id and epoch; with a transactional id that fences earlier ones.
    InitProducerId,
    /// A transaction is to hold offsets.
    AddOffsetsToTxn,
    /// A group's offsets, inside a transaction.
    TxnOffsetCommit,
    /// `EndTxn` that commits, not one that aborts.
    Commit,
}

/// The first version of `EndTxn` with compact strings and tagged fields.
const END_TXN_FLEXIBLE: i16 = 3;

impl Request {
    /// Whether this frame is such a request.
    pub(super) fn is(self, frame: &[u8]) -> bool {
        let mut rest = Bytes(frame);
        let Some(((), key)) = rest.skip(4).zip(rest.i16()) else { return false };
        key == self.key() && (self != Self::Commit || commits(rest).unwrap_or(false))
    }

    /// Kafka's API key.
    fn key(self) -> i16 {
        match self {
            Self::Produce => 0,
            Self::OffsetCommit => 8,
            Self::JoinGroup => 11,
            Self::Heartbeat => 12,
            Self::InitProducerId => 22,
            Self::AddOffsetsToTxn => 25,
            Self::Commit => 26,
            Self::TxnOffsetCommit => 28,
        }
    }
}

/// The correlation id of a request: behind size, API key and version.
pub(super) fn request_id(frame: &[u8]) -> Option<i32> {
    let mut rest = Bytes(frame);
    rest.skip(8)?;
    rest.i32()
}

/// The correlation id of a reply: behind its size.
pub(super) fn reply_id(frame: &[u8]) -> Option<i32> {
    let mut rest = Bytes(frame);
    rest.skip(4)?;
    rest.i32()
}

/// What the last field of an `EndTxn` says; `rest` begins with its version.
fn commits(mut rest: Bytes<'_>) -> Option<bool> {
    let flexible = rest.i16()? >= END_TXN_FLEXIBLE;
    rest.skip(4)?; // correlation id
    rest.short_string()?; // client id, never compact
    if flexible {
        rest.tagged_fields()?;
        rest.compact_string()?;
    } else {
        rest.short_string()?;
    }
    rest.skip(8 + 2)?; // producer id and epoch
    Some(*rest.take(1)?.first()? != 0)
}

/// What is left of a frame.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(|_| ())
    }

    fn i16(&mut self) -> Option<i16> {
        self.take(2)?.try_into().ok().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    /// A string behind its length in two bytes; a negative one stands for none.
    fn short_string(&mut self) -> Option<()> {
        let length = self.i16()?;
        self.skip(usize::try_from(length).unwrap_or(0))
    }

    /// A string behind its length + 1 as a varint; 0 stands for none.
    fn compact_string(&mut self) -> Option<()> {
        let length = self.varint()?;
        self.skip(length.saturating_sub(1))
    }

    fn tagged_fields(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let size = self.varint()?;
            self.skip(size)?;
        }
        Some(())
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in (0..32).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An `EndTxn` of the client "me" for the transactional id "gate.0".
    fn end_txn(version: i16, committed: bool) -> Vec<u8> {
        let mut body = [26_i16.to_be_bytes(), version.to_be_bytes()].concat();
        body.extend(77_i32.to_be_bytes());
        body.extend(b"\0\x02me");
        if version >= 3 {
            body.extend(b"\x01\x05\x02??"); // one tagged field, number 5, two bytes
            body.extend(b"\x07gate.0");
        } else {
            body.extend(b"\0\x06gate.0");
        }
        body.extend(4000_i64.to_be_bytes());
        body.extend(1_i16.to_be_bytes());
        body.push(u8::from(committed));
        if version >= 3 {
            body.push(0);
        }
        [i32::try_from(body.len()).unwrap().to_be_bytes().to_vec(), body].concat()
    }

    #[test]
    fn commits_are_told_from_aborts_in_every_version() {
        for version in 0..=5 {
            assert!(Request::Commit.is(&end_txn(version, true)), "{version}");
            assert!(!Request::Commit.is(&end_txn(version, false)), "{version}");
            assert!(!Request::Produce.is(&end_txn(version, true)), "{version}");
            assert_eq!(request_id(&end_txn(version, true)), Some(77));
        }
    }

    #[test]
    fn what_is_cut_short_is_no_commit() {
        let whole = end_txn(3, true);
        for length in 0..whole.len() - 1 {
            assert!(!Request::Commit.is(&whole[..length]), "{length}");
        }
        assert_eq!(request_id(&whole[..11]), None);
        assert_eq!(reply_id(b"\0\0\0\x04\0\0\0\x09"), Some(9));
    }
}
