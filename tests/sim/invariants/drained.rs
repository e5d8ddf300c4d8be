//! When faults stop, everything is worked off within a bound.

use tickgate::model::Partition;

use super::{Breach, hold};
use crate::journal::{Journal, Topic};

/// How many rounds of the calm everything is worked off in, transaction timeouts included.
const WITHIN: usize = 600;

/// Whether all of a partition's input is committed.
pub fn is_done(journal: &Journal, partition: Partition) -> bool {
    let Some((committed, _)) = journal.offsets.committed(partition) else { return false };
    let end = journal.high_watermark(Topic::Staging, partition);
    !journal.offsets.is_pending(partition)
        && journal.last_stable(Topic::Staging, partition) == end
        && journal.readable(Topic::Staging, partition, committed, end).next().is_none()
}

/// `left`: what is still to be done.
pub fn check(rounds: usize, left: impl FnOnce() -> String) -> Result<(), Breach> {
    hold(rounds <= WITHIN, || format!("not worked off in {WITHIN} rounds of the calm: {}", left()))
}
