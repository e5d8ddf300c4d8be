//! A store is what the committed changelog says at the store's position, never more; and at a round's end that
//! is what the reference folded up to the checkpoint. In the end the changelog alone says it all.

use std::collections::BTreeMap;

use tickgate::model::{Offset, Partition, Reported};

use super::{Breach, hold};
use crate::disk::{Table, put};
use crate::journal::{Body, Journal, Topic};
use crate::reference::{End, Reference, Seen};

/// The compacted view of what is committed in the changelog below a position.
pub fn view(journal: &Journal, partition: Partition, position: Offset) -> Table {
    let mut table = Table { position: Some(position), ..Table::default() };
    for (_, entry) in journal.committed(Topic::Changelog, partition, 0, position) {
        match &entry.body {
            Body::Row(symbol, row) => put(&mut table.rows, &[(symbol.clone(), row.clone())]),
            Body::Checkpoint(checkpoint) => table.checkpoint = Some(checkpoint.clone()),
            _ => {}
        }
    }
    table
}

/// Holds at any moment, in the middle of a restore too.
pub fn check(journal: &Journal, partition: Partition, table: &Table) -> Result<(), Breach> {
    let position = table.position.unwrap_or(0);
    let end = journal.high_watermark(Topic::Changelog, partition);
    hold(position <= end, || {
        format!("partition {partition}: stored position {position}, changelog ends {end}")
    })?;
    let mut expected = view(journal, partition, position);
    expected.position = table.position;
    hold(*table == expected, || {
        format!(
            "partition {partition}: the store has {table:#?}, committed below its position is {expected:#?}"
        )
    })
}

/// Holds where a round or a restore ends.
pub fn check_whole(
    journal: &Journal,
    partition: Partition,
    table: &Table,
    reference: &Reference,
) -> Result<(), Breach> {
    check(journal, partition, table)?;
    let next = table.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.next_offset);
    let folded = reference.all_seen(partition, next);
    let stored = seen(table);
    hold(stored == folded, || {
        format!("partition {partition} at {next}: stored {stored:?}, the reference says {folded:?}")
    })
}

/// When everything has been worked off and every silence is over its threshold.
pub fn check_drained(journal: &Journal, partition: Partition, reference: &Reference) -> Result<(), Breach> {
    let end = journal.high_watermark(Topic::Changelog, partition);
    let table = view(journal, partition, end);
    check_whole(journal, partition, &table, reference)?;
    let open = reference
        .spans()
        .filter(|(of, _, _)| *of == partition)
        .filter_map(|(_, symbol, spans)| Some((symbol, spans.last().filter(|span| span.end == End::Open)?)));
    for (symbol, span) in open {
        let reported = table.rows.get(symbol).and_then(|row| row.reported);
        let expected = Reported { silence_from: span.last_seen, warn: false, error: true };
        hold(reported == Some(expected), || {
            format!("partition {partition}: `{symbol}` is silent, its row says {reported:?}")
        })?;
    }
    Ok(())
}

fn seen(table: &Table) -> BTreeMap<std::sync::Arc<str>, Seen> {
    table
        .rows
        .iter()
        .filter_map(|(symbol, row)| {
            let price = row.price?;
            let cents = i64::try_from(price.mantissa).unwrap();
            Some((symbol.clone(), Seen { last_seen: row.last_seen?, cents }))
        })
        .collect()
}
