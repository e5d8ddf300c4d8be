//! Bringing the store up to the changelog's end before a partition is processed: the tail only, from the
//! position that the store stands at.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use tickgate_state::{PartitionWriter, Position, Row};

use super::perform::key_partition;
use super::worker::Life;
use crate::core::effect::Target;
use crate::core::input::{Failure, Restored};
use crate::journal::kafka::changelog::{ChangelogReader, Read, Slice};
use crate::journal::kafka::{TopicEnds, client};
use crate::model::{Offset, Partition};

/// Changelog rows that go into the store at once.
const SLICE_ROWS: usize = 10_000;
/// A store that may have missed tombstones is rebuilt: the changelog's `delete.retention.ms`, less a day.
const TRUSTED_FOR_MS: i64 = 6 * 24 * 60 * 60 * 1000;
/// A restore must be over half a day before tombstones that it has not read may go.
const OVER_WITHIN_MS: i64 = TRUSTED_FOR_MS + 12 * 60 * 60 * 1000;

/// One partition on its way.
struct Part {
    target: Offset,
    from: Option<Offset>,
    next: Offset,
    /// When what is stored was last known to be current. Only the last slice makes it newer: a store that is left
    /// half-way may miss tombstones as if nothing had been added.
    current_at_ms: i64,
    rows: Vec<Row>,
    count: u64,
}

impl Life<'_> {
    pub(super) fn restore(&mut self, targets: &[Target]) -> Result<Vec<Restored>, Failure> {
        let began = Instant::now();
        let partitions: Vec<Partition> = targets.iter().map(|target| target.partition).collect();
        let changelog = &self.shared.changelog;
        let staging = &self.shared.config.topics.staging;
        self.await_last_stable(targets)?;
        let logs = self.patiently("the changelog's start", || self.owners.ends(changelog, &partitions))?;
        for partition in &partitions {
            self.take_writer(*partition)?;
        }
        let mut parts = BTreeMap::new();
        for target in targets {
            let part = self.start_part(target, logs.get(&target.partition))?;
            parts.insert(target.partition, part);
        }
        self.read_changelog(&mut parts)?;
        let inputs = self.patiently("staging's ends", || self.owners.ends(staging, &partitions))?;
        let rows: u64 = parts.values().map(|part| part.count).sum();
        self.shared.metrics.restored_rows.inc_by(rows);
        self.shared.metrics.restore_duration.observe(began.elapsed().as_secs_f64());
        tracing::info!(
            worker = self.index,
            partitions = partitions.len(),
            rows,
            ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "restored from the changelog"
        );
        targets.iter().map(|target| self.restored(target, &parts, inputs.get(&target.partition))).collect()
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

    /// The right to write a partition; a worker of this process that has just lost it may be a moment late.
    fn take_writer(&mut self, partition: Partition) -> Result<(), Failure> {
        if self.writers.contains_key(&partition) {
            return Ok(());
        }
        let give_up = Instant::now() + Duration::from_secs(10);
        loop {
            match self.shared.store.writer(key_partition(partition)) {
                Ok(writer) => {
                    self.writers.insert(partition, writer);
                    return Ok(());
                }
                Err(taken) if Instant::now() > give_up => {
                    return Err(Failure::Fenced { reason: taken.to_string() });
                }
                Err(_) if self.shared.shutdown.wait(Duration::from_millis(20)) => {
                    return Err(Failure::Interrupted);
                }
                Err(_) => {}
            }
        }
    }

    fn start_part(&self, target: &Target, log: Option<&TopicEnds>) -> Result<Part, Failure> {
        let partition = target.partition;
        let writer = self.writer(partition)?;
        let stored = self
            .shared
            .store
            .position(key_partition(partition))
            .map_err(|error| self.store_failed(&error))?;
        let now_ms = self.shared.now().wall.0;
        let age_ms = self
            .shared
            .store
            .age_ms(key_partition(partition), now_ms)
            .map_err(|error| self.store_failed(&error))?;
        let start = log.map_or(0, |log| log.start);
        let mut from = stored.map(|position| position.changelog_next);
        let untrue = match (from, age_ms) {
            (Some(at), _) if at > target.changelog_end => {
                Some("its position lies beyond the changelog's end")
            }
            (Some(at), _) if at < start => Some("its position lies before the changelog's start"),
            (Some(_), Some(age_ms)) if age_ms > TRUSTED_FOR_MS => Some("it may have missed tombstones"),
            _ => None,
        };
        if let Some(why) = untrue {
            tracing::warn!(
                worker = self.index,
                partition,
                "the stored partition cannot be true ({why}); rebuilding it"
            );
            self.shared.store.clear_partition(writer).map_err(|error| self.store_failed(&error))?;
            from = None;
        }
        let next = from.unwrap_or(start);
        let stored_at_ms = from.and(age_ms).map(|age_ms| now_ms - age_ms);
        let current_at_ms = stored_at_ms.unwrap_or(self.current_at_ms);
        Ok(Part { target: target.changelog_end, from, next, current_at_ms, rows: Vec::new(), count: 0 })
    }

    fn read_changelog(&self, parts: &mut BTreeMap<Partition, Part>) -> Result<(), Failure> {
        let slices: Vec<Slice> = parts
            .iter()
            .filter(|(_, part)| part.next < part.target)
            .map(|(partition, part)| Slice { partition: *partition, from: Some(part.next), to: part.target })
            .collect();
        let config = client::base_config(
            &self.shared.config.kafka,
            &format!("restore-{}-{}", self.shared.instance, self.index),
        );
        if !slices.is_empty() {
            let group = &self.shared.config.process.group;
            let mut reader = self.patiently("the changelog", || {
                ChangelogReader::start(config.clone(), group, &self.shared.changelog, &slices)
            })?;
            while !reader.is_done() {
                self.read_some(&mut reader, parts)?;
            }
        }
        // The position passes the markers at the end, so that the next restore need not read them.
        for (partition, part) in parts.iter_mut() {
            part.next = part.next.max(part.target);
            part.current_at_ms = self.current_at_ms;
            self.write_slice(*partition, part)?;
        }
        Ok(())
    }

    fn read_some(
        &self,
        reader: &mut ChangelogReader,
        parts: &mut BTreeMap<Partition, Part>,
    ) -> Result<(), Failure> {
        match reader.next(Duration::from_millis(100)) {
            Ok(Read::Row(row)) => {
                let Some(part) = parts.get_mut(&row.partition()) else { return Ok(()) };
                part.rows.push((row.key().to_vec(), row.value().map(<[u8]>::to_vec)));
                part.next = row.offset() + 1;
                part.count += 1;
                if part.rows.len() >= SLICE_ROWS {
                    self.write_slice(row.partition(), part)?;
                }
            }
            Ok(Read::End(_)) => {}
            Ok(Read::Waiting) => {
                if self.shared.shutdown.is_requested() {
                    return Err(Failure::Interrupted);
                }
            }
            Err(error) if client::is_unreachable(&error) => {
                client::log_error(&error, "reading the changelog goes on when it can");
            }
            Err(error) => {
                return Err(Failure::Fenced { reason: format!("reading the changelog failed: {error}") });
            }
        }
        Ok(())
    }

    fn write_slice(&self, partition: Partition, part: &mut Part) -> Result<(), Failure> {
        let age_ms = self.shared.now().wall.0 - part.current_at_ms;
        if age_ms > OVER_WITHIN_MS {
            // Only a machine that slept comes here. Started over, the restore finds the store too old.
            let reason = format!("the restore of partition {partition} stood still for days");
            return Err(Failure::Fenced { reason });
        }
        let writer = self.writer(partition)?;
        let rows = std::mem::take(&mut part.rows);
        let position = Position { changelog_next: part.next };
        let written = self.shared.store.restore_slice(writer, rows, position, part.current_at_ms);
        written.map_err(|error| self.store_failed(&error))?;
        #[cfg(feature = "fault-points")]
        self.shared.fault_point.pass(super::fault_point::Instant::Within, "restore");
        Ok(())
    }

    fn restored(
        &self,
        target: &Target,
        parts: &BTreeMap<Partition, Part>,
        input: Option<&TopicEnds>,
    ) -> Result<Restored, Failure> {
        let partition = target.partition;
        let (Some(part), Some(input)) = (parts.get(&partition), input) else {
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
            log_start: input.start,
            log_end: input.high_watermark,
            time_below_checkpoint,
        })
    }

    fn writer(&self, partition: Partition) -> Result<&PartitionWriter, Failure> {
        self.writers
            .get(&partition)
            .ok_or_else(|| Failure::Fenced { reason: format!("partition {partition} has no writer here") })
    }
}
