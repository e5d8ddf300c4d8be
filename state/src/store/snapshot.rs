//! Looking at the store as it was at one moment: rows, and the positions that they stand for, agree with each
//! other whatever is written meanwhile.

use super::position::{self, Position, Stamped};
use super::{StoreError, read, stored_key};
use crate::rows::{CheckpointRow, RowError, RowKey, SymbolRow};
use rocksdb::{DB, DBRawIteratorWithThreadMode, PrefixRange, ReadOptions};
use std::ops::ControlFlow;

/// All that the store held at one moment. It holds up the removal of old values, so it should be let go soon.
pub struct Snapshot<'a> {
    stored: rocksdb::Snapshot<'a>,
}

/// Where a partition's state stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The changelog up to here is in the state.
    pub position: Position,
    /// When that was last known to be all of the changelog, in ms since 1970.
    pub current_at_ms: i64,
    /// The input that the state stands for; none before the first round.
    pub checkpoint: Option<CheckpointRow>,
}

/// Some of a partition's rows as the changelog has them, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPage {
    /// Keys and values.
    pub rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether the partition has rows behind the last of these.
    pub has_more: bool,
}

impl<'a> Snapshot<'a> {
    pub(super) fn of(db: &'a DB) -> Self {
        Self { stored: db.snapshot() }
    }

    /// The partitions that have a position, in their order, and where they stand. Costs a few reads for each.
    pub fn partitions(&self) -> Result<Vec<(u16, Place)>, StoreError> {
        let mut found = Vec::new();
        let mut at = self.stored.raw_iterator_opt(looking());
        at.seek_to_first();
        while let Some(&[high, low, ..]) = at.key() {
            let partition = u16::from_be_bytes([high, low]);
            if let Some(place) = self.place(partition)? {
                found.push((partition, place));
            }
            let Some(next) = partition.checked_add(1) else { break };
            at.seek(stored_key(next, &[]));
        }
        at.status().map_err(StoreError::while_("scanning partitions"))?;
        Ok(found)
    }

    /// Where the partition stands; none if it has no position.
    pub fn place(&self, partition: u16) -> Result<Option<Place>, StoreError> {
        let stamped = self.get(&position::key(partition), "reading the position", Stamped::decode)?;
        let Some(Stamped { position, current_at_ms }) = stamped else { return Ok(None) };
        let key = stored_key(partition, &RowKey::Checkpoint.encode());
        let checkpoint = self.get(&key, "reading the checkpoint row", CheckpointRow::decode)?;
        Ok(Some(Place { position, current_at_ms, checkpoint }))
    }

    /// The symbol's row in the partition.
    pub fn symbol(&self, partition: u16, name: &str) -> Result<Option<SymbolRow>, StoreError> {
        let key = stored_key(partition, &RowKey::Symbol(name).encode());
        self.get(&key, "reading a symbol's row", SymbolRow::decode)
    }

    /// Shows the partition's symbols whose names begin with `prefix` and come behind `after`, by name, until `visit`
    /// has seen enough; whether it has.
    pub fn symbols(
        &self,
        partition: u16,
        prefix: &str,
        after: Option<&str>,
        mut visit: impl FnMut(&str, SymbolRow) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let from = stored_key(partition, &RowKey::Symbol(prefix).encode());
        let after = after.map(|name| stored_key(partition, &RowKey::Symbol(name).encode()));
        let name_at = stored_key(partition, &RowKey::Symbol("").encode()).len();
        let mut at = self.start(&from, after.as_deref());
        while let Some((key, value)) = at.item() {
            let in_row = StoreError::in_row(key);
            let Ok(name) = str::from_utf8(key.get(name_at..).unwrap_or_default()) else {
                return Err(in_row(RowError::BadKey { key: key.escape_ascii().to_string() }));
            };
            if visit(name, SymbolRow::decode(value).map_err(in_row)?).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            at.next();
        }
        at.status().map_err(StoreError::while_("scanning symbols"))?;
        Ok(ControlFlow::Continue(()))
    }

    /// The partition's rows of all kinds behind the key `after`: at most `rows_max`, and no more once their keys and
    /// values have come to `bytes_max`. Values are not looked into.
    pub fn rows(
        &self,
        partition: u16,
        after: Option<&[u8]>,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<RawPage, StoreError> {
        let from = stored_key(partition, &[]);
        let after = after.map(|key| stored_key(partition, key));
        let mut page = RawPage { rows: Vec::new(), has_more: false };
        let mut bytes = 0;
        let mut at = self.start(&from, after.as_deref());
        let position = position::key(partition);
        while let Some((key, value)) = at.item() {
            if key != position {
                if page.rows.len() >= rows_max || bytes >= bytes_max {
                    page.has_more = true;
                    return Ok(page);
                }
                let key = key.get(from.len()..).unwrap_or_default();
                bytes += key.len() + value.len();
                page.rows.push((key.to_vec(), value.to_vec()));
            }
            at.next();
        }
        at.status().map_err(StoreError::while_("scanning rows"))?;
        Ok(page)
    }

    /// At the first key that begins with `prefix` and lies behind `after`.
    fn start(&self, prefix: &[u8], after: Option<&[u8]>) -> DBRawIteratorWithThreadMode<'_, DB> {
        let mut options = looking();
        options.set_iterate_range(PrefixRange(prefix));
        let mut at = self.stored.raw_iterator_opt(options);
        match after {
            // The least key behind it.
            Some(after) => at.seek([after, &[0]].concat()),
            None => at.seek_to_first(),
        }
        at
    }

    fn get<R>(
        &self,
        key: &[u8],
        doing: &'static str,
        decode: impl Fn(&[u8]) -> Result<R, RowError>,
    ) -> Result<Option<R>, StoreError> {
        read(self.stored.get_pinned(key), key, doing, decode)
    }
}

impl std::fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// Whoever looks must not drive out what the rounds look up.
fn looking() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options
}
