//! Answers, read from a snapshot of a store.

use std::ops::ControlFlow;

use tickgate_state::{Place, RawPage, Snapshot, StoreError, SymbolRow};

use super::answer::{Holder, PartitionState, RawRow, RawRows, Symbols};
use super::question::{Cursor, Question, RawQuestion};
use super::row::SymbolState;
use crate::model::Partition;

/// Rows that one question may look at: one that finds nothing among them goes on behind them.
const LOOKED_AT_MAX: usize = 20_000;
/// Once names or rows have come to so many bytes, a page ends.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// Where each partition stands. `holder` says whose state it is, `now_ms` is the wall time.
pub fn partitions(
    snapshot: &Snapshot<'_>,
    holder: impl Fn(Partition) -> Holder,
    now_ms: i64,
) -> Result<Vec<PartitionState>, StoreError> {
    let found = snapshot.partitions()?;
    Ok(found.into_iter().map(|(partition, place)| state(partition, &place, &holder, now_ms)).collect())
}

/// A page of symbols. A partition that comes or goes between two pages does not change what is told of others.
pub fn symbols(
    snapshot: &Snapshot<'_>,
    question: &Question,
    holder: impl Fn(Partition) -> Holder,
    now_ms: i64,
) -> Result<Symbols, StoreError> {
    let mut answer = Symbols { symbols: Vec::new(), partitions: Vec::new(), next: None };
    let mut page = Page { looked_at: 0, bytes: 0, last: String::new() };
    for (number, place) in snapshot.partitions()? {
        let partition = Partition::from(number);
        let after = question.after.as_ref().filter(|after| after.partition == partition);
        let is_behind = question.after.as_ref().is_none_or(|after| after.partition <= partition);
        let is_elsewhere = question.is_owned && holder(partition) != Holder::Owner;
        if !is_behind || is_elsewhere || question.partition.is_some_and(|only| only != partition) {
            continue;
        }
        answer.partitions.push(state(number, &place, &holder, now_ms));
        if let Some(name) = &question.symbol {
            let row = snapshot.symbol(number, name)?.filter(|row| question.calls_for(name, row));
            answer.symbols.extend(row.map(|row| SymbolState::new(name, partition, &row)));
            continue;
        }
        let after = after.map(|after| after.symbol.as_str());
        let rows = &mut answer.symbols;
        let ended = snapshot.symbols(number, &question.prefix, after, |name, row| {
            page.take(name, &row, partition, question, rows)
        })?;
        if ended.is_break() {
            answer.next = Some(Cursor { partition, symbol: page.last }.to_text());
            return Ok(answer);
        }
    }
    Ok(answer)
}

/// A page of a partition's rows; none if it has no state here.
pub fn rows(
    snapshot: &Snapshot<'_>,
    partition: Partition,
    question: &RawQuestion,
    holder: impl Fn(Partition) -> Holder,
    now_ms: i64,
) -> Result<Option<RawRows>, StoreError> {
    let Ok(number) = u16::try_from(partition) else { return Ok(None) };
    let Some(place) = snapshot.place(number)? else { return Ok(None) };
    let RawPage { rows, has_more } =
        snapshot.rows(number, question.after.as_deref(), question.limit, PAGE_BYTES_MAX)?;
    let rows = rows.into_iter().map(|(key, value)| RawRow { key, value }).collect();
    Ok(Some(RawRows { at: state(number, &place, &holder, now_ms), rows, has_more }))
}

/// What a page has cost so far, and the last symbol that was looked at.
struct Page {
    looked_at: usize,
    bytes: usize,
    last: String,
}

impl Page {
    fn take(
        &mut self,
        name: &str,
        row: &SymbolRow,
        partition: Partition,
        question: &Question,
        rows: &mut Vec<SymbolState>,
    ) -> ControlFlow<()> {
        self.looked_at += 1;
        if question.calls_for(name, row) {
            self.bytes += name.len();
            rows.push(SymbolState::new(name, partition, row));
        }
        let is_full = rows.len() >= question.limit || self.bytes >= PAGE_BYTES_MAX;
        if is_full || self.looked_at >= LOOKED_AT_MAX {
            name.clone_into(&mut self.last);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

fn state(partition: u16, place: &Place, holder: impl Fn(Partition) -> Holder, now_ms: i64) -> PartitionState {
    let partition = Partition::from(partition);
    PartitionState {
        partition,
        source: holder(partition),
        changelog_next: place.position.changelog_next,
        next_offset: place.checkpoint.as_ref().map(|row| row.next_offset),
        epoch: place.checkpoint.as_ref().map(|row| row.epoch),
        // A clock that was set back gives 0.
        age_ms: now_ms.saturating_sub(place.current_at_ms).max(0),
    }
}
