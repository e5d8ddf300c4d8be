//! The worker's state machine: takes inputs, queues effects, says when it wants to be woken.
//!
//! One effect is outstanding at a time, and while there is one the shell feeds nothing but its answer. This
//! file dispatches; the takeover of partitions, the judging of a batch, the round and the clock's notices are
//! its neighbours.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::deadlines::Deadlines;
use super::effect::{Effect, Notice, Stop};
use super::feeds::Feeds;
use super::freshness::WallClock;
use super::input::{Failure, Generation, Input, Now};
use super::judging::Batch;
use super::listing::Listing;
use super::noticing::Looking;
use super::round::{After, Round};
use super::settings::Settings;
use super::takeover::Takeover;
use super::task::Task;
use crate::model::Partition;

/// How long to wait before the ends of partitions are looked at again.
pub(super) const LOOK_AGAIN_MS: i64 = 1_000;

/// Why the core wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The open round has lasted long enough.
    Commit,
    /// A symbol's silence may have become too long, or nobody has looked yet when one will, or who is listed.
    Look,
    /// A partition has had no round for so long that its stores' age begins to matter.
    Renew,
}

/// One worker's share of the gate.
#[derive(Debug)]
pub struct Processor {
    pub(super) settings: Settings,
    /// The own transactional id: never fenced by this worker.
    pub(super) id: String,
    pub(super) tasks: BTreeMap<Partition, Task>,
    pub(super) round: Option<Round>,
    /// What follows once the open round is applied.
    pub(super) after: Vec<After>,
    pub(super) takeover: Option<Takeover>,
    pub(super) batch: Option<Batch>,
    pub(super) looking: Option<Looking>,
    pub(super) listing: Option<Listing>,
    /// What of the watch list may have no row yet.
    pub(super) unlisted: BTreeMap<Partition, Vec<Arc<str>>>,
    pub(super) deadlines: Deadlines,
    pub(super) feeds: Feeds,
    pub(super) clock: WallClock,
    pub(super) look_not_before_ms: i64,
    pub(super) generation: Generation,
    pub(super) effects: VecDeque<Effect>,
    outstanding: Option<Outstanding>,
}

/// The effects whose plain success or failure means something of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outstanding {
    Commit,
    Abort,
    Apply,
    Other,
}

/// Where a worker stands, for people and metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Partition, next input offset as committed, and changelog position.
    pub tasks: Vec<(Partition, i64, i64)>,
    /// Symbols in memory.
    pub hot_symbols: usize,
    /// Symbols that are watched.
    pub watched_symbols: usize,
    /// Of these, those whose silence was reported as `warn` at most, and goes on.
    pub warn_symbols: usize,
    /// Those whose silence was reported as `error`.
    pub error_symbols: usize,
    /// Classes judged here that are silent as a whole.
    pub silent_feeds: usize,
}

impl Processor {
    /// A worker without partitions. `id` is its transactional id.
    pub fn new(settings: Settings, id: String, now: Now) -> Self {
        let deadlines = Deadlines::new(settings.page_symbols);
        Self {
            settings,
            id,
            tasks: BTreeMap::new(),
            round: None,
            after: Vec::new(),
            takeover: None,
            batch: None,
            looking: None,
            listing: None,
            unlisted: BTreeMap::new(),
            deadlines,
            feeds: Feeds::default(),
            clock: WallClock::new(now),
            look_not_before_ms: now.monotonic_ms,
            generation: Generation(0),
            effects: VecDeque::new(),
            outstanding: None,
        }
    }

    /// Takes one input.
    ///
    /// # Panics
    /// When the shell breaks the protocol: an event while an effect is outstanding, or an answer to nothing.
    pub fn handle(&mut self, input: Input<'_>, now: Now) {
        match input {
            Input::Assigned { partitions, generation } => {
                self.expect_idle();
                self.generation = generation;
                self.assigned(partitions);
            }
            Input::Revoked { partitions, generation } => {
                self.expect_idle();
                self.generation = generation;
                self.release(partitions, None, now);
            }
            Input::Lost { partitions } => {
                self.expect_idle();
                self.lost(partitions);
            }
            Input::Arrivals { records, generation } => {
                self.expect_idle();
                self.arrived(records, generation, now);
            }
            Input::Tick { generation } => {
                self.expect_idle();
                self.tick(generation, now);
            }
            Input::Shutdown { generation } => {
                self.expect_idle();
                self.generation = generation;
                let begun = self.takeover.iter().flat_map(|takeover| &takeover.partitions);
                let partitions = self.tasks.keys().chain(begun).copied().collect();
                self.release(partitions, Some(Stop::Clean), now);
            }
            answer => {
                let outstanding =
                    self.outstanding.take().expect("an answer belongs to an outstanding effect");
                self.answered(outstanding, answer, now);
            }
        }
    }

    /// The next effect to carry out; `None` while one is outstanding or nothing is to be done.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if self.outstanding.is_some() {
            return None;
        }
        let effect = self.effects.pop_front()?;
        self.outstanding = match &effect {
            Effect::Notice(_) | Effect::Rejoin(_) | Effect::Stop(_) => None,
            Effect::Commit => Some(Outstanding::Commit),
            Effect::Abort => Some(Outstanding::Abort),
            Effect::Apply(_) => Some(Outstanding::Apply),
            _ => Some(Outstanding::Other),
        };
        Some(effect)
    }

    /// Whether a round is open: the membership it was begun under is the one that counts until it is over.
    pub fn has_round(&self) -> bool {
        self.round.is_some()
    }

    /// How long until the core wants `Input::Tick`, and why.
    pub fn poll_timeout(&self, now: Now) -> Option<(Duration, Wake)> {
        let wait = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        if let Some(round) = &self.round {
            let due_ms = round.began_ms + self.settings.commit_interval_ms;
            return Some((wait(due_ms - now.monotonic_ms), Wake::Commit));
        }
        if !self.unlisted.is_empty() {
            return Some((Duration::ZERO, Wake::Look));
        }
        let look = self.deadlines.first().map(|deadline_ms| {
            if self.deadlines.unknown().is_some() {
                return (Duration::ZERO, Wake::Look);
            }
            let until_due_ms = deadline_ms.saturating_add(self.settings.grace_ms).saturating_sub(now.wall.0);
            let until_look_ms = self.look_not_before_ms - now.monotonic_ms;
            (wait(until_due_ms.max(until_look_ms)), Wake::Look)
        });
        let idle_since_ms = self.tasks.values().map(|task| task.settled_ms).min();
        let renew = idle_since_ms.map(|since_ms| {
            (wait(since_ms.saturating_add(self.settings.renew_after_ms) - now.monotonic_ms), Wake::Renew)
        });
        let feeds = self.feed_wait_ms(now).map(|ms| (wait(ms), Wake::Look));
        look.into_iter().chain(feeds).chain(renew).min_by_key(|(wait, _)| *wait)
    }

    /// Where the worker stands.
    pub fn progress(&self) -> Progress {
        let count = self.deadlines.count();
        Progress {
            tasks: self.tasks.values().map(|task| (task.partition, task.committed, task.position)).collect(),
            hot_symbols: self.tasks.values().map(Task::hot).sum(),
            watched_symbols: count.fresh + count.warn + count.error,
            warn_symbols: count.warn,
            error_symbols: count.error,
            silent_feeds: self.silent_feeds(),
        }
    }

    fn answered(&mut self, outstanding: Outstanding, answer: Input<'_>, now: Now) {
        match (outstanding, answer) {
            (Outstanding::Abort, Input::Done) => self.aborted(now),
            (Outstanding::Apply, Input::Done) => self.applied(now),
            (_, Input::Done) => {}
            (_, Input::Accepted { generation }) => self.generation = generation,
            (Outstanding::Commit, Input::Committed(positions)) => self.committed(&positions),
            (_, Input::Owners(owners)) => self.owners_read(&owners),
            (_, Input::Stable(offsets)) => self.stable(&offsets, now),
            (_, Input::Targets(targets)) => self.targets_read(&targets),
            (_, Input::Restored(restored)) => self.restored(restored, now),
            (_, Input::LookedUp(rows)) => self.looked_up(rows, now),
            (_, Input::Scanned(rows)) => self.scanned(&rows, now),
            (_, Input::Ends(ends, silent_feeds)) => self.ends_seen(&ends, silent_feeds, now),
            (_, Input::Feeds(parts)) => self.feeds_seen(&parts, now),
            (outstanding, Input::Failed(failure)) => self.failed(outstanding, failure),
            (outstanding, other) => unreachable!("{other:?} does not answer {outstanding:?}"),
        }
    }

    fn failed(&mut self, outstanding: Outstanding, failure: Failure) {
        match failure {
            Failure::Unknown => {
                assert_eq!(outstanding, Outstanding::Commit, "only a commit's outcome can be unknown");
                self.effects.push_front(Effect::Commit);
            }
            Failure::Unsendable { partition, offset, reason } => {
                if let Some(task) = self.tasks.get_mut(&partition) {
                    task.unsendable.insert(offset, reason.clone());
                }
                self.abort(reason);
            }
            Failure::Abort { reason } if self.round.is_some() && outstanding != Outstanding::Abort => {
                self.abort(reason);
            }
            Failure::Abort { reason } | Failure::Fenced { reason } => self.rebuild(reason),
            // The takeover is kept for what it has claimed; the event that ended it decides what becomes of it.
            Failure::Superseded => self.effects.clear(),
            Failure::Refused { reason } => self.refused(reason),
            Failure::Store { reason } => self.stop(Stop::Store(reason)),
            Failure::Interrupted => self.stop(Stop::Interrupted),
        }
    }

    /// Nothing that this core believes may be used again.
    pub(super) fn rebuild(&mut self, reason: String) {
        self.forget();
        self.effects.push_back(Effect::Rejoin(reason));
    }

    pub(super) fn stop(&mut self, why: Stop) {
        self.forget();
        self.effects.push_back(Effect::Stop(why));
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.effects.push_back(Effect::Notice(notice));
    }

    fn forget(&mut self) {
        self.effects.clear();
        self.after.clear();
        self.round = None;
        self.takeover = None;
        self.batch = None;
        self.looking = None;
        self.listing = None;
        self.unlisted.clear();
        self.tasks.clear();
        self.deadlines = Deadlines::new(self.settings.page_symbols);
        self.feeds = Feeds::default();
    }

    fn tick(&mut self, generation: Generation, now: Now) {
        let Some((wait, wake)) = self.poll_timeout(now) else { return };
        if !wait.is_zero() {
            return;
        }
        match wake {
            Wake::Commit => self.finish_round(),
            Wake::Look => self.look(generation, now),
            Wake::Renew => self.renew(generation, now),
        }
    }

    /// A round without records for what has long had none. Nothing but a commit proves that a worker still owns a
    /// partition, and so that its store is current: one that nobody knows to be so for days is rebuilt.
    fn renew(&mut self, generation: Generation, now: Now) {
        self.generation = generation;
        let settled_before_ms = now.monotonic_ms - self.settings.renew_after_ms / 2;
        let idle = |task: &&Task| task.settled_ms <= settled_before_ms;
        let idle: Vec<Partition> = self.tasks.values().filter(idle).map(|task| task.partition).collect();
        self.open_round(generation, now).partitions.extend(idle);
        self.finish_round();
    }

    fn expect_idle(&self) {
        assert!(
            self.outstanding.is_none() && self.effects.is_empty(),
            "events are taken only when no effect is outstanding"
        );
    }
}
