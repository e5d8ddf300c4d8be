//! Effects on the real thing: each becomes calls to Kafka or the store, and exactly one answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use tickgate_state::{ApplyError, Batch, Position, Row, RowKey};

use super::worker::{Life, name};
use crate::core::Generation;
use crate::core::effect::{Applied, Effect, Span, Writes};
use crate::core::input::{End, Failure, Input, Owner};
use crate::journal::kafka::producer::{Outgoing, Trouble};
use crate::journal::kafka::{client, membership};
use crate::model::{Offset, Partition};
use crate::telemetry::rarely::{REMINDER_EVERY, Rarely};

/// How long a takeover waits for the mark of an owner that gives up in order.
const MARK_WAIT: Duration = Duration::from_millis(250);
/// How long a claim is tried that the group refuses, where that need not mean that the partitions are gone.
const CLAIM_WAIT: Duration = Duration::from_secs(5);
/// One wait for the end of an id that the last start has left.
const FENCED_STEP: Duration = Duration::from_millis(20);
const MARK_PAUSE: Duration = Duration::from_millis(25);

/// Tag of messages that stand for no input.
pub(super) const NO_INPUT: usize = 0;

impl Life<'_> {
    /// Carries one effect out; effects without an answer never come here.
    pub(super) fn perform(&mut self, effect: Effect) -> Input<'static> {
        let staging = self.shared.config.topics.staging.clone();
        self.listens = is_takeover(&effect);
        let answer = match effect {
            Effect::Accept(_) => self.accept(),
            Effect::ReadOwners(partitions) => self.read_owners(&staging, &partitions),
            Effect::Fence(ids) => self.fence(&ids),
            Effect::AwaitStable(partitions) => self
                .patiently("stable committed offsets", || self.owners.stable_offsets(&staging, &partitions))
                .map(Input::Stable),
            Effect::Claim(offsets) => self.claim(&offsets),
            Effect::ReadTargets(partitions) => {
                self.current_at_ms = self.shared.now().wall.0;
                self.patiently("the changelog's ends", || {
                    self.owners.high_watermarks(&self.shared.changelog, &partitions)
                })
                .map(|ends| Input::Targets(ends.into_iter().collect()))
            }
            Effect::Restore(targets) => self.restore(&targets).map(Input::Restored),
            Effect::Resume(offsets) => self.resume(&offsets),
            Effect::Begin => self.begin(),
            Effect::Send(outputs) => self.send_outputs(&outputs).map(|()| Input::Done),
            Effect::Log(writes) => self.log(&writes),
            Effect::SendOffsets { offsets, generation } => {
                self.current_at_ms = self.shared.now().wall.0;
                self.send_offsets(&staging, &offsets, generation)
            }
            Effect::Commit => self.commit(),
            Effect::Abort => {
                self.producer.abort().map_err(|trouble| self.sort(trouble)).map(|()| Input::Done)
            }
            Effect::Rewind(offsets) => {
                self.membership.rewind(&offsets).map_err(rebuild).map(|()| Input::Done)
            }
            Effect::Apply(applied) => self.apply(&applied),
            Effect::Release(partitions) => self.release(&partitions),
            Effect::Lookup(symbols) => self.look_up(&symbols),
            Effect::Scan { spans, limit } => self.scan(&spans, limit),
            Effect::LookAtEnds(partitions) => {
                let ends = self.look_at_ends(&staging, &partitions);
                self.silent_feeds().map(|silent| Input::Ends(ends, silent))
            }
            Effect::LookAtFeeds { ends } => self.look_at_feeds(&staging, ends).map(Input::Feeds),
            Effect::Notice(_) | Effect::Rejoin(_) | Effect::Stop(_) => Ok(Input::Done),
        };
        answer.unwrap_or_else(Input::Failed)
    }

    fn accept(&mut self) -> Result<Input<'static>, Failure> {
        self.membership.accept().map_err(rebuild)?;
        Ok(Input::Accepted { generation: self.take_membership() })
    }

    fn read_owners(&self, staging: &str, partitions: &[Partition]) -> Result<Input<'static>, Failure> {
        self.shared.view.update(self.index, |worker| {
            for partition in partitions {
                worker.partitions.entry(*partition).or_default().phase = "restoring";
            }
        });
        self.shared.partitions_changed();
        let give_up = Instant::now() + MARK_WAIT;
        let claims = loop {
            let claims =
                self.patiently("the partitions' owners", || self.owners.claims(staging, partitions))?;
            // The marker of an owner's last commit may arrive after the group has moved on: a moment's wait
            // spares an owner that gave up in order from being fenced.
            let all_given_up = claims.iter().all(|(_, claim)| {
                claim.as_ref().is_none_or(|claim| {
                    let id = &claim.transactional_id;
                    claim.released || id == self.producer.id() || self.shared.remembered.is_dead(id)
                })
            });
            if all_given_up || Instant::now() > give_up || self.shared.shutdown.wait(MARK_PAUSE) {
                break claims;
            }
        };
        Ok(Input::Owners(claims.into_iter().map(|(partition, claim)| Owner { partition, claim }).collect()))
    }

    fn fence(&self, ids: &[String]) -> Result<Input<'static>, Failure> {
        for id in ids {
            // It is being ended since the start.
            while self.shared.remembered.is_dead(id) && !self.shared.remembered.wait_fenced(id, FENCED_STEP) {
                self.listen(Duration::ZERO)?;
                if self.shared.shutdown.is_requested() {
                    return Err(Failure::Interrupted);
                }
            }
            if self.shared.remembered.is_dead(id) {
                continue;
            }
            tracing::warn!(worker = self.index, id, "fencing a dead owner");
            self.patiently("a dead owner's transaction to end", || self.owners.fence(id))?;
            self.shared.metrics.fenced.inc();
        }
        Ok(Input::Done)
    }

    fn claim(&self, offsets: &[(Partition, Offset)]) -> Result<Input<'static>, Failure> {
        self.listen(Duration::ZERO)?;
        let give_up = Instant::now() + CLAIM_WAIT;
        let claimed =
            self.patiently("a claim", || match self.membership.claim(offsets, self.producer.id()) {
                // The group has moved on, and will say so; if not, what it assigned is the worker's all the same.
                Err(error)
                    if membership::is_stale_membership(&error)
                        && (!self.membership.is_incremental() || Instant::now() > give_up) =>
                {
                    Ok(Err(error))
                }
                Err(error) => Err(error),
                Ok(()) => Ok(Ok(())),
            })?;
        claimed.map(|()| Input::Done).map_err(|error| {
            // Each partition is told of only once there: to let one go means to start over.
            if self.membership.is_incremental() {
                rebuild(error)
            } else {
                Failure::Refused { reason: error.to_string() }
            }
        })
    }

    /// Hears the group amid a takeover, which ends when it has said something.
    pub(super) fn listen(&self, wait: Duration) -> Result<(), Failure> {
        if !self.listens {
            return Ok(());
        }
        match self.membership.listen(wait) {
            Ok(false) => Ok(()),
            Ok(true) => Err(Failure::Superseded),
            // Of a partition that is read already: it would stay unread.
            Err(error) if membership::is_final(&error) || membership::is_nowhere(&error) => {
                Err(rebuild(error))
            }
            Err(error) => {
                client::log_error(&error, "the takeover goes on when it can");
                Ok(())
            }
        }
    }

    fn resume(&mut self, offsets: &[(Partition, Offset)]) -> Result<Input<'static>, Failure> {
        self.membership.assign(offsets).map_err(rebuild)?;
        if self.membership.is_empty_handed() {
            self.shared.readiness.awaits(&name(self.index), "partitions from the group");
        } else {
            self.shared.readiness.met(&name(self.index));
        }
        tracing::info!(worker = self.index, partitions = offsets.len(), "reading staging");
        self.shared.view.update(self.index, |worker| {
            for (partition, offset) in offsets {
                let view = worker.partitions.entry(*partition).or_default();
                view.phase = "running";
                view.next_offset = Some(*offset);
            }
        });
        self.shared.partitions_changed();
        Ok(Input::Done)
    }

    fn begin(&mut self) -> Result<Input<'static>, Failure> {
        self.sent.clear();
        self.tally.begin(self.shared.now().monotonic_ms);
        self.producer.begin().map_err(|trouble| self.sort(trouble))?;
        Ok(Input::Done)
    }

    fn log(&self, writes: &[Writes]) -> Result<Input<'static>, Failure> {
        for write in writes {
            for (position, (key, value)) in encode(write).iter().enumerate() {
                let outgoing = Outgoing {
                    topic: &self.shared.changelog,
                    partition: write.partition,
                    key: Some(key),
                    value: value.as_deref(),
                    time: None,
                    headers: None,
                    tag: NO_INPUT,
                    marks_position: position == write.rows.len(),
                };
                self.producer.send(outgoing).map_err(|trouble| self.sort(trouble))?;
            }
        }
        Ok(Input::Done)
    }

    fn send_offsets(
        &self,
        staging: &str,
        offsets: &[(Partition, Offset, bool)],
        generation: Generation,
    ) -> Result<Input<'static>, Failure> {
        let Some(metadata) = self.metadata(generation) else {
            return Err(Failure::Abort { reason: "the round's membership is gone".to_owned() });
        };
        let sent = self.producer.send_offsets(staging, offsets, metadata);
        sent.map(|()| Input::Done).map_err(|trouble| self.sort(trouble))
    }

    fn commit(&mut self) -> Result<Input<'static>, Failure> {
        self.producer.drain().map_err(|trouble| self.sort(trouble))?;
        #[cfg(feature = "fault-points")]
        self.shared.fault_point.pass(super::fault_point::Instant::Within, "commit");
        if let Err(trouble) = self.producer.commit() {
            if let Trouble::Unknown(reason) = &trouble {
                self.shared.metrics.rounds.with_label_values(&["unknown"]).inc();
                tracing::warn!(worker = self.index, reason, "the commit's outcome is unknown; asking again");
                if !self.shared.may_wait() {
                    return Err(Failure::Interrupted);
                }
            }
            return Err(self.sort(trouble));
        }
        let now = self.shared.now();
        let newest = self.tally.commit(&self.shared.metrics, now.wall.0, now.monotonic_ms);
        self.lag.committed(newest);
        Ok(Input::Committed(self.producer.positions()))
    }

    fn apply(&self, applied: &[Applied]) -> Result<Input<'static>, Failure> {
        let mut batches = Vec::with_capacity(applied.len());
        for part in applied {
            let write = &part.writes[part.index];
            let Some(writer) = self.writers.get(&write.partition) else {
                return Err(Failure::Store {
                    reason: format!("partition {} has no writer here", write.partition),
                });
            };
            let batch = Batch {
                expected: Some(Position { changelog_next: part.from }),
                rows: encode(write),
                position: Position { changelog_next: part.to },
            };
            batches.push((&**writer, batch));
        }
        let applied = self.shared.store.apply(&batches, self.current_at_ms);
        applied.map(|()| Input::Done).map_err(|error| match error {
            ApplyError::Store(error) => self.store_failed(&error),
            moved @ ApplyError::Moved { .. } => Failure::Store { reason: moved.to_string() },
        })
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<Input<'static>, Failure> {
        self.shared.view.update(self.index, |worker| {
            worker.partitions.retain(|partition, _| !partitions.contains(partition));
        });
        for partition in partitions {
            self.writers.remove(partition);
            self.forget_lag(*partition);
        }
        self.shared.partitions_changed();
        self.membership.unassign().map_err(rebuild)?;
        if self.writers.is_empty() {
            self.shared.readiness.awaits(&name(self.index), "partitions from the group");
        }
        Ok(Input::Done)
    }

    fn look_up(&self, symbols: &[(Partition, std::sync::Arc<str>)]) -> Result<Input<'static>, Failure> {
        let mut by_partition: BTreeMap<Partition, Vec<usize>> = BTreeMap::new();
        for (index, (partition, _)) in symbols.iter().enumerate() {
            by_partition.entry(*partition).or_default().push(index);
        }
        let mut rows = vec![None; symbols.len()];
        for (partition, indexes) in by_partition {
            let names: Vec<&str> = indexes.iter().map(|index| &*symbols[*index].1).collect();
            let found = self.shared.store.symbols(key_partition(partition), &names);
            let found = found.map_err(|error| self.store_failed(&error))?;
            for (index, row) in indexes.into_iter().zip(found) {
                rows[index] = row;
            }
        }
        Ok(Input::LookedUp(rows))
    }

    fn scan(&self, spans: &[Span], limit: usize) -> Result<Input<'static>, Failure> {
        let rows = |span: &Span| {
            let names = (&*span.from, span.until.as_deref());
            let rows = self.shared.store.symbol_span(key_partition(span.partition), names, limit);
            rows.map_err(|error| self.store_failed(&error))
        };
        Ok(Input::Scanned(spans.iter().map(rows).collect::<Result<_, _>>()?))
    }

    /// Partitions that could not be looked at are left out; the core looks again.
    pub(super) fn look_at_ends(&self, staging: &str, of: &[(Partition, Offset)]) -> Vec<End> {
        let looked_at = self.shared.now().wall;
        let partitions: Vec<Partition> = of.iter().map(|(partition, _)| *partition).collect();
        let ends = match self.owners.ends(staging, &partitions) {
            Ok(ends) => ends,
            Err(error) => {
                tracing::warn!(worker = self.index, %error, "could not look at staging's ends; no silence is noticed meanwhile");
                return Vec::new();
            }
        };
        let look = |(partition, committed): &(Partition, Offset)| {
            let end = ends.get(partition)?;
            let behind = *committed < end.high_watermark;
            // Only transaction markers may lie between: then there is nothing to wait for.
            let readable = behind
                && end.last_stable == end.high_watermark
                && !matches!(self.owners.peek(staging, *partition, *committed), Ok(None));
            Some(End {
                partition: *partition,
                last_stable: end.last_stable,
                high_watermark: end.high_watermark,
                readable,
                looked_at,
            })
        };
        of.iter().filter_map(look).collect()
    }

    /// Tries until it works or the process is to stop.
    pub(super) fn patiently<T>(
        &self,
        what: &str,
        attempt: impl Fn() -> Result<T, KafkaError>,
    ) -> Result<T, Failure> {
        let mut pause = Duration::from_millis(20);
        let lines = Rarely::every(REMINDER_EVERY);
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(error) => {
                    if pause > Duration::from_millis(500) {
                        if let Some(held_back) = lines.admit(Instant::now()) {
                            tracing::warn!(worker = self.index, held_back, %error, "waiting for {what}");
                        }
                        self.shared.readiness.awaits(&name(self.index), what);
                    }
                    if self.shared.shutdown.wait(pause) {
                        return Err(Failure::Interrupted);
                    }
                    self.listen(Duration::ZERO)?;
                }
            }
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    pub(super) fn store_failed(&self, error: &tickgate_state::StoreError) -> Failure {
        Failure::Store { reason: self.shared.store_failed(error) }
    }

    /// What must follow a producer's trouble.
    pub(super) fn sort(&self, trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Abort(reason) => Failure::Abort { reason },
            Trouble::Unknown(_) => Failure::Unknown,
            Trouble::Interrupted => Failure::Interrupted,
            Trouble::Fatal(reason) => {
                self.shared.metrics.rounds.with_label_values(&["fenced"]).inc();
                Failure::Fenced { reason }
            }
            Trouble::Refused { tag, reason } => match tag.checked_sub(1).and_then(|tag| self.sent.get(tag)) {
                Some((partition, offset)) => {
                    Failure::Unsendable { partition: *partition, offset: *offset, reason }
                }
                None => Failure::Abort { reason },
            },
        }
    }
}

/// Whether the effect belongs to a takeover that the group may end.
fn is_takeover(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::ReadOwners(_)
            | Effect::Fence(_)
            | Effect::AwaitStable(_)
            | Effect::Claim(_)
            | Effect::ReadTargets(_)
            | Effect::Restore(_)
    )
}

/// The partition as the store's keys have it.
pub(super) fn key_partition(partition: Partition) -> u16 {
    u16::try_from(partition).expect("settings allow at most 10000 partitions")
}

/// A partition's changelog records of a round, the checkpoint last.
fn encode(write: &Writes) -> Vec<Row> {
    let symbols = write.rows.iter().map(|(symbol, row)| {
        (RowKey::Symbol(symbol).encode(), row.as_ref().map(tickgate_state::SymbolRow::encode))
    });
    let classes = write.classes.iter().map(|(name, row)| (RowKey::Class(name).encode(), Some(row.encode())));
    let checkpoint = (RowKey::Checkpoint.encode(), Some(write.checkpoint.encode()));
    symbols.chain(classes).chain(std::iter::once(checkpoint)).collect()
}

#[allow(clippy::needless_pass_by_value)] // so that `map_err` can name it
fn rebuild(error: KafkaError) -> Failure {
    Failure::Fenced { reason: error.to_string() }
}
