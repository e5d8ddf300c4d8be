//! What Kafka removes from its logs: the changelog's older rows and, after a while, its tombstones; staging's
//! oldest records. Offsets stay, so that what is left is sparse.

use std::collections::BTreeMap;
use std::sync::Arc;

use tickgate::model::{Offset, Partition};

use crate::journal::{Body, Fate, Journal, Topic, index};

/// The changelog's `delete.retention.ms`: how long a tombstone can be read after the cleaner has first seen it.
pub const DELETE_RETENTION_MS: i64 = 300_000;

/// What a row of the changelog is about; none is the checkpoint.
type Key = Option<Arc<str>>;

/// What one pass of the cleaner removed.
#[derive(Debug, Default, Clone, Copy)]
pub struct Cleaned {
    pub rows: u64,
    pub tombstones: u64,
}

/// One pass over the changelog's partition, up to an offset and never beyond its last stable one.
pub fn clean(journal: &mut Journal, partition: Partition, to: Offset, retention_ms: i64) -> Cleaned {
    let to = index(to.min(journal.last_stable(Topic::Changelog, partition)));
    let now_ms = journal.now_ms;
    let fates: Vec<Fate> = journal.txns.iter().map(|transaction| transaction.fate).collect();
    let log = journal.log(Topic::Changelog, partition);
    let committed = |txn: Option<usize>| txn.is_none_or(|txn| fates[txn] == Fate::Committed);
    let mut newest: BTreeMap<Key, usize> = BTreeMap::new();
    for (at, entry) in log.entries[..to].iter().enumerate() {
        if let Some(key) = key(&entry.body)
            && committed(entry.txn)
        {
            newest.insert(key, at);
        }
    }
    let mut cleaned = Cleaned::default();
    for (at, entry) in log.entries[..to].iter_mut().enumerate().filter(|(_, entry)| !entry.gone) {
        let Some(key) = key(&entry.body) else { continue };
        if newest.get(&key) != Some(&at) {
            entry.gone = true;
            cleaned.rows += 1;
        } else if matches!(entry.body, Body::Row(_, None)) {
            let horizon_ms = *entry.horizon_ms.get_or_insert(now_ms + retention_ms);
            entry.gone = now_ms >= horizon_ms;
            cleaned.tombstones += u64::from(entry.gone);
        }
    }
    cleaned
}

/// Deletes staging's records below an offset.
pub fn delete_before(journal: &mut Journal, partition: Partition, start: Offset) {
    let log = journal.log(Topic::Staging, partition);
    log.start = log.start.max(start);
}

fn key(body: &Body) -> Option<Key> {
    match body {
        Body::Row(symbol, _) => Some(Some(symbol.clone())),
        Body::Class(name, _) => Some(Some(format!("class {name}").into())),
        Body::Checkpoint(_) => Some(None),
        _ => None,
    }
}
