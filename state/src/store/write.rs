//! Writes: one `RocksDB` batch each, without a write-ahead log, with the positions that the values stand for.

use super::position::{self, Position, Stamped};
use super::{ApplyError, Store, StoreError, WriterTaken, stored_key};
use crate::rows::RowKey;
use rocksdb::{FlushOptions, WriteBatch, WriteOptions};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError};

/// A changelog record: the row's key, and its value or none for a tombstone.
pub type Row = (Vec<u8>, Option<Vec<u8>>);

/// After every type byte that a key can have.
const BEHIND_ALL_TYPES: u8 = u8::MAX;

/// The right to write one partition; there is one at a time, and it goes back when dropped.
#[derive(Debug)]
pub struct PartitionWriter {
    store: Arc<Store>,
    partition: u16,
    // Not `Sync`: between the look at a position and the write on it, no other thread may write.
    one_thread: PhantomData<Cell<()>>,
}

/// What a committed round leaves in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where the partition stood when the round was decided.
    pub expected: Option<Position>,
    /// The round's changelog records; the last of a key wins.
    pub rows: Vec<Row>,
    /// Where the partition stands with them.
    pub position: Position,
}

impl PartitionWriter {
    /// The partition that may be written.
    pub fn partition(&self) -> u16 {
        self.partition
    }
}

impl Drop for PartitionWriter {
    fn drop(&mut self) {
        self.store.written.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.partition);
    }
}

impl Store {
    /// The right to write the partition, if no one has it.
    pub fn writer(self: &Arc<Self>, partition: u16) -> Result<PartitionWriter, WriterTaken> {
        if !self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(partition) {
            return Err(WriterTaken { partition });
        }
        Ok(PartitionWriter { store: Arc::clone(self), partition, one_thread: PhantomData })
    }

    /// Applies a committed round: all batches or none, each on the position it was decided on. With it the partitions
    /// are known to have been current at `current_at_ms`.
    pub fn apply(&self, batches: &[(&PartitionWriter, Batch)], current_at_ms: i64) -> Result<(), ApplyError> {
        let mut positions = self.positions(batches.iter().map(|(writer, _)| *writer))?;
        let mut write = WriteBatch::default();
        for (writer, batch) in batches {
            let partition = writer.partition;
            let found = positions.insert(partition, Some(batch.position)).flatten();
            if found != batch.expected {
                return Err(ApplyError::Moved { partition, expected: batch.expected, found });
            }
            add(&mut write, partition, found, &batch.rows, batch.position, current_at_ms)?;
        }
        Ok(self.write(write, "applying a round")?)
    }

    /// Applies a slice of the changelog, in its order; `position` is the offset after its last record. With it the
    /// partition is known to have been current at `current_at_ms`: what it was before, unless this slice is the last.
    pub fn restore_slice(
        &self,
        writer: &PartitionWriter,
        // Taken whole, as the caller has no more use for it.
        rows: Vec<Row>,
        position: Position,
        current_at_ms: i64,
    ) -> Result<(), StoreError> {
        let found = self.position(writer.partition)?;
        let mut write = WriteBatch::default();
        add(&mut write, writer.partition, found, &rows, position, current_at_ms)?;
        drop(rows);
        self.write(write, "restoring a slice")
    }

    /// Removes all that is stored of the partition, its position too, for good.
    pub fn clear_partition(&self, writer: &PartitionWriter) -> Result<(), StoreError> {
        let mut write = WriteBatch::default();
        write.delete_range(
            stored_key(writer.partition, &[]),
            stored_key(writer.partition, &[BEHIND_ALL_TYPES]),
        );
        self.write(write, "clearing a partition")?;
        self.flush()
    }

    /// Makes all writes durable; for a clean stop.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(StoreError::while_("flushing"))
    }

    /// Starts to make all writes durable, and returns. Called every 5 to 10 s it bounds by time what a crash costs.
    pub fn flush_soon(&self) -> Result<(), StoreError> {
        let mut options = FlushOptions::default();
        options.set_wait(false);
        self.db.flush_opt(&options).map_err(StoreError::while_("starting a flush"))
    }

    fn positions<'w>(
        &self,
        writers: impl Iterator<Item = &'w PartitionWriter>,
    ) -> Result<BTreeMap<u16, Option<Position>>, StoreError> {
        let partitions: BTreeMap<u16, Vec<u8>> = writers
            .inspect(|writer| debug_assert!(std::ptr::eq(Arc::as_ptr(&writer.store), self)))
            .map(|writer| (writer.partition, position::key(writer.partition)))
            .collect();
        let keys: Vec<Vec<u8>> = partitions.values().cloned().collect();
        let stamped = self.get_sorted(&keys, "reading positions", Stamped::decode)?;
        let positions = stamped.into_iter().map(|stamped| stamped.map(|stamped| stamped.position));
        Ok(partitions.into_keys().zip(positions).collect())
    }

    fn write(&self, write: WriteBatch, doing: &'static str) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(write, &options).map_err(StoreError::while_(doing))
    }
}

/// Adds rows, sorted (the memtable takes them faster so), and the position they stand for.
fn add(
    write: &mut WriteBatch,
    partition: u16,
    stored: Option<Position>,
    rows: &[Row],
    position: Position,
    current_at_ms: i64,
) -> Result<(), StoreError> {
    if let Some(stored) = stored.filter(|stored| position < *stored) {
        return Err(StoreError::Backwards { partition, stored, asked: position });
    }
    // A key of no row's kind could be the position's.
    for (key, _) in rows {
        RowKey::decode(key).map_err(|source| StoreError::UnknownRow {
            partition,
            key: key.escape_ascii().to_string(),
            source,
        })?;
    }
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by(|one, other| one.0.cmp(&other.0));
    let mut stored_key = partition.to_be_bytes().to_vec();
    for (at, (key, value)) in sorted.iter().enumerate() {
        if sorted.get(at + 1).is_some_and(|next| next.0 == *key) {
            continue;
        }
        stored_key.truncate(size_of::<u16>());
        stored_key.extend_from_slice(key);
        match value {
            Some(value) => write.put(&stored_key, value),
            None => write.delete(&stored_key),
        }
    }
    write.put(position::key(partition), Stamped { position, current_at_ms }.encode());
    Ok(())
}
