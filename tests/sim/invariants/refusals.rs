//! Where somebody moved offsets, deleted records unjudged or made staging anew, the gate refuses, and nothing is
//! committed for the partition until an operator has chosen. It refuses nowhere else.

use std::collections::BTreeMap;

use tickgate::core::effect::Refusal;
use tickgate::model::{Offset, Partition};

use super::{Breach, hold};
use crate::journal::{Journal, Txn};

/// What was done to a partition while nobody was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampered {
    OffsetsMoved,
    RecordsDeleted,
    StagingRecreated,
}

/// Partitions that wait for an operator.
#[derive(Debug, Default)]
pub struct Refusals(BTreeMap<Partition, Tampered>);

impl Refusals {
    pub fn tampered(&mut self, partition: Partition, how: Tampered) {
        self.0.insert(partition, how);
    }

    pub fn settled(&mut self) -> BTreeMap<Partition, Tampered> {
        std::mem::take(&mut self.0)
    }

    pub fn awaits_operator(&self, partition: Partition) -> bool {
        self.0.contains_key(&partition)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A worker stops for this.
    pub fn check_refused(&self, refusal: &Refusal) -> Result<(), Breach> {
        let (partition, how) = match refusal {
            Refusal::CheckpointDiffers { partition, .. } => (partition, Tampered::OffsetsMoved),
            Refusal::BeforeStart { partition, .. } => (partition, Tampered::RecordsDeleted),
            Refusal::BeyondEnd { partition, .. } | Refusal::Recreated { partition, .. } => {
                (partition, Tampered::StagingRecreated)
            }
        };
        hold(self.0.get(partition) == Some(&how), || {
            format!("stopped, although nobody gave a reason: {refusal:?}; waiting {:?}", self.0)
        })
    }

    /// A worker starts to read these.
    pub fn check_resumed(&self, id: &str, offsets: &[(Partition, Offset)]) -> Result<(), Breach> {
        offsets.iter().try_for_each(|(partition, _)| {
            let how = self.0.get(partition);
            hold(how.is_none(), || format!("{id} goes on with partition {partition}, in spite of {how:?}"))
        })
    }

    /// Looks at a transaction that has just been committed.
    pub fn check(&self, txn: Txn, journal: &Journal) -> Result<(), Breach> {
        self.check_resumed(&journal.txns[txn].producer, &journal.txns[txn].offsets)
    }
}
