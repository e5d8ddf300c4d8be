//! The loop between `stock_data` and the table.
//!
//! One task does everything, in turns, and none of them blocks: answer the group, read what there is room for,
//! start writes, take in what came of them, commit the prefix that is done. What is [under way](UnderWay) is
//! bounded, so a slow Cassandra fills no memory: without room nothing is read, and after [`HOLD_AFTER`] fetching
//! stops too, while the member goes on polling and stays in its group.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::super::{Failure, Shutdown};
use super::newest::Newest;
use super::offsets::{Answer, Offsets, Standing};
use super::progress::Progress;
use super::pulse::Pulse;
use super::reading::read;
use super::status::{Standings, Status};
use super::under_way::UnderWay;
use super::writing::{Done, Taken, Writer};
use crate::config::Config;
use crate::journal::kafka::dead_letters::{Death, Original};
use crate::journal::kafka::membership::{GroupEvent, Membership, is_stale_membership};
use crate::model::{Offset, Partition};
use crate::telemetry::health::Readiness;
use crate::telemetry::rarely::{REMINDER_EVERY, Rarely};

/// Records read in one turn at most.
const READ_MAX: usize = 500;
/// Between two looks for records when there are none.
const POLL_PAUSE: Duration = Duration::from_millis(5);
/// How often offsets are committed.
const COMMIT_EVERY: Duration = Duration::from_millis(500);
/// How long commits may take that a revocation or a stop waits for.
const COMMIT_WAIT: Duration = Duration::from_secs(2);
/// How long a stop waits for writes under way; what is not done then is written again by the next.
const DRAIN_WAIT: Duration = Duration::from_secs(1);
/// How long a stop waits for the group to take its leave; brokers that are away find out by themselves.
const LEAVE_WAIT: Duration = Duration::from_secs(1);
// A stop takes 5 s at most.
const _: () = assert!(DRAIN_WAIT.as_secs() + COMMIT_WAIT.as_secs() + LEAVE_WAIT.as_secs() < 5);
/// Without room for so long, fetching stops.
const HOLD_AFTER: Duration = Duration::from_secs(1);

static FETCH_TROUBLE: Rarely = Rarely::every(REMINDER_EVERY);
static COMMIT_TROUBLE: Rarely = Rarely::every(REMINDER_EVERY);

/// What is assigned, and all that is under way for it.
pub(super) struct Loading<'a> {
    config: &'a Config,
    accepts_loss: bool,
    membership: Membership,
    offsets: Offsets,
    writer: Rc<Writer>,
    /// An assignment that waits to know where to begin.
    assigning: Option<Vec<Partition>>,
    progress: Progress,
    /// Rows that are to go to `stock`.
    queue: VecDeque<Rc<Taken>>,
    newest: Newest,
    under_way: UnderWay,
    /// The brokers', as whoever asks for offsets sees them.
    brokers: Pulse,
    full_since: Option<Instant>,
    is_held: bool,
    /// A commit that is not answered yet.
    committing: Option<Vec<(Partition, Offset)>>,
    commit_due: Instant,
    status: Status,
}

impl<'a> Loading<'a> {
    pub(super) fn new(
        config: &'a Config,
        accepts_loss: bool,
        membership: Membership,
        offsets: Offsets,
        writer: Writer,
        readiness: Readiness,
    ) -> Self {
        Self {
            config,
            accepts_loss,
            membership,
            offsets,
            writer: Rc::new(writer),
            assigning: None,
            progress: Progress::default(),
            queue: VecDeque::new(),
            newest: Newest::default(),
            under_way: UnderWay::default(),
            brokers: Pulse::new(),
            full_since: None,
            is_held: false,
            committing: None,
            commit_due: Instant::now(),
            status: Status::new(readiness),
        }
    }

    /// Loads until told to stop, or until the group has caught up where that is asked for: whether it has.
    pub(super) async fn run(&mut self, shutdown: &Shutdown) -> Result<bool, Failure> {
        let ended = self.turns(shutdown).await;
        if ended.is_ok() {
            self.drain().await?;
        }
        // What is acknowledged counts, whatever ended the run.
        self.commit_now();
        self.show();
        ended
    }

    /// Leaves the group, without waiting long for brokers that are away.
    pub(super) fn leave(self) {
        let (membership, (leaving, left)) = (self.membership, channel::<()>());
        let leave = move || {
            let _leaving = leaving;
            drop(membership);
        };
        let spawned = thread::Builder::new().name("leave".to_owned()).spawn(leave);
        if spawned.is_ok() && left.recv_timeout(LEAVE_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the group could not be left in time; it finds out by itself");
        }
    }

    async fn turns(&mut self, shutdown: &Shutdown) -> Result<bool, Failure> {
        while !shutdown.is_requested() {
            self.hear_group();
            if self.hear_offsets()? {
                tracing::info!("caught up: the group has committed all that was there at the start");
                return Ok(true);
            }
            let has_read = self.read()?;
            self.start_writes();
            let has_settled = self.settle()?;
            self.commit();
            if self.status.is_due() {
                self.show();
            }
            if has_read || has_settled {
                tokio::task::yield_now().await;
                continue;
            }
            let done = tokio::select! {
                done = self.under_way.next(), if !self.under_way.is_quiet() => done,
                () = tokio::time::sleep(POLL_PAUSE) => None,
                () = shutdown.requested() => None,
            };
            done.map_or(Ok(()), |done| self.take_in(done))?;
        }
        Ok(false)
    }

    // ---- the group ----

    fn hear_group(&mut self) {
        while let Some(event) = self.membership.next_event() {
            match event {
                GroupEvent::Assigned(partitions) => {
                    tracing::info!(partitions = partitions.len(), "the group assigns {partitions:?}");
                    self.offsets.ask(partitions.clone());
                    self.assigning = Some(partitions);
                }
                GroupEvent::Revoked(partitions) => {
                    tracing::info!(partitions = partitions.len(), "the group wants back {partitions:?}");
                    self.commit_now();
                    self.give_up();
                }
                GroupEvent::Lost(partitions) => {
                    tracing::warn!(partitions = partitions.len(), "the group took away {partitions:?}");
                    self.give_up();
                }
            }
        }
    }

    /// What is not acknowledged is dropped: the next owner writes it again, and the same.
    fn give_up(&mut self) {
        self.assigning = None;
        self.offsets.ask(Vec::new());
        self.progress.clear();
        self.queue.clear();
        self.newest = Newest::default();
        self.under_way = UnderWay::default();
        self.committing = None;
        if let Err(error) = self.membership.unassign() {
            tracing::warn!("partitions could not be given up: {error}");
        }
        self.status.awaits_partitions();
    }

    /// Whether the group has caught up.
    fn hear_offsets(&mut self) -> Result<bool, Failure> {
        while let Some(answer) = self.offsets.next() {
            if !matches!(answer, Answer::Nothing(_)) {
                self.brokers.answered();
            }
            match answer {
                Answer::Standings(found) => self.assign(&found)?,
                Answer::Ends(ends) => {
                    let again = self.progress.know_ends(&ends);
                    if let Err(error) = self.membership.rewind(&again) {
                        tracing::debug!("ends could not be looked at again: {error}");
                    }
                }
                Answer::CaughtUp => return Ok(true),
                Answer::Nothing(trouble) => self.brokers.troubled(trouble),
            }
        }
        Ok(false)
    }

    fn assign(&mut self, found: &[Standing]) -> Result<(), Failure> {
        let asked = |assigning: &Vec<Partition>| {
            assigning.len() == found.len() && found.iter().all(|one| assigning.contains(&one.partition))
        };
        if self.assigning.take_if(|assigning| asked(assigning)).is_none() {
            return Ok(()); // of an assignment that is over
        }
        let (topic, group) = (&self.config.topics.stock_data, &self.config.sink.group);
        let starts = Progress::starts(found, topic, group, self.accepts_loss).map_err(Failure::settings)?;
        for (standing, (_, start)) in found.iter().zip(&starts) {
            if let Some(committed) = standing.committed.filter(|committed| committed < start) {
                let (partition, lost) = (standing.partition, start - committed);
                tracing::error!(partition, lost, "goes on without up to {lost} records that are gone");
            }
        }
        self.progress.begin(&starts, found);
        if let Err(error) = self.membership.assign(&starts).and_then(|()| self.membership.hold(self.is_held))
        {
            return Err(Failure::breach(error));
        }
        tracing::info!(partitions = starts.len(), "reads {} partitions of `{topic}`", starts.len());
        if !self.membership.is_empty_handed() {
            self.status.has_partitions();
        }
        Ok(())
    }

    // ---- reading ----

    /// Whether a record was read.
    fn read(&mut self) -> Result<bool, Failure> {
        self.hold_or_resume();
        let mut count = 0;
        while count < READ_MAX && (self.has_room(1) || (self.is_held && count == 0)) {
            // A second handle of the loop's: what is read borrows the membership only.
            let taken = match self.membership.next() {
                None => break,
                Some(Ok(message)) => Ok(read(&message)),
                Some(Err(error)) => Err(error),
            };
            match taken {
                Ok((original, row)) => self.take(original, row),
                Err(KafkaError::PartitionEOF(partition)) => self.progress.met_end(partition),
                Err(error) => fetch_failed(&error)?,
            }
            count += 1;
        }
        Ok(count > 0)
    }

    fn take(&mut self, original: Original, row: Result<crate::model::Row, Death>) {
        if !self.progress.take(original.partition, original.offset) {
            return;
        }
        self.under_way.add(&original);
        let original = Rc::new(original);
        match row {
            Ok(row) => self.queue.push_back(Rc::new(Taken { row, original })),
            Err(death) => self.write_letter(original, death),
        }
    }

    /// Whether less than an `nth` part of what may wait does.
    fn has_room(&self, nth: usize) -> bool {
        self.under_way.has_room(nth) && self.queue.len() < 2 * self.writes_max() / nth
    }

    fn writes_max(&self) -> usize {
        usize::try_from(self.config.sink.max_in_flight).unwrap_or(usize::MAX)
    }

    fn hold_or_resume(&mut self) {
        let now = Instant::now();
        let holds = if self.is_held {
            !self.has_room(2)
        } else if self.has_room(1) {
            self.full_since = None;
            false
        } else {
            now.saturating_duration_since(*self.full_since.get_or_insert(now)) >= HOLD_AFTER
        };
        if holds == self.is_held {
            return;
        }
        match self.membership.hold(holds) {
            Ok(()) => (self.is_held, self.full_since) = (holds, None),
            Err(error) => tracing::warn!("fetching could not be held or resumed: {error}"),
        }
        tracing::info!(
            records = self.under_way.records(),
            bytes = self.under_way.bytes(),
            "fetching {}",
            if holds { "pauses" } else { "goes on" }
        );
    }

    // ---- writing ----

    fn start_writes(&mut self) {
        while self.under_way.writes() < self.writes_max() {
            let is_idle = self.queue.is_empty() || self.under_way.is_pressed();
            let writer = Rc::clone(&self.writer);
            if let Some(latest) = self.newest.next(Instant::now(), is_idle) {
                self.under_way.write(Box::pin(writer.latest(latest)));
            } else if let Some(taken) = self.queue.pop_front() {
                self.under_way.write(Box::pin(writer.stock(taken)));
            } else {
                return;
            }
        }
    }

    fn write_letter(&mut self, original: Rc<Original>, death: Death) {
        self.under_way.write_letter(Box::pin(Rc::clone(&self.writer).letter(original, death)));
    }

    /// Takes in all that is known by now; whether there was anything.
    fn settle(&mut self) -> Result<bool, Failure> {
        let mut has_any = false;
        while let Some(done) = self.under_way.next_now() {
            self.take_in(done)?;
            has_any = true;
        }
        Ok(has_any)
    }

    fn take_in(&mut self, done: Done) -> Result<(), Failure> {
        match done {
            Done::Stock(taken) => self.newest.add(taken, Instant::now()),
            Done::Latest(covered) => covered.iter().for_each(|taken| self.finish(&taken.original)),
            Done::Refused { taken, others, death } => {
                let now = Instant::now();
                for other in others {
                    self.newest.add(other, now);
                }
                self.write_letter(Rc::clone(&taken.original), death);
            }
            Done::Letter(original, death) => {
                let Original { partition, offset, .. } = *original;
                let Death { reason, detail } = death;
                self.writer.metrics.refused.with_label_values(&[reason]).inc();
                tracing::warn!(partition, offset, reason, "a record became a dead letter: {detail}");
                self.finish(&original);
            }
            Done::OtherSchema(error) => return Err(Failure::settings(error)),
            Done::Undeliverable(error) => return Err(Failure::breach(error)),
        }
        Ok(())
    }

    fn finish(&mut self, original: &Original) {
        self.under_way.remove(original);
        self.progress.done(original.partition, original.offset);
    }

    /// Waits a moment for what is under way.
    async fn drain(&mut self) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + DRAIN_WAIT;
        while !self.progress.is_done() {
            self.start_writes();
            let Ok(Some(done)) = tokio::time::timeout_at(deadline, self.under_way.next()).await else {
                break;
            };
            self.take_in(done)?;
        }
        Ok(())
    }

    // ---- committing ----

    fn commit(&mut self) {
        if let Some(result) = self.membership.take_commit() {
            self.committed(result);
        }
        let now = Instant::now();
        if self.committing.is_some() || now < self.commit_due {
            return;
        }
        self.commit_due = now + COMMIT_EVERY;
        self.begin_commit();
    }

    fn begin_commit(&mut self) -> bool {
        let offsets = self.progress.to_commit();
        if offsets.is_empty() {
            return false;
        }
        match self.membership.commit(&offsets) {
            Ok(()) => self.committing = Some(offsets),
            Err(error) => commit_failed(&error),
        }
        self.committing.is_some()
    }

    /// Commits what is done and waits for the answer, for a member that is about to lose its partitions.
    fn commit_now(&mut self) {
        let deadline = Instant::now() + COMMIT_WAIT;
        let left = || deadline.saturating_duration_since(Instant::now());
        if let Some(result) = self.committing.is_some().then(|| self.membership.wait_commit(left())).flatten()
        {
            self.committed(result);
        }
        // One that is still under way is not waited for a second time.
        if self.committing.is_none()
            && self.begin_commit()
            && let Some(result) = self.membership.wait_commit(left())
        {
            self.committed(result);
        }
    }

    fn committed(&mut self, result: Result<(), KafkaError>) {
        let offsets = self.committing.take().unwrap_or_default();
        match result {
            Ok(()) => {
                self.progress.committed(&offsets);
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.writer.metrics.last_commit_timestamp.set(now.as_secs_f64());
            }
            Err(error) => commit_failed(&error),
        }
    }

    // ---- showing ----

    fn show(&mut self) {
        let (writes, letters) = (self.under_way.writes(), self.under_way.letters());
        if writes == 0 {
            self.writer.pulse.rest();
        }
        if letters == 0 {
            self.writer.letters_pulse.rest();
        }
        let now = Standings {
            writes,
            letters,
            bytes: self.under_way.bytes(),
            partitions: self.progress.len(),
            lag: self.progress.lag(),
            is_held: self.is_held,
            brokers: &self.brokers,
        };
        self.status.show(&now, &self.writer);
    }
}

fn fetch_failed(error: &KafkaError) -> Result<(), Failure> {
    use RDKafkaErrorCode as Code;
    let is_gone = matches!(error.rdkafka_error_code(), Some(Code::AutoOffsetReset | Code::OffsetOutOfRange));
    if is_gone || matches!(error, KafkaError::MessageConsumptionFatal(_)) {
        let told = anyhow::anyhow!("reading can't go on ({error}); start again, which says what is missing");
        return Err(Failure::breach(told));
    }
    if let Some(held_back) = FETCH_TROUBLE.admit(Instant::now()) {
        tracing::warn!(held_back, "reading goes on after an error: {error}");
    }
    Ok(())
}

/// Nothing is lost: the next commit covers it, or the next owner writes it again.
fn commit_failed(error: &KafkaError) {
    if is_stale_membership(error) {
        tracing::info!("offsets were not committed, as the group has moved on: {error}");
    } else if let Some(held_back) = COMMIT_TROUBLE.admit(Instant::now()) {
        tracing::warn!(held_back, "offsets could not be committed yet: {error}");
    }
}
