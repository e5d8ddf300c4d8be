//! Every output is in the right topic, of the right kind, in the input's partition and with the partition's
//! epoch; the outputs of a key are in the order of its inputs.

use std::collections::BTreeMap;

use tickgate::model::{Kind, Offset, Partition};

use super::{Breach, hold};
use crate::journal::{Body, Journal, Topic, Truth, Txn, index};
use crate::reference::{At, Reference};

/// Where a key's outputs go to, and the last of them: its place there and its input's.
#[derive(Debug, Default)]
pub struct Routes(BTreeMap<(Topic, Partition, Vec<u8>), (Offset, At)>);

impl Routes {
    /// Looks at a transaction that has just been committed.
    pub fn check(&mut self, txn: Txn, journal: &Journal, reference: &Reference) -> Result<(), Breach> {
        for (topic, partition, at) in &journal.txns[txn].wrote {
            let log = journal.read(*topic, *partition).expect("a log was written");
            let Body::Output { source, kind, epoch, .. } = &log.entries[index(*at)].body else { continue };
            let of = source.partition;
            hold(of == *partition, || format!("an output of partition {of} is in partition {partition}"))?;
            let expected_epoch = reference.epoch(of);
            hold(*epoch == expected_epoch, || {
                format!("{source:?}: expected epoch {expected_epoch}, found {epoch}")
            })?;
            let input =
                journal.read(Topic::Staging, of).and_then(|log| log.entries.get(index(source.offset)));
            let Some(Body::Staged(staged)) = input.map(|entry| &entry.body) else {
                return Err(Breach(format!("{source:?} is no record")));
            };
            hold(expected(&staged.truth) == (*topic, *kind), || {
                format!("{source:?}: {:?} became {topic:?} {kind:?}", staged.truth)
            })?;
            let key = (*topic, of, staged.key.clone().unwrap_or_default());
            let place = (*at, (*epoch, source.offset));
            let before = self.0.insert(key, place);
            hold(before.is_none_or(|before| before.0 < place.0 && before.1 < place.1), || {
                format!("{source:?}: its output at {at} is out of order, before it came {before:?}")
            })?;
        }
        Ok(())
    }
}

fn expected(truth: &Truth) -> (Topic, Option<Kind>) {
    match truth {
        Truth::Quote { .. } => (Topic::StockData, None),
        Truth::Bad => (Topic::BadData, Some(Kind::Rejected)),
        Truth::Tombstone { .. } => (Topic::BadData, Some(Kind::Removed)),
        Truth::Unsendable { .. } => (Topic::BadData, Some(Kind::Unsendable)),
    }
}
