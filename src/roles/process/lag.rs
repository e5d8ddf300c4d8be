//! How far behind a worker's partitions are, from one look at their ends to the next. Pure.

use std::collections::BTreeMap;

use crate::model::{Offset, Partition};
use crate::telemetry::metrics::Standing;

/// A record that waits for so long may be none but the end of a transaction.
const DOUBT_AFTER_MS: i64 = 10_000;

/// What is remembered of each partition.
#[derive(Default)]
pub(super) struct Watch {
    parts: BTreeMap<Partition, Part>,
}

#[derive(Default)]
struct Part {
    committed: Offset,
    last_stable: Offset,
    /// Nothing was committed between the last two looks.
    is_still: bool,
    waits_since_ms: Option<i64>,
    stuck_since_ms: Option<i64>,
    /// Below it nothing is left to read, only what ends transactions: it is never committed.
    empty_to: Offset,
    /// Kafka time of the newest record that was committed here, in ms since 1970.
    newest_ms: Option<i64>,
}

/// Where a partition stands; times in ms since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) committed: Offset,
    pub(super) last_stable: Offset,
    pub(super) high_watermark: Offset,
    pub(super) now_ms: i64,
}

impl Watch {
    /// A round was committed whose newest record of each partition had these Kafka times.
    pub(super) fn committed(&mut self, newest: impl IntoIterator<Item = (Partition, i64)>) {
        for (partition, newest_ms) in newest {
            self.parts.entry(partition).or_default().newest_ms = Some(newest_ms);
        }
    }

    /// Takes in a look. What waits behind a record that was just committed waits about as long as that one did;
    /// what waits while nothing is committed waits since it was first seen.
    pub(super) fn look(&mut self, partition: Partition, look: Look) -> Standing {
        let Look { committed, last_stable, high_watermark, now_ms } = look;
        let part = self.parts.entry(partition).or_default();
        let records = (high_watermark - committed.max(part.empty_to)).max(0);
        let has_moved = committed > part.committed;
        part.waits_since_ms = match (part.waits_since_ms, part.newest_ms) {
            _ if records == 0 => None,
            (_, Some(newest_ms)) if has_moved => Some(newest_ms.min(now_ms)),
            (since, _) => since.or(Some(now_ms)),
        };
        let gap = (high_watermark - last_stable).max(0);
        let is_held = gap > 0 && last_stable == part.last_stable;
        part.stuck_since_ms = if is_held { part.stuck_since_ms.or(Some(now_ms)) } else { None };
        part.is_still = !has_moved;
        (part.committed, part.last_stable) = (committed, last_stable);
        Standing {
            records,
            waits_since_ms: part.waits_since_ms,
            gap,
            stuck_since_ms: part.stuck_since_ms,
            asked_ms: now_ms,
        }
    }

    /// Whether it is time to see if what seemed to wait at the last look is a record at all: it waits long, nothing
    /// holds it, and nothing is committed meanwhile.
    pub(super) fn is_doubtful(&self, partition: Partition, standing: &Standing) -> bool {
        let waited_ms = standing.waits_since_ms.map_or(0, |since_ms| standing.asked_ms - since_ms);
        let is_still = self.parts.get(&partition).is_some_and(|part| part.is_still);
        is_still && standing.gap == 0 && waited_ms >= DOUBT_AFTER_MS
    }

    /// Nothing is left to read below this offset.
    pub(super) fn is_empty_to(&mut self, partition: Partition, end: Offset) {
        self.parts.entry(partition).or_default().empty_to = end;
    }

    /// Forgets a partition that was given up.
    pub(super) fn forget(&mut self, partition: Partition) {
        self.parts.remove(&partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(watch: &mut Watch, committed: Offset, last_stable: Offset, end: Offset, now_ms: i64) -> Standing {
        watch.look(3, Look { committed, last_stable, high_watermark: end, now_ms })
    }

    #[test]
    fn waiting_is_measured_from_the_last_committed_record_or_from_when_it_was_seen() {
        let mut watch = Watch::default();
        assert_eq!(look(&mut watch, 10, 10, 10, 1_000).waits_since_ms, None);
        // Nothing is known of when these were appended.
        assert_eq!(look(&mut watch, 10, 15, 15, 3_000).waits_since_ms, Some(3_000));
        assert_eq!(look(&mut watch, 10, 20, 20, 5_000).waits_since_ms, Some(3_000));
        watch.committed([(3, 2_500), (4, 9_000)]);
        assert_eq!(look(&mut watch, 14, 20, 20, 7_000).waits_since_ms, Some(2_500));
        assert_eq!(look(&mut watch, 14, 20, 20, 9_000).waits_since_ms, Some(2_500));
        let caught_up = look(&mut watch, 20, 20, 20, 11_000);
        assert_eq!((caught_up.records, caught_up.waits_since_ms), (0, None));
        // An idle partition's next record is not as old as the last one.
        assert_eq!(look(&mut watch, 20, 21, 21, 90_000).waits_since_ms, Some(90_000));
        watch.forget(3);
        assert_eq!(look(&mut watch, 20, 21, 21, 95_000).waits_since_ms, Some(95_000));
    }

    #[test]
    fn the_end_of_a_transaction_is_no_record_that_waits() {
        let mut watch = Watch::default();
        let mut doubts = |committed, last_stable, now_ms| {
            let standing = look(&mut watch, committed, last_stable, 11, now_ms);
            watch.is_doubtful(3, &standing)
        };
        assert!(!doubts(9, 11, 1_000) && !doubts(9, 11, 2_000), "not yet");
        assert!(!doubts(9, 9, 99_000), "it is held, not unreadable");
        assert!(!doubts(10, 11, 100_000), "it is worked on");
        assert!(doubts(10, 11, 102_000));
        watch.is_empty_to(3, 11);
        let empty = look(&mut watch, 10, 11, 11, 104_000);
        assert_eq!((empty.records, empty.waits_since_ms), (0, None));
        let next = look(&mut watch, 10, 13, 13, 106_000);
        assert_eq!((next.records, next.waits_since_ms), (2, Some(106_000)));
    }

    #[test]
    fn a_last_stable_offset_that_moves_is_not_stuck() {
        let mut watch = Watch::default();
        assert_eq!(look(&mut watch, 5, 5, 9, 1_000).stuck_since_ms, None);
        assert_eq!(look(&mut watch, 5, 5, 12, 3_000).stuck_since_ms, Some(3_000));
        assert_eq!(look(&mut watch, 5, 5, 12, 5_000).stuck_since_ms, Some(3_000));
        let moved = look(&mut watch, 5, 12, 13, 7_000);
        assert_eq!((moved.gap, moved.stuck_since_ms), (1, None));
        assert_eq!(look(&mut watch, 13, 13, 13, 9_000).gap, 0);
    }
}
