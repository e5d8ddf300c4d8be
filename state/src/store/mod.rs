//! The store of one instance: every symbol's row of every partition, and where in the changelog each stands.
//!
//! Layout: one database with one column family. A key is the partition (u16, big-endian) and then the row's key as
//! the changelog has it; a partition's position has the type byte `p`, which no changelog record may have. There is
//! no write-ahead log: a crash costs the writes since the last flush, values and positions alike, and the
//! changelog still has them.
//!
//! Not in here: what the rows mean, and who may write when (`PartitionWriter` only sees to it that it is one).

mod error;
mod folder;
mod identity;
mod options;
mod position;
mod snapshot;
mod stopped;
mod write;

pub use error::{ApplyError, OpenError, StoreError, WriterTaken};
pub use identity::StoreIdentity;
pub use options::StoreOptions;
pub use position::Position;
pub use snapshot::{Place, RawPage, Snapshot};
pub use stopped::StoppedStore;
pub use write::{Batch, PartitionWriter, Row};

use crate::rows::{CheckpointRow, ClassRow, RowError, RowKey, SymbolRow};
use folder::Folder;
use position::Stamped;
use rocksdb::{ColumnFamily, DB, DEFAULT_COLUMN_FAMILY_NAME, ReadOptions};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The open store. Workers share it in an `Arc`.
pub struct Store {
    // The fields' order is the order of their drop: the database closes before the folder's lock is let go.
    db: DB,
    written: Mutex<BTreeSet<u16>>,
    folder: Folder,
}

/// How large the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreStats {
    /// Roughly how many keys it holds; overwritten and deleted ones may count.
    pub keys_estimate: u64,
    /// How many bytes its files take, without what is still in memory.
    pub bytes: u64,
}

impl Store {
    /// Opens the store in `dir`, making it where there is none.
    ///
    /// Refuses a folder that another process has open, that cannot be written, that belongs to another group,
    /// changelog or cluster, that a newer version wrote, or that is damaged; see `OpenError`.
    pub fn open(dir: &Path, identity: &StoreIdentity, options: &StoreOptions) -> Result<Self, OpenError> {
        let folder = Folder::lock(dir)?;
        folder.check_undamaged()?;
        folder.claim(identity)?;
        let (db_options, data_options) = options.to_rocksdb();
        let db = DB::open_cf_with_opts(
            &db_options,
            folder.database(),
            [(DEFAULT_COLUMN_FAMILY_NAME, data_options)],
        )
        .map_err(|source| OpenError::of_database(&folder.database(), source))?;
        Ok(Self { db, written: Mutex::new(BTreeSet::new()), folder })
    }

    /// Moves a damaged store out of the way, so that a fresh one can be opened in `dir`; answers where it is now.
    /// One that was set aside earlier is removed. Refuses with `OpenError::Locked` while the store is open.
    pub fn set_aside(dir: &Path) -> Result<PathBuf, OpenError> {
        Folder::lock(dir)?.set_aside()
    }

    /// Marks the store as one that must not be opened again before it has been set aside.
    pub fn mark_damaged(&self, reason: &str) {
        if let Err(error) = self.folder.mark_damaged(reason) {
            tracing::error!(%error, reason, "the store is damaged, and its folder could not be marked so");
        }
    }

    /// Where in the changelog the partition stands; none if it has never been restored.
    pub fn position(&self, partition: u16) -> Result<Option<Position>, StoreError> {
        Ok(self.stamped(partition)?.map(|stamped| stamped.position))
    }

    /// How many ms before `now_ms` the partition was last known to be current; none if it has no position. A clock
    /// that was set back gives 0.
    pub fn age_ms(&self, partition: u16, now_ms: i64) -> Result<Option<i64>, StoreError> {
        Ok(self.stamped(partition)?.map(|stamped| now_ms.saturating_sub(stamped.current_at_ms).max(0)))
    }

    /// The input that the partition's state stands for.
    pub fn checkpoint(&self, partition: u16) -> Result<Option<CheckpointRow>, StoreError> {
        let key = stored_key(partition, &RowKey::Checkpoint.encode());
        self.get(&key, "reading the checkpoint row", CheckpointRow::decode)
    }

    /// The rows of the named symbols, in the order asked. Names may repeat.
    pub fn symbols(&self, partition: u16, names: &[&str]) -> Result<Vec<Option<SymbolRow>>, StoreError> {
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_unstable_by_key(|&at| names[at]);
        let mut keys: Vec<Vec<u8>> = Vec::with_capacity(names.len());
        let mut key_of = vec![0; names.len()];
        let mut last = None;
        for at in order {
            if last != Some(names[at]) {
                keys.push(stored_key(partition, &RowKey::Symbol(names[at]).encode()));
                last = Some(names[at]);
            }
            key_of[at] = keys.len() - 1;
        }
        let found = self.get_sorted(&keys, "reading symbol rows", SymbolRow::decode)?;
        Ok(key_of.into_iter().map(|key| found[key].clone()).collect())
    }

    /// All symbol rows of the partition, by name.
    pub fn symbol_rows(&self, partition: u16) -> Result<Vec<(Box<str>, SymbolRow)>, StoreError> {
        self.scan(partition, &RowKey::Symbol("").encode(), SymbolRow::decode)
    }

    /// The first rows of the partition's symbols in `names`, by name: at most `limit`. `None` is no end.
    pub fn symbol_span(
        &self,
        partition: u16,
        names: (&str, Option<&str>),
        limit: usize,
    ) -> Result<Vec<(Box<str>, SymbolRow)>, StoreError> {
        let kind = RowKey::Symbol("").encode();
        self.scan_span(partition, &kind, names, limit, SymbolRow::decode)
    }

    /// All class rows of the partition, by name.
    pub fn class_rows(&self, partition: u16) -> Result<Vec<(Box<str>, ClassRow)>, StoreError> {
        self.scan(partition, &RowKey::Class("").encode(), ClassRow::decode)
    }

    /// All that is stored now, whatever is written while it is looked at.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::of(&self.db)
    }

    /// How large the store is.
    pub fn stats(&self) -> Result<StoreStats, StoreError> {
        let property = |name: &'static str| {
            let value = self.db.property_int_value(name);
            value.map(Option::unwrap_or_default).map_err(StoreError::while_("reading the store's size"))
        };
        Ok(StoreStats {
            keys_estimate: property("rocksdb.estimate-num-keys")?,
            bytes: property("rocksdb.total-sst-files-size")?,
        })
    }

    fn stamped(&self, partition: u16) -> Result<Option<Stamped>, StoreError> {
        self.get(&position::key(partition), "reading the position", Stamped::decode)
    }

    fn get<R>(
        &self,
        key: &[u8],
        doing: &'static str,
        decode: impl Fn(&[u8]) -> Result<R, RowError>,
    ) -> Result<Option<R>, StoreError> {
        read(self.db.get_pinned(key), key, doing, decode)
    }

    /// Looks up keys that are sorted and distinct.
    fn get_sorted<R>(
        &self,
        keys: &[Vec<u8>],
        doing: &'static str,
        decode: impl Fn(&[u8]) -> Result<R, RowError>,
    ) -> Result<Vec<Option<R>>, StoreError> {
        let values = self.db.batched_multi_get_cf(self.data(), keys, true);
        let rows = keys.iter().zip(values).map(|(key, value)| read(value, key, doing, &decode));
        rows.collect()
    }

    fn scan<R>(
        &self,
        partition: u16,
        kind: &[u8],
        decode: impl Fn(&[u8]) -> Result<R, RowError>,
    ) -> Result<Vec<(Box<str>, R)>, StoreError> {
        self.scan_span(partition, kind, ("", None), usize::MAX, decode)
    }

    fn scan_span<R>(
        &self,
        partition: u16,
        kind: &[u8],
        (first, end): (&str, Option<&str>),
        limit: usize,
        decode: impl Fn(&[u8]) -> Result<R, RowError>,
    ) -> Result<Vec<(Box<str>, R)>, StoreError> {
        let all = stored_key(partition, kind);
        let key_of = |name: &str| [&all, name.as_bytes()].concat();
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(all.as_slice()));
        options.set_iterate_lower_bound(key_of(first));
        if let Some(end) = end {
            options.set_iterate_upper_bound(key_of(end));
        }
        // What is scanned is not what the rounds look up; it must not drive that out.
        options.fill_cache(false);
        let mut rows = Vec::new();
        let mut at = self.db.raw_iterator_opt(options);
        at.seek_to_first();
        while rows.len() < limit
            && let Some((key, value)) = at.item()
        {
            let in_row = StoreError::in_row(key);
            let name = key.get(all.len()..).unwrap_or_default();
            let Ok(name) = str::from_utf8(name) else {
                return Err(in_row(RowError::BadKey { key: key.escape_ascii().to_string() }));
            };
            rows.push((name.into(), decode(value).map_err(in_row)?));
            at.next();
        }
        at.status().map_err(StoreError::while_("scanning rows"))?;
        Ok(rows)
    }

    fn data(&self) -> &ColumnFamily {
        self.db.cf_handle(DEFAULT_COLUMN_FAMILY_NAME).expect("`open` names the column family")
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("database", &self.folder.database()).finish_non_exhaustive()
    }
}

/// The row that a look-up of `key` found.
fn read<R>(
    found: Result<Option<impl AsRef<[u8]>>, rocksdb::Error>,
    key: &[u8],
    doing: &'static str,
    decode: impl Fn(&[u8]) -> Result<R, RowError>,
) -> Result<Option<R>, StoreError> {
    let value = found.map_err(StoreError::while_(doing))?;
    value.map(|value| decode(value.as_ref()).map_err(StoreError::in_row(key))).transpose()
}

/// A row's key in the store: its partition, then its key in the changelog.
fn stored_key(partition: u16, row_key: &[u8]) -> Vec<u8> {
    [partition.to_be_bytes().as_slice(), row_key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_are_in_the_order_of_partitions_and_then_of_rows(one: (u16, Vec<u8>), other: (u16, Vec<u8>)) {
            let key = |(partition, row): &(u16, Vec<u8>)| stored_key(*partition, row);
            prop_assert_eq!(key(&one).cmp(&key(&other)), one.cmp(&other));
        }
    }
}
