//! The group's committed offsets: plain ones hold at once, transactional ones once the group's marker is there.

use std::collections::BTreeMap;

use tickgate::model::{Offset, Partition};

use crate::journal::Txn;

#[derive(Debug, Clone)]
struct Committed {
    offset: Offset,
    metadata: String,
    /// Its place in the log of offsets.
    written: u64,
}

#[derive(Debug, Default)]
pub struct Offsets {
    stable: BTreeMap<Partition, Committed>,
    pending: Vec<(Txn, Partition, Committed)>,
    written: u64,
}

impl Offsets {
    /// Offset and metadata, pending ones ignored.
    pub fn committed(&self, partition: Partition) -> Option<(Offset, &str)> {
        self.stable.get(&partition).map(|committed| (committed.offset, committed.metadata.as_str()))
    }

    pub fn is_pending(&self, partition: Partition) -> bool {
        self.pending(partition).next().is_some()
    }

    /// The metadata of the commits that have no marker yet.
    pub fn pending(&self, partition: Partition) -> impl Iterator<Item = &str> {
        let of = self.pending.iter().filter(move |(_, of, _)| *of == partition);
        of.map(|(_, _, committed)| committed.metadata.as_str())
    }

    pub fn commit(&mut self, partition: Partition, offset: Offset, metadata: String) {
        self.written += 1;
        self.stable.insert(partition, Committed { offset, metadata, written: self.written });
    }

    pub fn pend(&mut self, txn: Txn, partition: Partition, offset: Offset, metadata: String) {
        self.written += 1;
        self.pending.push((txn, partition, Committed { offset, metadata, written: self.written }));
    }

    /// The group no longer knows of an offset: it has expired, or its partition was deleted.
    pub fn forget(&mut self, partition: Partition) {
        self.stable.remove(&partition);
        self.pending.retain(|(_, of, _)| *of != partition);
    }

    /// The transaction's marker. A pending commit that is older than a plain one is skipped, as Kafka does.
    pub fn settle(&mut self, txn: Txn, committed: bool) {
        let (settled, pending) =
            std::mem::take(&mut self.pending).into_iter().partition(|(of, _, _)| *of == txn);
        self.pending = pending;
        let settled: Vec<(Txn, Partition, Committed)> = settled;
        for (_, partition, commit) in settled {
            let newer = self.stable.get(&partition).is_none_or(|stable| stable.written < commit.written);
            if committed && newer {
                self.stable.insert(partition, commit);
            }
        }
    }
}
