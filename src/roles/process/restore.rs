//! Bringing the store up to the changelog's end before a partition is processed: the tail only, from the position that
//! the store stands at, and slice by slice, so that between two of them the group is heard. What it says ends the
//! restore; the slices that are written stay.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use tickgate_state::PartitionWriter;

use super::perform::key_partition;
use super::stored::{Bounds, Part, SLICE_ROWS, SliceError};
use super::worker::{Life, name};
use crate::core::effect::Target;
use crate::core::input::{Failure, Restored};
use crate::journal::kafka::changelog::{ChangelogReader, Read, Slice};
use crate::journal::kafka::{TopicEnds, client};
use crate::model::{Offset, Partition};

/// Rows that wait for a slice in all: some 100 bytes each.
const UNWRITTEN_MAX: usize = 10 * SLICE_ROWS;
/// How long the restore reads before it listens to the group again.
const LISTEN_EVERY: Duration = Duration::from_millis(50);
/// How often people are told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How often machines are.
const SHOW_EVERY: Duration = Duration::from_millis(500);
/// Pause before another in the process is asked for a partition's token again.
const TOKEN_PAUSE: Duration = Duration::from_millis(2);
/// How long a worker of this process that has lost a partition may be late in letting go of it.
const TOKEN_PATIENCE: Duration = Duration::from_secs(10);

/// The partitions of one restore, and what is known of how far they are.
struct Restore {
    parts: BTreeMap<Partition, (Part, Target)>,
    began: Instant,
    shown: Instant,
    told: Instant,
    /// Rows read when people were told last.
    told_rows: u64,
    /// Partitions that are not read to their end yet.
    open: usize,
    /// Rows read and not written yet.
    unwritten: usize,
}

impl Life<'_> {
    pub(super) fn restore(&mut self, targets: &[Target]) -> Result<Vec<Restored>, Failure> {
        let began = Instant::now();
        let partitions: Vec<Partition> = targets.iter().map(|target| target.partition).collect();
        let changelog = &self.shared.changelog;
        let staging = &self.shared.config.topics.staging;
        self.await_last_stable(targets)?;
        for partition in &partitions {
            self.take_writer(*partition)?;
        }
        // Asked last: a replica may have passed a marker that came after the target was taken.
        let logs = self.patiently("the changelog's ends", || self.owners.ends(changelog, &partitions))?;
        let mut parts = BTreeMap::new();
        for target in targets {
            let part = self.start_part(target, logs.get(&target.partition))?;
            parts.insert(target.partition, (part, *target));
        }
        let mut restore =
            Restore { parts, began, shown: began, told: began, told_rows: 0, open: 0, unwritten: 0 };
        let read = match self.read_changelog(&mut restore) {
            // What has been read need not be read again, whoever restores the partition next.
            Err(Failure::Superseded) => {
                let written = restore.parts.values_mut().try_for_each(|(part, _)| self.write_slice(part));
                written.and(Err(Failure::Superseded))
            }
            read => read,
        };
        self.shared.metrics.restored_rows.inc_by(restore.rows());
        self.shared.restoring(self.index, 0);
        read?;
        let inputs = self.patiently("staging's ends", || self.owners.ends(staging, &partitions))?;
        self.shared.metrics.restore_duration.observe(began.elapsed().as_secs_f64());
        tracing::info!(
            worker = self.index,
            partitions = partitions.len(),
            rows = restore.rows(),
            ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "restored from the changelog"
        );
        targets.iter().map(|target| self.restored(target, &restore, inputs.get(&target.partition))).collect()
    }

    /// Markers arrive after a commit was answered: below the target, the last round may not be readable yet.
    fn await_last_stable(&self, targets: &[Target]) -> Result<(), Failure> {
        let partitions: Vec<Partition> = targets.iter().map(|target| target.partition).collect();
        self.patiently("the changelog's last stable offset", || {
            let stable = self.owners.last_stable(&self.shared.changelog, &partitions)?;
            let reached =
                |target: &Target| stable.get(&target.partition).is_some_and(|at| *at >= target.changelog_end);
            if targets.iter().all(reached) {
                Ok(())
            } else {
                Err(KafkaError::OffsetFetch(rdkafka::error::RDKafkaErrorCode::UnstableOffsetCommit))
            }
        })
    }

    /// The right to write a partition: from the replica after a slice at most, from a worker of this process that has
    /// just lost it a moment later.
    fn take_writer(&mut self, partition: Partition) -> Result<(), Failure> {
        if self.writers.contains_key(&partition) {
            return Ok(());
        }
        let give_up = Instant::now() + TOKEN_PATIENCE;
        let mut wish = self.shared.tokens.want(partition);
        loop {
            match wish.token() {
                Ok(token) => {
                    self.writers.insert(partition, token);
                    return Ok(());
                }
                Err(_) if Instant::now() > give_up => {
                    let reason =
                        format!("another worker of this process does not let go of partition {partition}");
                    return Err(Failure::Fenced { reason });
                }
                Err(again) => wish = again,
            }
            self.listen(Duration::ZERO)?;
            if self.shared.shutdown.wait(TOKEN_PAUSE) {
                return Err(Failure::Interrupted);
            }
        }
    }

    fn start_part(&self, target: &Target, log: Option<&TopicEnds>) -> Result<Part, Failure> {
        let writer = self.writer(target.partition)?;
        let (start, end) = log.map_or((0, 0), |log| (log.start, log.high_watermark));
        let bounds = Bounds { start, end: end.max(target.changelog_end) };
        let now_ms = self.shared.now().wall.0;
        let part = Part::start(&self.shared.store, writer, bounds, self.current_at_ms, now_ms);
        part.map_err(|error| self.store_failed(&error))
    }

    fn read_changelog(&self, restore: &mut Restore) -> Result<(), Failure> {
        let slices: Vec<Slice> = restore
            .parts
            .values()
            .filter(|(part, target)| part.next < target.changelog_end)
            .map(|(part, target)| Slice {
                partition: part.partition,
                from: Some(part.next),
                to: target.changelog_end,
            })
            .collect();
        if !slices.is_empty() {
            let role = format!("restore-{}-{}", self.shared.instance, self.index);
            let config = client::base_config(&self.shared.config.kafka, &role);
            let group = &self.shared.config.process.group;
            let mut reader = self.patiently("the changelog", || {
                ChangelogReader::start(config.clone(), group, &self.shared.changelog, &slices)
            })?;
            while !reader.is_done() {
                restore.open = reader.left();
                self.show_restore(restore);
                self.read_some(&mut reader, restore)?;
                self.listen(Duration::ZERO)?;
                if self.shared.shutdown.is_requested() {
                    // Asked to stop, a worker gives up in order what it was about to take over.
                    return Err(Failure::Superseded);
                }
            }
        }
        // The position passes the markers at the end, so that the next restore need not read them.
        for (part, target) in restore.parts.values_mut() {
            part.arrive(target.changelog_end, self.current_at_ms);
            self.write_slice(part)?;
        }
        Ok(())
    }

    /// Reads for a moment. Each partition that has a slice together is written.
    fn read_some(&self, reader: &mut ChangelogReader, restore: &mut Restore) -> Result<(), Failure> {
        let until = Instant::now() + LISTEN_EVERY;
        while !reader.is_done() {
            let wait = until.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                break;
            }
            match reader.next(wait) {
                Ok(Read::Row(row)) => {
                    let Some((part, _)) = restore.parts.get_mut(&row.partition()) else { continue };
                    part.take(row.offset(), row.key(), row.value());
                    restore.unwritten += 1;
                    let is_whole = part.unwritten() >= SLICE_ROWS;
                    let slice = if is_whole { Some(part) } else { restore.fullest() };
                    if let Some(part) = slice {
                        let rows = part.unwritten();
                        self.write_slice(part)?;
                        restore.unwritten -= rows;
                    }
                }
                Ok(Read::End(_) | Read::Waiting) => {}
                Err(error) if client::is_unreachable(&error) => {
                    client::log_error(&error, "reading the changelog goes on when it can");
                }
                Err(error) => {
                    return Err(Failure::Fenced { reason: format!("reading the changelog failed: {error}") });
                }
            }
        }
        Ok(())
    }

    fn write_slice(&self, part: &mut Part) -> Result<(), Failure> {
        let writer = self.writer(part.partition)?;
        part.write(&self.shared.store, writer, self.shared.now().wall.0).map_err(|error| match error {
            SliceError::Store(error) => self.store_failed(&error),
            stale => Failure::Fenced { reason: stale.to_string() },
        })?;
        #[cfg(feature = "fault-points")]
        self.shared.fault_point.pass(super::fault_point::Instant::Within, "restore");
        Ok(())
    }

    /// How far the restore is, for `/readyz` and the metrics, and now and then in the log.
    fn show_restore(&self, restore: &mut Restore) {
        if restore.shown.elapsed() < SHOW_EVERY {
            return;
        }
        restore.shown = Instant::now();
        let (all, left) = (restore.parts.len(), restore.left());
        self.shared.restoring(self.index, left);
        let what = format!("its state: restoring {} of {all} partitions, {left} rows left", restore.open);
        self.shared.readiness.awaits(&name(self.index), what);
        let since = restore.told.elapsed();
        if since < TELL_EVERY {
            return;
        }
        let rows = restore.rows();
        let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1);
        let rows_per_second = (rows - restore.told_rows) * 1000 / ms;
        (restore.told, restore.told_rows) = (Instant::now(), rows);
        tracing::info!(
            worker = self.index,
            open = restore.open,
            partitions = all,
            rows,
            left,
            rows_per_second,
            seconds = restore.began.elapsed().as_secs(),
            "restoring from the changelog"
        );
    }

    fn restored(
        &self,
        target: &Target,
        restore: &Restore,
        input: Option<&TopicEnds>,
    ) -> Result<Restored, Failure> {
        let partition = target.partition;
        let (Some((part, _)), Some(input)) = (restore.parts.get(&partition), input) else {
            return Err(Failure::Fenced { reason: format!("partition {partition} is gone from a topic") });
        };
        let store = &self.shared.store;
        let checkpoint =
            store.checkpoint(key_partition(partition)).map_err(|error| self.store_failed(&error))?;
        self.shared.view.update(self.index, |worker| {
            let view = worker.partitions.entry(partition).or_default();
            view.restored_rows = part.count;
        });
        let below = checkpoint
            .as_ref()
            .map(|row| row.next_offset - 1)
            .filter(|_| target.committed.is_none())
            // Outside the log there is nothing to wait for; the core refuses to go on there.
            .filter(|below| (input.start..input.high_watermark).contains(below));
        let time_below_checkpoint = match below {
            Some(below) => {
                let staging = &self.shared.config.topics.staging;
                let found = self.patiently("the record below the checkpoint", || {
                    self.owners.peek(staging, partition, below)
                })?;
                found.filter(|(offset, _)| *offset == below).and_then(|(_, time)| time)
            }
            None => None,
        };
        tracing::debug!(partition, from = part.from, to = part.next, rows = part.count, "partition restored");
        Ok(Restored {
            partition,
            position: part.next,
            checkpoint,
            classes: store.class_rows(key_partition(partition)).map_err(|error| self.store_failed(&error))?,
            log_start: input.start,
            log_end: input.high_watermark,
            time_below_checkpoint,
        })
    }

    fn writer(&self, partition: Partition) -> Result<&PartitionWriter, Failure> {
        self.writers
            .get(&partition)
            .map(std::ops::Deref::deref)
            .ok_or_else(|| Failure::Fenced { reason: format!("partition {partition} has no writer here") })
    }
}

impl Restore {
    /// The part with the most rows to write, once there are too many in all.
    fn fullest(&mut self) -> Option<&mut Part> {
        if self.unwritten < UNWRITTEN_MAX {
            return None;
        }
        self.parts.values_mut().map(|(part, _)| part).max_by_key(|part| part.unwritten())
    }

    /// Rows read so far.
    fn rows(&self) -> u64 {
        self.parts.values().map(|(part, _)| part.count).sum()
    }

    /// Rows that are still to be read, at most: there may be gaps among the offsets.
    fn left(&self) -> Offset {
        self.parts.values().map(|(part, target)| (target.changelog_end - part.next).max(0)).sum()
    }
}
