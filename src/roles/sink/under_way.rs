//! All records that are read and not done: how much they are, and the writes of them that wait for an answer.

use std::pin::Pin;

use futures_util::future::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::writing::Done;
use crate::journal::kafka::dead_letters::Original;

/// Records under way at most.
const RECORDS_MAX: usize = 50_000;
/// Bytes under way at most, and one record more.
const BYTES_MAX: usize = 32 << 20;
/// What a record takes besides key and value.
const OVERHEAD_BYTES: usize = 512;

/// A write, of a row or of a dead letter, until it is answered.
pub(super) type Write = Pin<Box<dyn Future<Output = Done>>>;

/// What is under way. Dropping it drops writes: they may have been done or not.
#[derive(Default)]
pub(super) struct UnderWay {
    /// To Cassandra.
    writes: FuturesUnordered<Write>,
    /// Dead letters, to the brokers.
    letters: FuturesUnordered<Write>,
    records: usize,
    bytes: usize,
}

impl UnderWay {
    /// A record is read.
    pub(super) fn add(&mut self, original: &Original) {
        self.records += 1;
        self.bytes += original.bytes() + OVERHEAD_BYTES;
    }

    /// A record needs nothing more.
    pub(super) fn remove(&mut self, original: &Original) {
        self.records -= 1;
        self.bytes -= original.bytes() + OVERHEAD_BYTES;
    }

    /// Whether less than an `nth` part of what may be under way is.
    pub(super) fn has_room(&self, nth: usize) -> bool {
        self.records < RECORDS_MAX / nth && self.bytes < BYTES_MAX / nth
    }

    /// Whether little room is left.
    pub(super) fn is_pressed(&self) -> bool {
        self.records > RECORDS_MAX / 4 * 3 || self.bytes > BYTES_MAX / 4 * 3
    }

    pub(super) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    pub(super) fn write_letter(&mut self, write: Write) {
        self.letters.push(write);
    }

    /// Waits for what is done next; `None` when nothing waits for an answer. Can be cancelled without losing any.
    pub(super) async fn next(&mut self) -> Option<Done> {
        tokio::select! {
            done = self.writes.next(), if !self.writes.is_empty() => done,
            done = self.letters.next(), if !self.letters.is_empty() => done,
            else => None,
        }
    }

    /// What is done by now, one after another.
    pub(super) fn next_now(&mut self) -> Option<Done> {
        let written = self.writes.next().now_or_never().flatten();
        written.or_else(|| self.letters.next().now_or_never().flatten())
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.writes.is_empty() && self.letters.is_empty()
    }

    pub(super) fn writes(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn letters(&self) -> usize {
        self.letters.len()
    }

    pub(super) fn records(&self) -> usize {
        self.records
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_ends_with_bytes_long_before_it_ends_with_records() {
        let large = Original::of_bytes(0, 1, BYTES_MAX / 4);
        let mut under_way = UnderWay::default();
        for added in 0..4 {
            assert!(under_way.has_room(1), "{added}");
            assert_eq!(under_way.has_room(2), added < 2, "{added}");
            under_way.add(&large);
        }
        assert!(!under_way.has_room(1) && under_way.is_pressed());
        under_way.remove(&large);
        assert!(under_way.has_room(1));
    }

    #[test]
    fn room_ends_with_records_that_have_no_bytes() {
        let empty = Original::empty(0, 1);
        let mut under_way = UnderWay::default();
        (0..RECORDS_MAX).for_each(|_| under_way.add(&empty));
        assert!(!under_way.has_room(1));
    }
}
