//! Silences that the clock notices, on idle input too.
//!
//! The task's clock stands at the wall time of a look at the partition's end, once everything below that end
//! is committed: a backlog, a stall or an open upstream transaction never makes a silence.

use super::effect::{Effect, Notice, Output};
use super::freshness::{self, Deadline, Deadlines};
use super::input::{End, Generation, Now};
use super::processor::{LOOK_AGAIN_MS, Processor};
use super::task::SlotId;
use crate::model::{Partition, WallTime};

/// How many deadlines one look settles at most.
const NOTICES_MAX: usize = 10_000;

/// Symbols whose deadline has passed, each with its slot and the time of the look.
#[derive(Debug)]
pub(super) struct Candidates {
    due: Vec<(Deadline, SlotId, WallTime)>,
    /// What was asked of the store, in order.
    pub(super) asked: Vec<(Partition, SlotId)>,
}

impl Processor {
    /// Asks for the ends of the partitions that have something due.
    pub(super) fn look(&mut self, generation: Generation, now: Now) {
        self.generation = generation;
        self.look_not_before_ms = now.monotonic_ms + LOOK_AGAIN_MS;
        let until = now.wall.0 - self.settings.grace_ms;
        let mut partitions: Vec<Partition> =
            self.deadlines.due(until, NOTICES_MAX).into_iter().map(|(_, partition, _)| partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let looks = partitions.iter().filter_map(|p| Some((*p, self.tasks.get(p)?.committed))).collect();
        self.effects.push_back(Effect::LookAtEnds(looks));
    }

    pub(super) fn ends_seen(&mut self, ends: &[End], now: Now) {
        if let Some(by_ms) = self.clock.leap(now) {
            self.notice(Notice::ClockLeapt { by_ms });
            return;
        }
        let covered: Vec<(Partition, WallTime)> = ends
            .iter()
            .filter(|end| end.last_stable == end.high_watermark)
            .filter(|end| {
                let task = self.tasks.get(&end.partition);
                task.is_some_and(|task| task.committed >= end.high_watermark || !end.readable)
            })
            .map(|end| (end.partition, end.looked_at))
            .collect();
        let mut candidates = Candidates { due: Vec::new(), asked: Vec::new() };
        for deadline in self.deadlines.due(now.wall.0 - self.settings.grace_ms, NOTICES_MAX) {
            let Some((partition, looked_at)) = covered.iter().find(|(p, _)| *p == deadline.1) else {
                continue;
            };
            let Some(task) = self.tasks.get_mut(partition) else { continue };
            let slot = task.slot_id(&deadline.2);
            if task.is_unknown(slot) {
                candidates.asked.push((*partition, slot));
            }
            candidates.due.push((deadline, slot, *looked_at));
        }
        if candidates.asked.is_empty() {
            self.notice_due(&candidates, now);
            return;
        }
        candidates.asked.sort_unstable();
        candidates.asked.dedup();
        let names =
            candidates.asked.iter().map(|(p, slot)| (*p, self.tasks[p].symbol(*slot).clone())).collect();
        self.effects.push_back(Effect::Lookup(names));
        self.candidates = Some(candidates);
    }

    /// All candidates are known: report those that are silent, put the others where they belong.
    pub(super) fn notice_due(&mut self, candidates: &Candidates, now: Now) {
        let threshold_ms = self.settings.error_after_ms;
        let mut outputs = Vec::new();
        let mut settles = Vec::new();
        for (deadline, slot, looked_at) in &candidates.due {
            let (at, partition, symbol) = deadline;
            let Some(task) = self.tasks.get_mut(partition) else { continue };
            let row = task.row(*slot);
            if let Some((after, event)) =
                row.and_then(|row| freshness::overdue(row, symbol, threshold_ms, *looked_at))
            {
                task.set(*slot, Some(after));
                outputs.push(Output::event(*partition, symbol.clone(), &event));
                settles.push(deadline.clone());
                continue;
            }
            let real = row
                .filter(|row| freshness::awaits_notice(Some(row)))
                .and_then(|row| Deadlines::of(row, threshold_ms));
            if real != Some(*at) {
                self.deadlines.remove(deadline);
                if let Some(real) = real {
                    self.deadlines.insert(real, *partition, symbol.clone());
                }
            }
        }
        if outputs.is_empty() {
            return;
        }
        let generation = self.generation;
        let round = self.open_round(generation, now);
        round.partitions.extend(settles.iter().map(|(_, partition, _)| *partition));
        round.settles = settles;
        self.effects.push_back(Effect::Send(outputs));
        self.finish_round();
    }
}
