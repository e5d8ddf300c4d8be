//! In one generation of the group a partition has one owner that commits. A static member that was restarted
//! takes the place of the one before it, in the same generation: then the earlier one never commits again.

use std::collections::BTreeMap;

use tickgate::model::Partition;

use super::{Breach, hold};
use crate::journal::{Journal, Txn};

/// Who committed for a partition in a generation, in order.
#[derive(Debug)]
pub struct Owners {
    of: BTreeMap<(Partition, u32), Vec<String>>,
    /// Whether members have names that survive restarts.
    are_static: bool,
}

impl Owners {
    pub fn new(are_static: bool) -> Self {
        Self { of: BTreeMap::new(), are_static }
    }

    /// Looks at a transaction that has just been committed.
    pub fn check(&mut self, txn: Txn, journal: &Journal) -> Result<(), Breach> {
        let transaction = &journal.txns[txn];
        // Without a generation it was nobody of the group.
        let Some(generation) = transaction.generation else { return Ok(()) };
        transaction
            .offsets
            .iter()
            .try_for_each(|(partition, _)| self.commits(*partition, generation, &transaction.producer))
    }

    /// An id commits for a partition, in a transaction or plainly.
    pub fn commits(&mut self, partition: Partition, generation: u32, id: &str) -> Result<(), Breach> {
        let owners = self.of.entry((partition, generation)).or_default();
        if owners.last().is_some_and(|owner| owner == id) {
            return Ok(());
        }
        let may = if self.are_static { !owners.iter().any(|owner| owner == id) } else { owners.is_empty() };
        hold(may, || {
            format!("partition {partition}, generation {generation}: {id} commits, and so did {owners:?}")
        })?;
        owners.push(id.to_owned());
        Ok(())
    }
}
