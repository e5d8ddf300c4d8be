//! What the store has of a partition, whether that can be true, and how it is brought on, a slice of the changelog
//! after the other. One rule for the worker that restores and for the replica that follows.

use tickgate_state::{PartitionWriter, Position, Row, Store, StoreError};

use super::perform::key_partition;
use crate::model::{Offset, Partition};

/// Changelog rows that go into the store at once.
pub(super) const SLICE_ROWS: usize = 10_000;
/// A store that may have missed tombstones is rebuilt: the changelog's `delete.retention.ms`, less a day.
const TRUSTED_FOR_MS: i64 = 6 * 24 * 60 * 60 * 1000;
/// What a store lacks must be read half a day before tombstones among it may go.
const OVER_WITHIN_MS: i64 = TRUSTED_FOR_MS + 12 * 60 * 60 * 1000;

/// One partition on its way to the changelog's end.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) partition: Partition,
    /// Where the store stood at the beginning, if it had anything.
    pub(super) from: Option<Offset>,
    /// What comes next.
    pub(super) next: Offset,
    /// Rows taken so far.
    pub(super) count: u64,
    /// Where the store stands: before `rows`.
    stored: Option<Offset>,
    /// When what is stored was last known to be current. Only arriving at an end makes it newer: a store that is left
    /// half-way may miss tombstones as if nothing had been added.
    current_at_ms: i64,
    rows: Vec<Row>,
}

/// Where a partition's changelog begins and ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) start: Offset,
    pub(super) end: Offset,
}

/// A slice was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum SliceError {
    /// Only a machine that slept comes here. Started over, the store is found too old.
    #[error("partition {0} stood still for days on its way to the changelog's end; it must start over")]
    StoodStill(Partition),
    /// Another writer has moved it meanwhile.
    #[error("partition {partition} stands at {found:?}, expected {expected:?} as when its rows were read")]
    Moved { partition: Partition, expected: Option<Offset>, found: Option<Offset> },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Part {
    /// Begins where the store stands. What cannot be true is emptied first. `asked_at_ms` is the wall time before
    /// `log` was asked for.
    pub(super) fn start(
        store: &Store,
        writer: &PartitionWriter,
        log: Bounds,
        asked_at_ms: i64,
        now_ms: i64,
    ) -> Result<Self, StoreError> {
        let key = writer.partition();
        let partition = Partition::from(key);
        let age_ms = store.age_ms(key, now_ms)?;
        let mut from = store.position(key)?.map(|position| position.changelog_next);
        if let Some(why) = untrue(from, age_ms, log) {
            tracing::warn!(partition, "the stored partition cannot be true ({why}); rebuilding it");
            store.clear_partition(writer)?;
            from = None;
        }
        let current_at_ms = from.and(age_ms).map_or(asked_at_ms, |age_ms| now_ms - age_ms);
        let next = from.unwrap_or(log.start);
        Ok(Self { partition, from, next, count: 0, stored: from, current_at_ms, rows: Vec::new() })
    }

    /// Takes the next row in.
    pub(super) fn take(&mut self, offset: Offset, key: &[u8], value: Option<&[u8]>) {
        self.rows.push((key.to_vec(), value.map(<[u8]>::to_vec)));
        self.next = offset + 1;
        self.count += 1;
    }

    /// How many rows are taken and not written yet.
    pub(super) fn unwritten(&self) -> usize {
        self.rows.len()
    }

    /// Everything below `end` has been taken, and `end` was the log's end at a moment after `looked_at_ms`.
    pub(super) fn arrive(&mut self, end: Offset, looked_at_ms: i64) {
        self.next = self.next.max(end);
        self.current_at_ms = looked_at_ms;
    }

    /// Writes what was taken since the last time, with the position and the age that it stands for.
    pub(super) fn write(
        &mut self,
        store: &Store,
        writer: &PartitionWriter,
        now_ms: i64,
    ) -> Result<(), SliceError> {
        let partition = self.partition;
        if now_ms - self.current_at_ms > OVER_WITHIN_MS {
            return Err(SliceError::StoodStill(partition));
        }
        let found = store.position(key_partition(partition))?.map(|position| position.changelog_next);
        if found != self.stored {
            return Err(SliceError::Moved { partition, expected: self.stored, found });
        }
        let position = Position { changelog_next: self.next };
        store.restore_slice(writer, std::mem::take(&mut self.rows), position, self.current_at_ms)?;
        self.stored = Some(self.next);
        Ok(())
    }
}

/// Why what is stored cannot be what the changelog says, if so.
fn untrue(stored: Option<Offset>, age_ms: Option<i64>, log: Bounds) -> Option<&'static str> {
    match (stored?, age_ms) {
        (at, _) if at > log.end => Some("its position lies beyond the changelog's end"),
        (at, _) if at < log.start => Some("its position lies before the changelog's start"),
        (_, Some(age_ms)) if age_ms > TRUSTED_FOR_MS => Some("it may have missed tombstones"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;
    use tickgate_state::{RowKey, StoreIdentity, StoreOptions, SymbolRow};

    use super::*;

    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    const NOW_MS: i64 = 100 * DAY_MS;
    const LOG: Bounds = Bounds { start: 5, end: 50 };

    fn store() -> (TempDir, Arc<Store>) {
        let dir = tempfile::tempdir().unwrap();
        let identity =
            StoreIdentity { group: "g".to_owned(), changelog: "c".to_owned(), cluster: String::new() };
        let store = Arc::new(Store::open(dir.path(), &identity, &StoreOptions::default()).unwrap());
        (dir, store)
    }

    fn taken(part: &mut Part, offset: Offset) {
        part.take(offset, &RowKey::Symbol("A").encode(), Some(&SymbolRow::default().encode()));
    }

    #[test]
    fn what_cannot_be_true_is_rebuilt_from_the_logs_start() {
        for (at, age_ms, trusted) in [
            (20, 0, true),
            (50, 6 * DAY_MS, true),
            (51, 0, false),
            (4, 0, false),
            (20, 6 * DAY_MS + 1, false),
        ] {
            let (_dir, store) = store();
            let writer = store.writer(3).unwrap();
            let position = Position { changelog_next: at };
            let row = (RowKey::Symbol("OLD").encode(), Some(SymbolRow::default().encode()));
            store.restore_slice(&writer, vec![row], position, NOW_MS - age_ms).unwrap();
            let part = Part::start(&store, &writer, LOG, NOW_MS, NOW_MS).unwrap();
            assert_eq!((part.from, part.next), if trusted { (Some(at), at) } else { (None, 5) });
            assert_eq!(store.symbol_rows(3).unwrap().len(), usize::from(trusted), "{at} {age_ms}");
        }
    }

    #[test]
    fn only_arriving_at_an_end_makes_a_store_younger() {
        let (_dir, store) = store();
        let writer = store.writer(0).unwrap();
        let mut part = Part::start(&store, &writer, LOG, NOW_MS, NOW_MS).unwrap();
        let later_ms = NOW_MS + DAY_MS;
        taken(&mut part, 30);
        part.write(&store, &writer, later_ms).unwrap();
        assert_eq!(store.age_ms(0, later_ms).unwrap(), Some(DAY_MS));
        part.arrive(50, later_ms - 1_000);
        part.write(&store, &writer, later_ms).unwrap();
        assert_eq!(store.age_ms(0, later_ms).unwrap(), Some(1_000));
        assert_eq!(store.position(0).unwrap(), Some(Position { changelog_next: 50 }));
        taken(&mut part, 60);
        let too_late = part.write(&store, &writer, later_ms + 7 * DAY_MS);
        assert!(matches!(too_late, Err(SliceError::StoodStill(0))), "{too_late:?}");
    }

    #[test]
    fn rows_are_not_written_where_another_has_moved_the_partition() {
        let (_dir, store) = store();
        let writer = store.writer(0).unwrap();
        let mut part = Part::start(&store, &writer, LOG, NOW_MS, NOW_MS).unwrap();
        taken(&mut part, 30);
        store.restore_slice(&writer, Vec::new(), Position { changelog_next: 7 }, NOW_MS).unwrap();
        let moved = part.write(&store, &writer, NOW_MS);
        assert!(matches!(moved, Err(SliceError::Moved { found: Some(7), .. })), "{moved:?}");
    }
}
