//! Every committed record of staging below the committed offset has exactly one committed output, in the right
//! topic and in the order of its partition; none at or beyond it has any.

use std::collections::BTreeSet;

use tickgate::model::{Kind, Offset, Partition};

use super::{Breach, hold};
use crate::journal::{Body, Journal, Topic, Truth, Txn};
use crate::reference::Reference;

/// Looks at a transaction that has just been committed, and folds the records that it judged.
pub fn check(txn: Txn, journal: &Journal, reference: &mut Reference) -> Result<(), Breach> {
    let transaction = &journal.txns[txn];
    let mut judged = BTreeSet::new();
    for (topic, partition, at) in &transaction.wrote {
        let log = journal.read(*topic, *partition).expect("a log was written");
        let Body::Output { source, kind } = &log.entries[crate::journal::index(*at)].body else { continue };
        let of = source.partition;
        hold(of == *partition, || format!("an output of partition {of} is in partition {partition}"))?;
        let next = readable(journal, of, reference.next(of), Offset::MAX);
        hold(next == Some(source.offset), || {
            format!("partition {of}: expected the output of {next:?} next, found that of {}", source.offset)
        })?;
        let Some(truth) = truth(journal, of, source.offset) else {
            return Err(Breach(format!("{source:?} is no record")));
        };
        hold(expected(truth) == (*topic, *kind), || {
            format!("{source:?}: {truth:?} became {topic:?} {kind:?}")
        })?;
        reference.fold(of, source.offset, truth);
        judged.insert(of);
    }
    for (partition, offset) in &transaction.offsets {
        judged.remove(partition);
        let next = reference.next(*partition);
        hold(next <= *offset, || {
            format!("partition {partition}: {next} records have outputs, {offset} is committed")
        })?;
        let skipped = readable(journal, *partition, next, *offset);
        hold(skipped.is_none(), || {
            format!("partition {partition}: {offset} is committed, {skipped:?} has no output")
        })?;
    }
    hold(judged.is_empty(), || format!("outputs without an offset in the same transaction: {judged:?}"))
}

/// When everything has been worked off: nothing without an output.
pub fn check_whole(journal: &Journal, partition: Partition, reference: &Reference) -> Result<(), Breach> {
    let left = readable(journal, partition, reference.next(partition), Offset::MAX);
    hold(left.is_none(), || format!("partition {partition}: {left:?} never got an output"))
}

/// The first record that a reader gets in a range.
fn readable(journal: &Journal, partition: Partition, from: Offset, to: Offset) -> Option<Offset> {
    journal.committed(Topic::Staging, partition, from, to).map(|(at, _)| at).next()
}

fn truth(journal: &Journal, partition: Partition, at: Offset) -> Option<&Truth> {
    let (_, entry) = journal.committed(Topic::Staging, partition, at, at + 1).next()?;
    match &entry.body {
        Body::Staged(staged) => Some(&staged.truth),
        _ => None,
    }
}

fn expected(truth: &Truth) -> (Topic, Option<Kind>) {
    match truth {
        Truth::Quote { .. } => (Topic::StockData, None),
        Truth::Bad => (Topic::BadData, Some(Kind::Rejected)),
        Truth::Tombstone { .. } => (Topic::BadData, Some(Kind::Removed)),
        Truth::Unsendable => (Topic::BadData, Some(Kind::Unsendable)),
    }
}
