//! A round that only marks what was claimed as given up moves no offset: nothing was judged.

use super::{Breach, hold};
use crate::journal::{Journal, Txn};

/// Whether a transaction is such a round: it has offsets and nothing else.
pub fn is_one(txn: Txn, journal: &Journal) -> bool {
    journal.txns[txn].wrote.is_empty()
}

/// Looks at one that has just been committed, before its offsets are stable.
pub fn check(txn: Txn, journal: &Journal) -> Result<(), Breach> {
    journal.txns[txn].offsets.iter().try_for_each(|(partition, offset)| {
        let before = journal.offsets.committed(*partition).map(|(before, _)| before);
        hold(before == Some(*offset), || {
            format!("partition {partition} is given up at {offset}, committed before was {before:?}")
        })
    })
}
