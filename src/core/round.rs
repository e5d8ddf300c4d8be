//! A round: what happens inside one Kafka transaction, from the first output to the apply.
//!
//! The order is fixed: outputs, changelog, offsets, commit, apply; only then do the hot map, the deadlines
//! and the committed offsets move, and only then may a partition be given up.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::deadlines::First;
use super::effect::{Applied, Effect, Notice, Stop, Writes};
use super::input::{Generation, Now};
use super::processor::Processor;
use super::takeover::Takeover;
use crate::model::{CheckpointRow, Offset, Partition};

/// The open round.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) generation: Generation,
    /// Monotonic.
    pub(super) began_ms: i64,
    pub(super) records: usize,
    /// Partitions that the round writes for; each gets a checkpoint row and an offset.
    pub(super) partitions: BTreeSet<Partition>,
    /// Partitions that are given up with this round.
    pub(super) released: BTreeSet<Partition>,
    /// Partitions that were claimed, and are given up before they have a task: the mark is all that they need.
    pub(super) unclaims: Vec<(Partition, Offset)>,
    /// Where records were read that did not come into it, and will be read again.
    pub(super) unread: BTreeSet<Partition>,
    /// Whether it repeats the marks of one that was aborted.
    is_repeated: bool,
    /// Pages whose silences this round reports, and when each is due next.
    pub(super) settles: Vec<(Partition, First, Option<i64>)>,
    writes: Arc<Vec<Writes>>,
    positions: Vec<(Partition, Offset)>,
}

/// What follows once the open round is applied.
#[derive(Debug)]
pub(super) enum After {
    /// The takeover is kept for what it has claimed.
    Resume {
        offsets: Vec<(Partition, Offset)>,
        takeover: Takeover,
    },
    Release(Vec<Partition>),
    TakeOver(Takeover),
    Stop(Stop),
}

impl Processor {
    /// The open round, begun if there is none. Its effects must come after this.
    pub(super) fn open_round(&mut self, generation: Generation, now: Now) -> &mut Round {
        if self.round.is_none() {
            self.effects.push_back(Effect::Begin);
        }
        self.round.get_or_insert_with(|| Round {
            generation,
            began_ms: now.monotonic_ms,
            records: 0,
            partitions: BTreeSet::new(),
            released: BTreeSet::new(),
            unclaims: Vec::new(),
            unread: BTreeSet::new(),
            is_repeated: false,
            settles: Vec::new(),
            writes: Arc::default(),
            positions: Vec::new(),
        })
    }

    /// Nothing more goes into the round: log it, add the offsets, commit.
    pub(super) fn finish_round(&mut self) {
        let Some(round) = &mut self.round else { return };
        let mut writes = Vec::with_capacity(round.partitions.len());
        let mut offsets = Vec::with_capacity(round.partitions.len());
        for partition in &round.partitions {
            let Some(task) = self.tasks.get(partition) else { continue };
            let checkpoint = CheckpointRow {
                next_offset: task.next,
                epoch: task.epoch,
                fingerprint: self.settings.fingerprint,
                input_time: task.time,
            };
            let (rows, classes) = (task.pending_rows(), task.pending_classes(&self.settings.classes));
            writes.push(Writes { partition: *partition, rows, classes, checkpoint });
            offsets.push((*partition, task.next, round.released.contains(partition)));
        }
        offsets.extend(round.unclaims.iter().map(|(partition, offset)| (*partition, *offset, true)));
        round.writes = Arc::new(writes);
        self.effects.extend([
            Effect::Log(round.writes.clone()),
            Effect::SendOffsets { offsets, generation: round.generation },
            Effect::Commit,
        ]);
    }

    /// Kafka has the round; now, and only now, the store gets it.
    pub(super) fn committed(&mut self, positions: &[(Partition, Offset)]) {
        let round = self.round.as_mut().expect("a commit belongs to an open round");
        round.positions = positions.to_vec();
        let went_back = |(partition, to): &&(Partition, Offset)| {
            self.tasks.get(partition).is_some_and(|task| *to <= task.position)
        };
        if let Some((partition, to)) = positions.iter().find(went_back) {
            // The checkpoint was appended below what the store has: this is no longer the changelog it came from.
            self.rebuild(format!(
                "the changelog's partition {partition} went back to {to}; was it made anew?"
            ));
            return;
        }
        let applied = round
            .writes
            .iter()
            .enumerate()
            .map(|(index, write)| {
                let to = positions.iter().find(|(partition, _)| *partition == write.partition);
                let (_, to) = *to.expect("a commit answers a position for each partition of the round");
                let from = self.tasks[&write.partition].position;
                Applied { writes: round.writes.clone(), index, from, to }
            })
            .collect();
        self.effects.push_back(Effect::Apply(applied));
    }

    /// The store stands at the round: the hot map, the deadlines and the offsets follow.
    pub(super) fn applied(&mut self, now: Now) {
        let round = self.round.take().expect("an apply belongs to an open round");
        for (partition, page, at) in &round.settles {
            self.deadlines.settle(*partition, page, *at);
        }
        let (deadlines, classes) = (&mut self.deadlines, &self.settings.classes);
        for (partition, position) in &round.positions {
            let Some(task) = self.tasks.get_mut(partition) else { continue };
            task.settle(*position, now.monotonic_ms, |symbol, class, before, row| {
                deadlines.moved(*partition, symbol, classes.get(class), before, row);
            });
        }
        for after in std::mem::take(&mut self.after) {
            self.follow(after);
        }
        self.evict_if_full();
    }

    /// The round can't be committed.
    pub(super) fn abort(&mut self, reason: String) {
        self.effects.clear();
        self.batch = None;
        self.looking = None;
        self.listing = None;
        self.notice(Notice::RoundAborted { reason });
        self.effects.push_back(Effect::Abort);
    }

    /// The transaction is gone: so is the overlay, and the input is read again.
    pub(super) fn aborted(&mut self, now: Now) {
        let Some(round) = self.round.take() else { return };
        let mut rewind = Vec::new();
        for task in self.tasks.values_mut() {
            let is_read = task.next != task.committed || round.unread.contains(&task.partition);
            if is_read && !round.released.contains(&task.partition) {
                rewind.push((task.partition, task.committed));
            }
            task.drop_round();
        }
        let mut after = std::mem::take(&mut self.after);
        match after.as_mut_slice() {
            // What comes does not depend on the round that was open when it came.
            [] | [After::TakeOver(_)] => {
                self.effects.push_back(Effect::Rewind(rewind));
                for after in after {
                    self.follow(after);
                }
            }
            // Nobody has any of it yet.
            [After::Resume { takeover, .. }] => {
                let takeover = std::mem::take(takeover);
                self.drop_tasks(&takeover.partitions);
                self.take_over(takeover);
            }
            _ if round.is_repeated => self.fail_to_give_up(&after),
            _ => {
                if !rewind.is_empty() {
                    self.effects.push_back(Effect::Rewind(rewind));
                }
                self.after = after;
                self.mark_alone(round, now);
            }
        }
    }

    /// A round that was to give partitions up was aborted: under the membership that took them away, it may be, which a
    /// round begun before it cannot be committed under. The marks are all that is needed.
    fn mark_alone(&mut self, aborted: Round, now: Now) {
        let generation = self.generation;
        let round = self.open_round(generation, now);
        round.is_repeated = true;
        round.partitions.clone_from(&aborted.released);
        round.released = aborted.released;
        round.unclaims = aborted.unclaims;
        self.finish_round();
    }

    /// What should have followed the round can't: unmarked partitions are given up together with the id.
    fn fail_to_give_up(&mut self, after: &[After]) {
        let partitions: Vec<Partition> = self.tasks.keys().copied().collect();
        if after.iter().any(|after| matches!(after, After::Stop(_))) {
            self.stop(Stop::Interrupted);
        } else {
            self.rebuild("the round that was to give partitions up was aborted".to_owned());
            self.effects.push_front(Effect::Release(partitions));
        }
    }

    /// Finishes what these partitions have open, marks them as given up, and gives them up; then stops if asked to.
    pub(super) fn release(&mut self, partitions: Vec<Partition>, stop: Option<Stop>, now: Now) {
        let owned: Vec<Partition> =
            partitions.iter().copied().filter(|p| self.tasks.contains_key(p)).collect();
        let (claimed, left) = self.give_up_takeover(&partitions);
        self.after.push(After::Release(partitions));
        self.after.extend(left.map(After::TakeOver));
        self.after.extend(stop.map(After::Stop));
        if owned.is_empty() && claimed.is_empty() && self.round.is_none() {
            for after in std::mem::take(&mut self.after) {
                self.follow(after);
            }
            return;
        }
        let generation = self.generation;
        let round = self.open_round(generation, now);
        round.partitions.extend(&owned);
        round.released.extend(&owned);
        // Without the mark the next owner would fence an id that lives.
        round.unclaims = claimed;
        self.finish_round();
    }

    /// The partitions are somebody else's: drop the round, the producer, everything.
    pub(super) fn lost(&mut self, partitions: Vec<Partition>) {
        let aborts = self.round.is_some();
        self.rebuild("partitions were lost".to_owned());
        self.effects.push_front(Effect::Release(partitions));
        if aborts {
            self.effects.push_front(Effect::Abort);
        }
    }

    fn follow(&mut self, after: After) {
        match after {
            After::Resume { offsets, .. } => self.effects.push_back(Effect::Resume(offsets)),
            After::Release(partitions) => {
                self.drop_tasks(&partitions);
                self.effects.push_back(Effect::Release(partitions));
            }
            After::TakeOver(begun) => self.take_over(begun),
            After::Stop(stop) => self.effects.push_back(Effect::Stop(stop)),
        }
    }

    fn drop_tasks(&mut self, partitions: &[Partition]) {
        self.tasks.retain(|partition, _| !partitions.contains(partition));
        self.deadlines.forget(partitions);
        self.feeds.forget();
        self.unlisted.retain(|partition, _| !partitions.contains(partition));
    }

    fn evict_if_full(&mut self) {
        let hot: usize = self.tasks.values().map(super::task::Task::hot).sum();
        if hot > self.settings.hot_symbols {
            self.tasks.values_mut().for_each(super::task::Task::evict);
        }
    }
}
