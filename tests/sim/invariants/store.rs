//! A store is what the committed changelog says at the store's position, never more; and at a round's end that
//! is what the reference folded up to the checkpoint. In the end the changelog alone says it all, also what the
//! cleaner has left of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tickgate::model::{Offset, Partition, Reported};

use super::{Breach, hold};
use crate::disk::{Table, put};
use crate::journal::{Body, Entry, Journal, Topic};
use crate::reference::{End, Reference, Seen};
use crate::watch::Watch;

/// What was ever committed in the changelog below a position.
pub fn view(journal: &Journal, partition: Partition, position: Offset) -> Table {
    fold(position, journal.committed(Topic::Changelog, partition, 0, position))
}

fn fold<'a>(position: Offset, entries: impl Iterator<Item = (Offset, &'a Entry)>) -> Table {
    let mut table = Table { position: Some(position), ..Table::default() };
    for (_, entry) in entries {
        match &entry.body {
            Body::Row(symbol, row) => put(&mut table.rows, &[(symbol.clone(), row.clone())]),
            Body::Class(name, row) => drop(table.classes.insert(name.clone(), row.clone())),
            Body::Checkpoint(checkpoint) => table.checkpoint = Some(checkpoint.clone()),
            _ => {}
        }
    }
    table
}

/// Holds at any moment, in the middle of a restore too: there a row may be missing that the cleaner removed, as
/// a later one of its key follows.
pub fn check(journal: &Journal, partition: Partition, table: &Table) -> Result<(), Breach> {
    let position = table.position.unwrap_or(0);
    check_position(journal, partition, position)?;
    let expected = view(journal, partition, position);
    let has_more = |symbol: &Arc<str>| {
        follows(journal, partition, position, |body| matches!(body, Body::Row(of, _) if of == symbol))
    };
    let strange = table
        .rows
        .keys()
        .chain(expected.rows.keys())
        .find(|symbol| table.rows.get(*symbol) != expected.rows.get(*symbol) && !has_more(symbol));
    let class_follows = |name: &Arc<str>| {
        follows(journal, partition, position, |body| matches!(body, Body::Class(of, _) if of == name))
    };
    let strange_class = table
        .classes
        .keys()
        .chain(expected.classes.keys())
        .find(|name| table.classes.get(*name) != expected.classes.get(*name) && !class_follows(name));
    let checkpoint_fits = table.checkpoint == expected.checkpoint
        || follows(journal, partition, position, |body| matches!(body, Body::Checkpoint(_)));
    hold(strange.is_none() && strange_class.is_none() && checkpoint_fits, || {
        format!(
            "partition {partition}: the store has {table:#?}, committed below its position is {expected:#?}"
        )
    })
}

fn follows(journal: &Journal, partition: Partition, position: Offset, is_it: impl Fn(&Body) -> bool) -> bool {
    journal.committed(Topic::Changelog, partition, position, Offset::MAX).any(|(_, entry)| is_it(&entry.body))
}

/// Never ahead of Kafka.
fn check_position(journal: &Journal, partition: Partition, position: Offset) -> Result<(), Breach> {
    let end = journal.high_watermark(Topic::Changelog, partition);
    hold(position <= end, || {
        format!("partition {partition}: stored position {position}, changelog ends {end}")
    })
}

/// Holds where a round or a restore ends.
pub fn check_whole(
    journal: &Journal,
    partition: Partition,
    table: &Table,
    reference: &Reference,
) -> Result<(), Breach> {
    let position = table.position.unwrap_or(0);
    check_position(journal, partition, position)?;
    let expected = view(journal, partition, position);
    let all = |table: &Table| (table.rows.clone(), table.classes.clone(), table.checkpoint.clone());
    hold(all(table) == all(&expected), || {
        format!(
            "partition {partition}: the store has {table:#?}, committed below its position is {expected:#?}"
        )
    })?;
    let at = table.checkpoint.as_ref().map_or((0, 0), |row| (row.epoch, row.next_offset));
    let folded = reference.all_seen(partition, at);
    let stored = seen(table);
    hold(stored == folded, || {
        format!("partition {partition} at {at:?}: stored {stored:?}, the reference says {folded:?}")
    })
}

/// Holds where a partition is given up: what was committed has been applied.
pub fn check_given_up(
    partition: Partition,
    stored: Option<Offset>,
    committed: Option<Offset>,
) -> Result<(), Breach> {
    hold(committed <= stored, || {
        format!("partition {partition} is given up: committed {committed:?}, stored {stored:?}")
    })
}

/// When everything has been worked off and every silence is over its threshold.
pub fn check_drained(
    journal: &Journal,
    partition: Partition,
    reference: &Reference,
    watch: &Watch,
) -> Result<(), Breach> {
    let end = journal.high_watermark(Topic::Changelog, partition);
    let table = fold(end, journal.readable(Topic::Changelog, partition, 0, end));
    check_whole(journal, partition, &table, reference)?;
    let open = reference
        .spans()
        .filter(|(of, _, _)| *of == partition)
        .filter_map(|(_, symbol, spans)| Some((symbol, spans.last().filter(|span| span.end == End::Open)?)));
    for (symbol, span) in open {
        let reported = table.rows.get(symbol).and_then(|row| row.reported);
        let held = watch.of(symbol);
        let expected = held.error_ms.map(|_| Reported {
            silence_from: span.last_seen,
            warn: held.warn_ms.is_some(),
            error: true,
        });
        hold(reported == expected, || {
            format!("partition {partition}: `{symbol}` is silent, its row says {reported:?}")
        })?;
    }
    Ok(())
}

fn seen(table: &Table) -> BTreeMap<Arc<str>, Seen> {
    table
        .rows
        .iter()
        .filter_map(|(symbol, row)| {
            let price = row.price?;
            let cents = i64::try_from(price.mantissa).unwrap();
            Some((symbol.clone(), Seen { last_seen: row.last_seen?, cents, since: row.price_since? }))
        })
        .collect()
}
