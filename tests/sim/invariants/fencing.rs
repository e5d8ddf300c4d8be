//! Nothing is applied or committed after fencing: a worker that was told so gives up and starts over, and a
//! producer that somebody took the id from commits nothing.

use tickgate::core::Effect;

use super::{Breach, hold};
use crate::journal::{Journal, Txn};

/// What a worker may still do that was told that it is fenced, or that its partitions are lost.
pub fn check_effect(id: &str, effect: &Effect) -> Result<(), Breach> {
    let gives_up = matches!(
        effect,
        Effect::Abort | Effect::Release(_) | Effect::Notice(_) | Effect::Rejoin(_) | Effect::Stop(_)
    );
    hold(gives_up, || {
        format!("{id} was told that it is fenced or has lost its partitions: {}", effect.name())
    })
}

/// Looks at a transaction that has just been committed.
pub fn check(txn: Txn, journal: &Journal) -> Result<(), Breach> {
    hold(journal.was_rightful(txn), || format!("{} was fenced, and committed", journal.txns[txn].producer))
}
