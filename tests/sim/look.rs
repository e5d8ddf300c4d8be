//! What a worker sees of the store and of staging's ends, its own partitions and those that the replica follows.

use std::sync::Arc;

use tickgate::core::Input;
use tickgate::core::effect::Span;
use tickgate::core::input::{End, FeedPart};
use tickgate::model::{ClassRow, Offset, Partition, partition_of};

use crate::invariants::Breach;
use crate::journal::Topic;
use crate::process::Home;
use crate::site::Site;
use crate::teeth::Planted;

impl Home {
    pub fn look_at(&self, partition: Partition, whole: bool, site: &Site) -> Result<(), Breach> {
        self.disk.table(partition).map_or(Ok(()), |table| site.look_at_table(partition, table, whole))
    }

    pub fn look_up(&self, symbols: &[(Partition, Arc<str>)]) -> Input<'static> {
        let row = |(partition, symbol): &(Partition, Arc<str>)| {
            self.disk.table(*partition).and_then(|table| table.rows.get(symbol)).cloned()
        };
        Input::LookedUp(symbols.iter().map(row).collect())
    }

    pub fn scan(&self, spans: &[Span], limit: usize) -> Input<'static> {
        let rows = |span: &Span| {
            let table = self.disk.table(span.partition).into_iter();
            let names = table.flat_map(|table| table.rows.range(span.from.clone()..));
            names
                .take_while(|(symbol, _)| span.until.as_ref().is_none_or(|end| *symbol < end))
                .take(limit)
                .map(|(symbol, row)| ((&**symbol).into(), row.clone()))
                .collect()
        };
        Input::Scanned(spans.iter().map(rows).collect())
    }

    pub fn look_at_ends(&self, partitions: &[(Partition, Offset)], site: &Site) -> Vec<End> {
        let looked_at = self.now(site).wall;
        let end = |(partition, committed): &(Partition, Offset)| {
            // What could not be looked at is left out.
            if !site.journal.tells_end(Topic::Staging, *partition) {
                return None;
            }
            let high_watermark = site.journal.high_watermark(Topic::Staging, *partition);
            let last_stable = site.journal.last_stable(Topic::Staging, *partition);
            let mut left = site.journal.readable(Topic::Staging, *partition, *committed, last_stable);
            let readable = left.next().is_some();
            Some(End { partition: *partition, last_stable, high_watermark, readable, looked_at })
        };
        partitions.iter().filter_map(end).collect()
    }

    pub fn look_at_feeds(&self, ends: bool, site: &Site) -> Input<'static> {
        let next_offset = |of| {
            let table = self.disk.table(of);
            table.and_then(|table| table.checkpoint.as_ref()).map_or(0, |row| row.next_offset)
        };
        let part = |partition| {
            let end = self.look_at_ends(&[(partition, next_offset(partition))], site).pop();
            let end = end.filter(|_| ends);
            // Planted: whatever the replica has, it is taken for all.
            let lag = site.planted == Planted::LagIgnored;
            let next_offset = end.filter(|_| lag).map_or(next_offset(partition), |end| end.high_watermark);
            FeedPart { partition, end, next_offset, classes: self.class_rows(partition) }
        };
        Input::Feeds(site.partitions().map(part).collect())
    }

    pub fn silent_feeds(&self, site: &Site) -> Vec<Box<str>> {
        let is_silent = |name: &&str| {
            let rows = self.class_rows(partition_of(name.as_bytes(), site.schedule.partitions));
            rows.iter().any(|(of, row)| **of == **name && row.silent_from.is_some())
        };
        let feeds = site.schedule.watch.feeds();
        feeds.iter().map(|(name, _)| *name).filter(is_silent).map(Into::into).collect()
    }

    fn class_rows(&self, partition: Partition) -> Vec<(Box<str>, ClassRow)> {
        let rows = self.disk.table(partition).into_iter().flat_map(|table| &table.classes);
        rows.map(|(name, row)| ((**name).into(), row.clone())).collect()
    }
}
