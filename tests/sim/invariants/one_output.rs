//! Every committed record of staging below the committed offset has exactly one committed output; none at or
//! beyond it has any. Records that were deleted unjudged have none, where somebody was told so. Each is marked with
//! what the records before it make suspect.

use std::collections::BTreeSet;

use tickgate::model::{Offset, Partition};

use super::{Breach, hold};
use crate::journal::{Body, Entry, Journal, Topic, Txn, index};
use crate::reference::Reference;

/// Looks at a transaction that has just been committed, and folds the records that it judged.
pub fn check(txn: Txn, journal: &Journal, reference: &mut Reference) -> Result<(), Breach> {
    let transaction = &journal.txns[txn];
    let mut judged = BTreeSet::new();
    for (topic, partition, at) in &transaction.wrote {
        let log = journal.read(*topic, *partition).expect("a log was written");
        let Body::Output { source, marks, .. } = &log.entries[index(*at)].body else { continue };
        let of = source.partition;
        let next = due(journal, reference, of, Offset::MAX).map(|(at, _)| at);
        hold(next == Some(source.offset), || {
            format!("partition {of}: expected the output of {next:?} next, found that of {}", source.offset)
        })?;
        let Some((at, at_ms, staged)) = record(journal, of, source.offset) else {
            return Err(Breach(format!("{source:?} is no record")));
        };
        let expected = reference.fold(of, at, at_ms, &staged.truth);
        let by_history: Vec<_> = marks.iter().copied().filter(|mark| *mark != "wrong_partition").collect();
        hold(by_history == expected, || {
            format!("{source:?}: expected the marks {expected:?}, found {marks:?}")
        })?;
        judged.insert(of);
    }
    for (partition, offset) in &transaction.offsets {
        judged.remove(partition);
        let next = reference.next(*partition);
        hold(next <= *offset, || {
            format!("partition {partition}: {next} records have outputs, {offset} is committed")
        })?;
        let skipped = due(journal, reference, *partition, *offset).map(|(at, _)| at);
        hold(skipped.is_none(), || {
            format!("partition {partition}: {offset} is committed, {skipped:?} has no output")
        })?;
    }
    hold(judged.is_empty(), || format!("outputs without an offset in the same transaction: {judged:?}"))
}

/// When everything has been worked off: nothing without an output.
pub fn check_whole(journal: &Journal, partition: Partition, reference: &Reference) -> Result<(), Breach> {
    let left = due(journal, reference, partition, Offset::MAX).map(|(at, _)| at);
    hold(left.is_none(), || format!("partition {partition}: {left:?} never got an output"))
}

/// The first record below an offset that is still without an output.
fn due<'a>(
    journal: &'a Journal,
    reference: &Reference,
    partition: Partition,
    to: Offset,
) -> Option<(Offset, &'a Entry)> {
    let from = reference.next(partition);
    journal.committed(Topic::Staging, partition, from, to).find(|(at, _)| !reference.is_lost(partition, *at))
}

fn record(
    journal: &Journal,
    partition: Partition,
    at: Offset,
) -> Option<(Offset, i64, &crate::journal::Staged)> {
    let (at, entry) = journal.committed(Topic::Staging, partition, at, at + 1).next()?;
    match &entry.body {
        Body::Staged(staged) => Some((at, entry.at_ms, staged)),
        _ => None,
    }
}
