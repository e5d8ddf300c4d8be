//! One instance's store without a write-ahead log: batches are whole, the latest are lost in a crash. A partition
//! has one writer at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tickgate::model::{CheckpointRow, ClassRow, Offset, Partition, SymbolRow};

/// What is stored of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    pub position: Option<Offset>,
    pub rows: BTreeMap<Arc<str>, SymbolRow>,
    pub classes: BTreeMap<Arc<str>, ClassRow>,
    pub checkpoint: Option<CheckpointRow>,
    /// Wall time at which it was last known to have all that the changelog had.
    pub current_at: i64,
}

/// A batch's part for one partition.
#[derive(Debug, Clone)]
pub struct Write {
    pub partition: Partition,
    /// Whether the partition is emptied first.
    pub clears: bool,
    pub rows: Vec<(Arc<str>, Option<SymbolRow>)>,
    pub classes: Vec<(Arc<str>, ClassRow)>,
    pub checkpoint: Option<CheckpointRow>,
    pub position: Option<Offset>,
    pub current_at: i64,
}

#[derive(Debug, Default)]
pub struct Disk {
    /// Who may write a partition.
    writers: BTreeMap<Partition, String>,
    /// Partitions that a replica has moved on since a worker took them last.
    followed: BTreeSet<Partition>,
    durable: BTreeMap<Partition, Table>,
    live: BTreeMap<Partition, Table>,
    unflushed: Vec<Vec<Write>>,
}

impl Disk {
    pub fn table(&self, partition: Partition) -> Option<&Table> {
        self.live.get(&partition)
    }

    pub fn position(&self, partition: Partition) -> Option<Offset> {
        self.table(partition).and_then(|table| table.position)
    }

    pub fn tables(&self) -> impl Iterator<Item = (Partition, &Table)> {
        self.live.iter().map(|(partition, table)| (*partition, table))
    }

    pub fn apply(&mut self, batch: Vec<Write>) {
        for write in &batch {
            write.apply(&mut self.live);
        }
        self.unflushed.push(batch);
    }

    /// The right to write a partition, unless another has it.
    pub fn take(&mut self, partition: Partition, id: &str) -> bool {
        self.writers.entry(partition).or_insert_with(|| id.to_owned()) == id
    }

    pub fn note_followed(&mut self, partition: Partition) {
        self.followed.insert(partition);
    }

    /// Whether a replica has moved the partition on; asked once.
    pub fn was_followed(&mut self, partition: Partition) -> bool {
        self.followed.remove(&partition)
    }

    /// Gives partitions back.
    pub fn give_back(&mut self, id: &str, partitions: &[Partition]) {
        self.writers.retain(|partition, of| of != id || !partitions.contains(partition));
    }

    /// Gives everything back.
    pub fn give_all_back(&mut self, id: &str) {
        self.writers.retain(|_, of| of != id);
    }

    pub fn unflushed(&self) -> usize {
        self.unflushed.len()
    }

    pub fn flush(&mut self) {
        self.durable.clone_from(&self.live);
        self.unflushed.clear();
    }

    /// Keeps what was flushed and the first `kept` batches after it.
    pub fn crash(&mut self, kept: usize) {
        self.writers.clear();
        self.followed.clear();
        for write in self.unflushed.drain(..).take(kept).flatten() {
            write.apply(&mut self.durable);
        }
        self.live.clone_from(&self.durable);
    }
}

impl Write {
    fn apply(&self, to: &mut BTreeMap<Partition, Table>) {
        let table = to.entry(self.partition).or_default();
        if self.clears {
            *table = Table::default();
        }
        put(&mut table.rows, &self.rows);
        table.classes.extend(self.classes.iter().cloned());
        if let Some(checkpoint) = &self.checkpoint {
            table.checkpoint = Some(checkpoint.clone());
        }
        if self.position.is_some() {
            table.position = self.position;
        }
        table.current_at = self.current_at;
    }
}

/// Sets and removes rows.
pub fn put(to: &mut BTreeMap<Arc<str>, SymbolRow>, rows: &[(Arc<str>, Option<SymbolRow>)]) {
    for (symbol, row) in rows {
        match row {
            Some(row) => to.insert(symbol.clone(), row.clone()),
            None => to.remove(symbol),
        };
    }
}
