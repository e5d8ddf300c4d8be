//! A symbol of the watch list has a listing in its home partition from some moment on, always the same, until a
//! tombstone ends it; no other symbol has one.

use tickgate::model::{Partition, partition_of};

use super::{Breach, hold};
use crate::journal::{Body, Journal, Topic, Txn, index};
use crate::reference::Reference;
use crate::watch::Watch;

/// Takes up the listings of a transaction that has just been committed, after what it judged.
pub fn check(
    txn: Txn,
    journal: &Journal,
    reference: &mut Reference,
    watch: &Watch,
    partitions: i32,
) -> Result<(), Breach> {
    for (topic, partition, at) in &journal.txns[txn].wrote {
        let log = journal.read(*topic, *partition).expect("a log was written");
        let Body::Row(symbol, Some(row)) = &log.entries[index(*at)].body else { continue };
        hold(*topic == Topic::Changelog, || format!("a row in {topic:?}"))?;
        let known = reference.listed_at(*partition, symbol);
        let may_be = is_listed(watch, symbol, *partition, partitions);
        match (known, row.listed_at) {
            (None, Some(listed_at)) => {
                hold(may_be, || format!("partition {partition}: `{symbol}` is on no watch list"))?;
                reference.list(*partition, symbol, listed_at);
            }
            (known, listed_at) => hold(known == listed_at, || {
                format!(
                    "partition {partition}: `{symbol}` was listed at {known:?}, its row says {listed_at:?}"
                )
            })?,
        }
    }
    Ok(())
}

/// When all is worked off.
pub fn check_drained(reference: &Reference, watch: &Watch, partitions: i32) -> Result<(), Breach> {
    for symbol in watch.listed() {
        let home = partition_of(symbol.as_bytes(), partitions);
        let is_there = reference.listed_at(home, &symbol).is_some() || reference.was_removed(home, &symbol);
        hold(is_there, || format!("partition {home}: `{symbol}` was never listed"))?;
    }
    Ok(())
}

fn is_listed(watch: &Watch, symbol: &str, partition: Partition, partitions: i32) -> bool {
    watch.listed().iter().any(|listed| &**listed == symbol)
        && partition_of(symbol.as_bytes(), partitions) == partition
}
