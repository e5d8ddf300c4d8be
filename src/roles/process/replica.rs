//! The instance's replica: one thread that follows every changelog partition that no worker of the instance owns, into
//! the same store, so that a takeover has only the newest to read.
//!
//! It is the writer of a partition for a slice and no longer, so a worker that comes waits for nothing else of it; what
//! it has read and not written then is dropped. A store's age is what a look at the log's end has shown: the wall time
//! before the look, once everything below the end that it showed is taken in. Kafka's trouble is waited out; the
//! store's ends the instance as a worker's would.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use tickgate_state::StoreError;

use super::Shared;
use super::stored::{Bounds, Part, SLICE_ROWS, SliceError};
use crate::config::Replicas;
use crate::core::Stop;
use crate::journal::kafka::changelog::Read;
use crate::journal::kafka::client;
use crate::journal::kafka::follower::Follower;
use crate::journal::kafka::owners::Owners;
use crate::model::{Offset, Partition};
use crate::telemetry::rarely::{REMINDER_EVERY, Rarely};

/// How long the replica waits for a row before it looks whether workers have come or gone.
const POLL_MAX: Duration = Duration::from_millis(20);
/// Rows taken in one go.
const BATCH_MAX: usize = 10_000;
/// How long rows wait for others to be written with.
const WRITE_EVERY: Duration = Duration::from_millis(200);
/// Rows that wait in all.
const UNWRITTEN_MAX: usize = 5 * SLICE_ROWS;
/// How often the logs' ends are looked at, and partitions that are not followed are taken up.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How old an age may be before it is written anew.
const STAMP_EVERY_MS: i64 = 60_000;
/// Bound on one request: a stop must not wait for more.
const REQUEST_MAX: Duration = Duration::from_secs(1);
/// At a start workers come first, for so long: what they take over is not to be read twice.
const WORKERS_FIRST: Duration = Duration::from_secs(10);
/// Pause after Kafka's trouble.
const PAUSE: Duration = Duration::from_secs(1);

/// The thread's share.
pub(super) struct Replica {
    shared: Arc<Shared>,
    trouble: Rarely,
}

/// From one trouble to the next.
struct Following<'a> {
    shared: &'a Shared,
    owners: Owners,
    follower: Follower,
    parts: BTreeMap<Partition, Followed>,
    /// How many partitions the changelog has, once that is known.
    partitions: Option<Partition>,
    /// What `Tokens::changes` said when the partitions were last gone through.
    changes: u64,
    looked: Option<Instant>,
    written: Instant,
}

/// One partition that is followed.
struct Followed {
    part: Part,
    /// How many workers had had it when it was taken up.
    arrivals: u64,
    /// What the follower says of its position: a row or an end has come since it was taken up.
    is_told: bool,
    /// Everything below is taken in, markers included.
    at: Offset,
    /// A look whose end has not been reached yet.
    look: Option<Look>,
    /// The end that was seen last.
    end: Offset,
    stamped_at_ms: i64,
}

/// The log's last stable offset at some moment after `at_ms`.
#[derive(Debug, Clone, Copy)]
struct Look {
    at_ms: i64,
    end: Offset,
}

/// What ends the following, for a while or for good.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Replica {
    /// Starts it where it is wanted.
    pub(super) fn start(shared: &Arc<Shared>) -> std::io::Result<Option<thread::JoinHandle<Option<Stop>>>> {
        if shared.config.process.replicas == Replicas::None {
            return Ok(None);
        }
        let replica = Self { shared: Arc::clone(shared), trouble: Rarely::every(REMINDER_EVERY) };
        let takes_all = super::TakesAll(shared.shutdown.clone());
        let thread = thread::Builder::new().name("replica".to_owned()).spawn(move || {
            let _takes_all = takes_all;
            replica.run()
        });
        thread.map(Some)
    }

    /// Follows until the process stops; how it stopped, where the store was the reason.
    fn run(self) -> Option<Stop> {
        let began = Instant::now();
        let heard = || self.shared.metrics.rebalances.get() >= u64::from(self.shared.config.process.workers);
        while !heard() && began.elapsed() < WORKERS_FIRST && !self.shared.shutdown.wait(POLL_MAX) {}
        while !self.shared.shutdown.is_requested() {
            let followed = Following::begin(&self.shared).and_then(|mut following| following.run());
            self.shared.metrics.replica_partitions.set(0);
            match followed {
                Ok(()) => break,
                Err(Trouble::Store(error)) => {
                    return Some(Stop::Store(self.shared.store_failed(&error)));
                }
                Err(Trouble::Kafka(error)) => {
                    if let Some(held_back) = self.trouble.admit(Instant::now()) {
                        tracing::warn!(held_back, %error, "the replica waits for the changelog");
                    }
                    self.shared.shutdown.wait(PAUSE);
                }
            }
        }
        None
    }
}

impl<'a> Following<'a> {
    fn begin(shared: &'a Shared) -> Result<Self, Trouble> {
        let process = &shared.config.process;
        let base = || client::base_config(&shared.config.kafka, &format!("replica-{}", shared.instance));
        Ok(Self {
            shared,
            owners: Owners::with_patience(base(), &process.group, REQUEST_MAX)?,
            follower: Follower::new(base(), &process.group, &shared.changelog)?,
            parts: BTreeMap::new(),
            partitions: None,
            changes: shared.tokens.changes(),
            looked: None,
            written: Instant::now(),
        })
    }

    fn run(&mut self) -> Result<(), Trouble> {
        while !self.shared.shutdown.is_requested() {
            let before = self.changes;
            self.changes = self.shared.tokens.changes();
            let has_changed = self.changes != before;
            if has_changed {
                self.leave_to_workers()?;
            }
            if has_changed || self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
                self.look()?;
                self.looked = Some(Instant::now());
            }
            self.read()?;
            self.arrive()?;
            self.write_due()?;
        }
        // What is read is worth writing; the next start has less to do.
        self.write_all()
    }

    /// Leaves alone what workers own, or are about to, or have had in between.
    fn leave_to_workers(&mut self) -> Result<(), Trouble> {
        let taken = |(partition, followed): (&Partition, &Followed)| {
            let alone = self.shared.tokens.left_alone(*partition);
            (alone != Some(followed.arrivals)).then_some(*partition)
        };
        let taken: Vec<Partition> = self.parts.iter().filter_map(taken).collect();
        self.leave(&taken)
    }

    fn leave(&mut self, partitions: &[Partition]) -> Result<(), Trouble> {
        for partition in partitions {
            self.parts.remove(partition);
        }
        self.follower.leave(partitions)?;
        self.show();
        Ok(())
    }

    /// Looks at the ends of what is followed, and takes up what is not and could be.
    fn look(&mut self) -> Result<(), Trouble> {
        let at_ms = self.shared.now().wall.0;
        let followed: Vec<Partition> = self.parts.keys().copied().collect();
        if !followed.is_empty() {
            let ends = self.owners.last_stable(&self.shared.changelog, &followed)?;
            for (partition, followed) in &mut self.parts {
                let Some(end) = ends.get(partition).copied() else { continue };
                followed.end = end;
                // An end that moves on is not run after: the look that is to be reached stays.
                followed.look.get_or_insert(Look { at_ms, end });
            }
        }
        self.take_up(at_ms)?;
        self.show();
        Ok(())
    }

    fn take_up(&mut self, at_ms: i64) -> Result<(), Trouble> {
        let all = match self.partitions {
            Some(all) => all,
            None => self.owners.partitions(&self.shared.changelog)?.min(self.shared.config.topics.partitions),
        };
        self.partitions = Some(all);
        let free: BTreeMap<Partition, u64> = (0..all)
            .filter(|partition| !self.parts.contains_key(partition))
            .filter_map(|partition| Some((partition, self.shared.tokens.left_alone(partition)?)))
            .collect();
        if free.is_empty() {
            return Ok(());
        }
        let partitions: Vec<Partition> = free.keys().copied().collect();
        let logs = self.owners.ends(&self.shared.changelog, &partitions)?;
        let mut begun = Vec::with_capacity(free.len());
        for (partition, arrivals) in free {
            let Some(log) = logs.get(&partition) else { continue };
            let Some(writer) = self.shared.tokens.lend(partition, arrivals) else { continue };
            let bounds = Bounds { start: log.start, end: log.high_watermark };
            let part = Part::start(&self.shared.store, &writer, bounds, at_ms, self.shared.now().wall.0)?;
            begun.push((partition, part.next));
            let look = Some(Look { at_ms, end: log.last_stable });
            let at = part.next;
            let end = log.last_stable;
            let followed = Followed { part, arrivals, is_told: false, at, look, end, stamped_at_ms: 0 };
            self.parts.insert(partition, followed);
        }
        self.follower.follow(&begun)?;
        tracing::debug!(partitions = begun.len(), "the replica follows more partitions");
        Ok(())
    }

    fn read(&mut self) -> Result<(), Trouble> {
        let mut wait = POLL_MAX;
        for _ in 0..BATCH_MAX {
            match self.follower.next(wait) {
                Ok(Read::Waiting) => break,
                Ok(Read::Row(row)) => {
                    let Some(followed) = self.parts.get_mut(&row.partition()) else { continue };
                    followed.is_told = true;
                    followed.part.take(row.offset(), row.key(), row.value());
                }
                Ok(Read::End(partition)) => {
                    let Some(followed) = self.parts.get_mut(&partition) else { continue };
                    followed.is_told = true;
                }
                Err(error) if client::is_unreachable(&error) => {
                    client::log_error(&error, "the replica goes on when it can");
                    break;
                }
                Err(error) => return Err(error.into()),
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    /// Each partition that has reached the end of its look is known to be as current as that.
    fn arrive(&mut self) -> Result<(), Trouble> {
        if self.parts.values().all(|followed| followed.look.is_none()) {
            return Ok(());
        }
        let positions = self.follower.positions()?;
        let mut arrived = Vec::new();
        for (partition, followed) in &mut self.parts {
            let Some(look) = followed.look else { continue };
            let told = positions.get(partition).copied().filter(|_| followed.is_told);
            followed.at = told.unwrap_or(followed.at).max(followed.part.next);
            if followed.at < look.end {
                continue;
            }
            followed.look = None;
            if look.at_ms - followed.stamped_at_ms >= STAMP_EVERY_MS {
                followed.part.arrive(followed.at, look.at_ms);
                followed.stamped_at_ms = look.at_ms;
                arrived.push(*partition);
            }
        }
        self.show();
        self.write(&arrived)
    }

    fn write_due(&mut self) -> Result<(), Trouble> {
        let unwritten: usize = self.parts.values().map(|followed| followed.part.unwritten()).sum();
        if unwritten >= UNWRITTEN_MAX || self.written.elapsed() >= WRITE_EVERY {
            return self.write_all();
        }
        let whole = |(partition, followed): (&Partition, &Followed)| {
            (followed.part.unwritten() >= SLICE_ROWS).then_some(*partition)
        };
        let whole: Vec<Partition> = self.parts.iter().filter_map(whole).collect();
        self.write(&whole)
    }

    fn write_all(&mut self) -> Result<(), Trouble> {
        self.written = Instant::now();
        let some = |(partition, followed): (&Partition, &Followed)| {
            (followed.part.unwritten() > 0).then_some(*partition)
        };
        let some: Vec<Partition> = self.parts.iter().filter_map(some).collect();
        self.write(&some)
    }

    /// Writes these, but for those that a worker has come for meanwhile.
    fn write(&mut self, partitions: &[Partition]) -> Result<(), Trouble> {
        let mut stale = Vec::new();
        for partition in partitions {
            let Some(followed) = self.parts.get_mut(partition) else { continue };
            let Some(writer) = self.shared.tokens.lend(*partition, followed.arrivals) else {
                stale.push(*partition);
                continue;
            };
            let rows = followed.part.unwritten();
            match followed.part.write(&self.shared.store, &writer, self.shared.now().wall.0) {
                Ok(()) => self.shared.metrics.replica_rows.inc_by(u64::try_from(rows).unwrap_or(u64::MAX)),
                Err(SliceError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(partition, %error, "the replica takes a partition up anew");
                    stale.push(*partition);
                }
            }
        }
        self.leave(&stale)
    }

    fn show(&self) {
        let metrics = &self.shared.metrics;
        let behind = |followed: &Followed| (followed.end - followed.at.max(followed.part.next)).max(0);
        metrics.replica_lag.set(self.parts.values().map(behind).sum());
        metrics.replica_partitions.set(i64::try_from(self.parts.len()).unwrap_or(i64::MAX));
    }
}
