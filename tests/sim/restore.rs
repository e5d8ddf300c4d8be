//! Bringing a store up to the changelog's end, a slice at a time, by a worker that takes a partition over; and by
//! a replica, between takeovers.
//!
//! Of replicas the store's contract is modelled: a partition has one writer at a time, a replica is the writer for
//! a slice and no longer, a slice of committed rows may be applied wherever the store stands, a restore goes on from
//! there, and a store is as current as a look at the log's end says that it has reached.

use tickgate::core::Input;
use tickgate::core::effect::Target;
use tickgate::core::input::{Failure, Restored};
use tickgate::model::{Offset, Partition};

use crate::cleaning::DELETE_RETENTION_MS;
use crate::disk::{Disk, Table, Write};
use crate::invariants::Breach;
use crate::journal::{Body, Journal, Topic};
use crate::perform::Answer;
use crate::process::Home;
use crate::site::Site;
use crate::tally::Kind;
use crate::teeth::Planted;
use crate::worker::Life;

/// Changelog rows that are written at once.
const SLICE_ROWS: usize = 3;
/// A store that may have missed tombstones is rebuilt: what the changelog keeps them for, less what the clocks
/// that stamp and read may be apart.
const TRUSTED_FOR_MS: i64 = DELETE_RETENTION_MS - 130_000;
/// When a restore must be over, since what is stored was current.
const OVER_WITHIN_MS: i64 = DELETE_RETENTION_MS - 65_000;
/// How long a worker waits for another of its process to let go of a partition.
const WRITER_WAIT_MS: i64 = 10_000;
/// Who writes where no worker does.
const REPLICA: &str = "replica";

/// A restore under way.
#[derive(Debug, Default)]
pub struct Restoring {
    pub slices: u32,
}

impl Life {
    pub fn restore(
        &mut self,
        targets: &[Target],
        home: &mut Home,
        site: &mut Site,
    ) -> Result<Answer, Breach> {
        if self.restoring.is_none() {
            if let Err(answer) = self.start_restore(targets, home, site) {
                return Ok(answer);
            }
            self.restoring = Some(Restoring::default());
        }
        let current_at = self.current_at;
        let slept = |target: &&Target| {
            home.now(site).wall.0 - stamp(home, target.partition, false, current_at) > OVER_WITHIN_MS
        };
        if targets.iter().find(slept).is_some() && site.planted != Planted::OldStoreKept {
            self.restoring = None;
            let reason = "the restore stood still for days".to_owned();
            return Ok(Some(Input::Failed(Failure::Fenced { reason })));
        }
        for target in targets {
            let (partition, to) = (target.partition, target.changelog_end);
            if let Some(mut slice) = next_slice(&home.disk, &site.journal, partition, to) {
                slice.current_at = stamp(home, partition, slice.position == Some(to), current_at);
                home.disk.apply(vec![slice]);
                home.look_at(partition, false, site)?;
                let restoring = self.restoring.get_or_insert_default();
                restoring.slices += 1;
                if restoring.slices == 2 {
                    site.tally.note(Kind::SlowRestore);
                }
                return Ok(None);
            }
        }
        self.restoring = None;
        let mut restored = Vec::with_capacity(targets.len());
        // Who is no longer a member may have slept until the next owner's rows took the place of those it needs.
        // What it has then is no store to decide on; the group takes no commit from it.
        let whole = site.group.accepts(self.seat.member, self.seat.generation);
        for target in targets {
            // A replica may have passed a marker that came after the target was taken.
            let position = home.disk.position(target.partition).max(Some(target.changelog_end));
            let (partition, rows, classes) = (target.partition, Vec::new(), Vec::new());
            let arrived =
                Write { partition, clears: false, rows, classes, checkpoint: None, position, current_at };
            home.disk.apply(vec![arrived]);
            home.look_at(partition, whole, site)?;
            restored.push(answer(target, home, site));
        }
        Ok(Some(Input::Restored(restored)))
    }

    /// Waits until all below the targets is decided and the stores are nobody else's, and empties those that
    /// cannot be true.
    fn start_restore(&mut self, targets: &[Target], home: &mut Home, site: &mut Site) -> Result<(), Answer> {
        let behind = |target: &Target| {
            site.journal.last_stable(Topic::Changelog, target.partition) < target.changelog_end
                || !site.journal.tells_end(Topic::Staging, target.partition)
        };
        if targets.iter().any(behind) {
            return Err(None);
        }
        for target in targets {
            if home.disk.take(target.partition, &self.id) {
                continue;
            }
            site.tally.note(Kind::SiblingAwaited);
            let since_ms = *self.awaits_writer_since_ms.get_or_insert(site.journal.now_ms);
            if site.journal.now_ms - since_ms > WRITER_WAIT_MS {
                let reason = "another worker does not let go".to_owned();
                return Err(Some(Input::Failed(Failure::Fenced { reason })));
            }
            return Err(None);
        }
        self.awaits_writer_since_ms = None;
        for target in targets {
            if home.disk.was_followed(target.partition) {
                site.tally.note(Kind::WarmTakeover);
            }
            let end = site.journal.high_watermark(Topic::Changelog, target.partition);
            distrust(home, target.partition, end, self.current_at, site);
        }
        Ok(())
    }
}

/// A replica of a partition that no worker of the process writes moves on by a slice.
pub fn follow(home: &mut Home, partition: Partition, site: &mut Site) -> Result<(), Breach> {
    if !site.journal.tells_end(Topic::Changelog, partition) || !home.disk.take(partition, REPLICA) {
        return Ok(());
    }
    let now = home.now(site).wall.0;
    let to = site.journal.last_stable(Topic::Changelog, partition);
    distrust(home, partition, site.journal.high_watermark(Topic::Changelog, partition), now, site);
    if let Some(mut slice) = next_slice(&home.disk, &site.journal, partition, to) {
        slice.current_at = stamp(home, partition, slice.position == Some(to), now);
        site.trace.note(format_args!("replica of {partition} in {}: {:?}", home.index, slice.position));
        home.disk.apply(vec![slice]);
        home.disk.note_followed(partition);
        site.tally.note(Kind::ReplicaSlice);
        home.look_at(partition, false, site)?;
    } else if home.disk.position(partition).is_some() {
        // It stands at the end, and is known to.
        let (rows, classes, position) = (Vec::new(), Vec::new(), home.disk.position(partition));
        let renewed =
            Write { partition, clears: false, rows, classes, checkpoint: None, position, current_at: now };
        home.disk.apply(vec![renewed]);
    }
    home.disk.give_back(REPLICA, &[partition]);
    Ok(())
}

/// Empties a store that cannot be true, for good.
fn distrust(home: &mut Home, partition: Partition, end: Offset, current_at: i64, site: &mut Site) {
    let now = home.now(site).wall.0;
    let Some((table, at)) = home.disk.table(partition).and_then(|table| Some((table, table.position?)))
    else {
        return;
    };
    let too_old = now - table.current_at > TRUSTED_FOR_MS && site.planted != Planted::OldStoreKept;
    if too_old {
        site.tally.note(Kind::StoreTooOld);
    }
    if too_old || at > end {
        site.trace.note(format_args!("the store of {partition} in {} cannot be true", home.index));
        let (rows, classes) = (Vec::new(), Vec::new());
        let empty =
            Write { partition, clears: true, rows, classes, checkpoint: None, position: None, current_at };
        home.disk.apply(vec![empty]);
        home.disk.flush();
    }
}

/// The next rows that the store lacks; nothing once it stands at the target.
fn next_slice(disk: &Disk, journal: &Journal, partition: Partition, to: Offset) -> Option<Write> {
    let from = disk.position(partition).unwrap_or(0);
    if from >= to {
        return None;
    }
    let (rows, classes, position) = (Vec::new(), Vec::new(), Some(to));
    let mut slice =
        Write { partition, clears: false, rows, classes, checkpoint: None, position, current_at: 0 };
    let mut left = journal.readable(Topic::Changelog, partition, from, to).peekable();
    for _ in 0..SLICE_ROWS {
        let Some((at, entry)) = left.next() else { break };
        match &entry.body {
            Body::Row(symbol, row) => slice.rows.push((symbol.clone(), row.clone())),
            Body::Class(name, row) => slice.classes.push((name.clone(), row.clone())),
            Body::Checkpoint(checkpoint) => slice.checkpoint = Some(checkpoint.clone()),
            _ => {}
        }
        slice.position = Some(if left.peek().is_some() { at + 1 } else { to });
    }
    Some(slice)
}

/// When the store with the next slice was last known to be current: only the last slice makes it so.
fn stamp(home: &Home, partition: Partition, is_last: bool, current_at: i64) -> i64 {
    let stored = home.disk.table(partition).filter(|table| table.position.is_some());
    match stored {
        Some(table) if !is_last => table.current_at,
        _ => current_at,
    }
}

fn answer(target: &Target, home: &Home, site: &Site) -> Restored {
    let partition = target.partition;
    let empty = Table::default();
    let table = home.disk.table(partition).unwrap_or(&empty);
    let log_start = site.journal.start(Topic::Staging, partition);
    let log_end = site.journal.high_watermark(Topic::Staging, partition);
    let below = table.checkpoint.as_ref().map(|row| row.next_offset - 1);
    let time_below_checkpoint = below
        .filter(|below| target.committed.is_none() && (log_start..log_end).contains(below))
        .and_then(|below| site.journal.readable(Topic::Staging, partition, below, below + 1).next())
        .and_then(|(_, entry)| match &entry.body {
            Body::Staged(staged) => Some(staged.kafka_time),
            _ => None,
        });
    Restored {
        partition,
        position: table.position.unwrap_or(0),
        checkpoint: table.checkpoint.clone(),
        classes: table.classes.iter().map(|(name, row)| ((**name).into(), row.clone())).collect(),
        log_start,
        log_end,
        time_below_checkpoint,
    }
}
