//! The watch list: symbols that are watched from when they were first listed, whether they were ever seen or not.
//!
//! A listing is a row. It is written once the symbol's home partition is taken over, by the settings of whoever owns
//! it then, and only a removal of the symbol ends it.

use std::sync::Arc;

use super::effect::Effect;
use super::input::Now;
use super::processor::Processor;
use crate::model::{Partition, SymbolRow, partition_of};

/// How many symbols are looked up at once.
const LISTED_AT_ONCE: usize = 1_000;

/// Symbols of one partition that the store was asked for.
#[derive(Debug)]
pub(super) struct Listing {
    partition: Partition,
    symbols: Vec<Arc<str>>,
}

impl Processor {
    /// Of a partition that was taken over: its share of the watch list is to be held against the store.
    pub(super) fn list_later(&mut self, partition: Partition) {
        let partitions = self.settings.rules.partitions;
        let is_home = |symbol: &&Arc<str>| partition_of(symbol.as_bytes(), partitions) == partition;
        let symbols: Vec<Arc<str>> = self.settings.watchlist.iter().filter(is_home).cloned().collect();
        if !symbols.is_empty() {
            self.unlisted.insert(partition, symbols);
        }
    }

    /// Looks some symbols up that may have no listing yet; whether there were any.
    pub(super) fn list(&mut self) -> bool {
        let Some((partition, symbols)) = self.unlisted.iter().next() else { return false };
        let symbols: Vec<Arc<str>> = symbols.iter().take(LISTED_AT_ONCE).cloned().collect();
        let names = symbols.iter().map(|symbol| (*partition, symbol.clone())).collect();
        self.listing = Some(Listing { partition: *partition, symbols });
        self.effects.push_back(Effect::Lookup(names));
        true
    }

    /// The store's answer. What is not listed gets its row in a round of its own, and is looked up once more after
    /// that: only what the store has is done with.
    pub(super) fn list_found(&mut self, listing: &Listing, rows: Vec<Option<SymbolRow>>, now: Now) {
        assert_eq!(listing.symbols.len(), rows.len(), "a look-up answers every symbol asked");
        let partition = listing.partition;
        let Some(task) = self.tasks.get_mut(&partition) else { return };
        let mut writes = false;
        for (symbol, row) in listing.symbols.iter().zip(rows) {
            if row.as_ref().is_some_and(|row| row.listed_at.is_some()) {
                continue;
            }
            let slot = task.slot_id(symbol, &self.settings.classes);
            task.learn(slot, row);
            let before = task.row(slot).cloned().unwrap_or_default();
            task.set(slot, Some(SymbolRow { listed_at: Some(now.wall.0), ..before }));
            writes = true;
        }
        if writes {
            let generation = self.generation;
            self.open_round(generation, now).partitions.insert(partition);
            self.finish_round();
        } else if let Some(left) = self.unlisted.get_mut(&partition) {
            left.retain(|symbol| !listing.symbols.contains(symbol));
            if left.is_empty() {
                self.unlisted.remove(&partition);
            }
        }
    }
}
