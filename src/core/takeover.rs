//! Taking partitions over, in the one order that is safe: who owned them, fence the dead, wait until nothing
//! is pending, claim, take the changelog's high watermark, restore up to it, check, read on.

use super::effect::{Effect, Notice, Refusal, Stop, Target};
use super::input::{Now, Owner, Restored};
use super::processor::Processor;
use super::round::After;
use super::task::Task;
use crate::model::{Offset, Partition};

/// A takeover under way, or begun and ended by the group.
#[derive(Debug, Default)]
pub(super) struct Takeover {
    pub(super) partitions: Vec<Partition>,
    /// What was committed when that was asked last: what may have been claimed since.
    committed: Vec<(Partition, Option<Offset>)>,
    /// What was restored, and does not go with what was committed when that was asked: it is asked again.
    doubted: Option<Vec<Restored>>,
}

/// Where a partition is read on, and what people should know of it.
struct Start {
    committed: Option<Offset>,
    next: Offset,
    notices: Vec<Notice>,
}

impl Processor {
    pub(super) fn assigned(&mut self, partitions: Vec<Partition>) {
        // What was being taken over when these came is still the worker's.
        let mut takeover = self.takeover.take().unwrap_or_default();
        takeover.partitions.extend(partitions);
        takeover.partitions.sort_unstable();
        takeover.partitions.dedup();
        if takeover.partitions.is_empty() {
            self.effects.push_back(Effect::Resume(Vec::new()));
        } else if self.round.is_some() {
            self.after.push(After::TakeOver(takeover));
            self.finish_round();
        } else {
            self.take_over(takeover);
        }
    }

    /// Begins from the start, with what is known of an earlier beginning: what that has claimed must be given up with a
    /// mark, if it is.
    pub(super) fn take_over(&mut self, begun: Takeover) {
        self.effects.push_back(Effect::Accept(begun.partitions.clone()));
        self.effects.push_back(Effect::ReadOwners(begun.partitions.clone()));
        self.takeover = Some(Takeover { doubted: None, ..begun });
    }

    pub(super) fn owners_read(&mut self, owners: &[Owner]) {
        let Some(takeover) = &self.takeover else { return };
        let mut dead: Vec<String> = owners
            .iter()
            .filter_map(|owner| owner.claim.as_ref())
            .filter(|claim| !claim.released && claim.transactional_id != self.id)
            .map(|claim| claim.transactional_id.clone())
            .collect();
        dead.sort_unstable();
        dead.dedup();
        if !dead.is_empty() {
            self.effects.push_back(Effect::Fence(dead));
        }
        self.effects.push_back(Effect::AwaitStable(takeover.partitions.clone()));
    }

    pub(super) fn stable(&mut self, offsets: &[(Partition, Option<Offset>)], now: Now) {
        let Some(takeover) = &mut self.takeover else { return };
        let known = std::mem::replace(&mut takeover.committed, offsets.to_vec());
        if let Some(restored) = takeover.doubted.take_if(|_| known == offsets) {
            self.settle(&restored, true, now);
            return;
        }
        takeover.doubted = None;
        let claims = claims(offsets);
        if !claims.is_empty() {
            self.effects.push_back(Effect::Claim(claims));
        }
        self.effects.push_back(Effect::ReadTargets(takeover.partitions.clone()));
    }

    /// Partitions are given up while they are being taken over. Answers what of them may be claimed, with the offsets,
    /// and what is left to be taken over.
    pub(super) fn give_up_takeover(
        &mut self,
        given_up: &[Partition],
    ) -> (Vec<(Partition, Offset)>, Option<Takeover>) {
        let Some(mut left) = self.takeover.take() else { return (Vec::new(), None) };
        let mut claimed = claims(&left.committed);
        claimed.retain(|(partition, _)| given_up.contains(partition));
        left.partitions.retain(|partition| !given_up.contains(partition));
        left.committed.retain(|(partition, _)| !given_up.contains(partition));
        (claimed, Some(left).filter(|left| !left.partitions.is_empty()))
    }

    pub(super) fn refused(&mut self, reason: String) {
        self.effects.clear();
        let partitions = self.takeover.take().map(|takeover| takeover.partitions).unwrap_or_default();
        self.notice(Notice::ClaimRefused { reason });
        self.effects.push_back(Effect::Release(partitions));
    }

    pub(super) fn targets_read(&mut self, targets: &[(Partition, Offset)]) {
        let Some(takeover) = &self.takeover else { return };
        let committed = |partition| {
            takeover.committed.iter().find(|(of, _)| *of == partition).and_then(|(_, offset)| *offset)
        };
        let targets = targets
            .iter()
            .map(|(partition, changelog_end)| Target {
                partition: *partition,
                changelog_end: *changelog_end,
                committed: committed(*partition),
            })
            .collect();
        self.effects.push_back(Effect::Restore(targets));
    }

    pub(super) fn restored(&mut self, restored: Vec<Restored>, now: Now) {
        if self.settle(&restored, false, now) {
            return;
        }
        // Somebody may have committed since: then what was committed is older than what was restored.
        let Some(takeover) = &mut self.takeover else { return };
        takeover.doubted = Some(restored);
        self.effects.push_back(Effect::AwaitStable(takeover.partitions.clone()));
    }

    /// Goes on where input and state belong together; stops where it `is_certain` that they do not. Answers whether
    /// either is so.
    fn settle(&mut self, restored: &[Restored], is_certain: bool, now: Now) -> bool {
        let Some(takeover) = &self.takeover else { return true };
        let committed = |part: &Restored| {
            takeover.committed.iter().find(|(of, _)| *of == part.partition).and_then(|(_, offset)| *offset)
        };
        let start = |part| self.settle_start(part, committed(part), is_certain);
        let starts: Result<Vec<Start>, Refusal> = restored.iter().map(start).collect();
        match starts {
            Ok(starts) => self.start(restored, starts, now),
            Err(_) if !is_certain => return false,
            Err(refusal) => self.refuse(refusal),
        }
        true
    }

    fn start(&mut self, restored: &[Restored], starts: Vec<Start>, now: Now) {
        let takeover = self.takeover.take().unwrap_or_default();
        let mut resume = Vec::with_capacity(starts.len());
        let mut found = Vec::new();
        for (part, Start { committed, next, notices }) in restored.iter().zip(starts) {
            if committed != Some(next) || part.checkpoint.as_ref().map(|row| row.next_offset) != Some(next) {
                found.push(part.partition);
            }
            resume.push((part.partition, next));
            self.effects.extend(notices.into_iter().map(Effect::Notice));
            self.add_task(part, next, now);
        }
        if found.is_empty() {
            self.effects.push_back(Effect::Resume(resume));
            return;
        }
        // A checkpoint exists wherever a committed offset does: a partition without either is founded by a round.
        let generation = self.generation;
        self.open_round(generation, now).partitions.extend(found);
        self.after.push(After::Resume { offsets: resume, takeover });
        self.finish_round();
    }

    /// Stops for good, but only as the owner: what a worker was told before it lost the partitions unawares
    /// says nothing about the state that their next owner has written since. Claiming again tells.
    fn refuse(&mut self, refusal: Refusal) {
        let takeover = self.takeover.take();
        self.stop(Stop::Refused(refusal));
        let claims = takeover.as_ref().map(|takeover| claims(&takeover.committed)).unwrap_or_default();
        if !claims.is_empty() {
            self.effects.push_front(Effect::Claim(claims));
            self.takeover = takeover;
        }
    }

    /// Where reading starts, or why it must not. That records are gone is believed only when it `is_certain`, accepted
    /// or not.
    fn settle_start(
        &self,
        part: &Restored,
        committed: Option<Offset>,
        is_certain: bool,
    ) -> Result<Start, Refusal> {
        let partition = part.partition;
        let checkpoint = part.checkpoint.as_ref();
        let next = match (committed, checkpoint) {
            (None, None) => return Ok(Start { committed, next: part.log_start, notices: Vec::new() }),
            (Some(committed), checkpoint) if checkpoint.map(|row| row.next_offset) != Some(committed) => {
                let checkpoint = checkpoint.map(|row| row.next_offset);
                return Err(Refusal::CheckpointDiffers { partition, committed, checkpoint });
            }
            (Some(committed), _) => committed,
            (None, Some(row)) => row.next_offset,
        };
        if next > part.log_end {
            return Err(Refusal::BeyondEnd { partition, offset: next, log_end: part.log_end });
        }
        // A record that was judged once can be read for as long as the log holds it.
        let found = part.time_below_checkpoint;
        if let (None, Some(expected)) = (committed, checkpoint.and_then(|row| row.input_time))
            && next > part.log_start
            && found != Some(expected)
        {
            return Err(Refusal::Recreated { partition, offset: next, found, expected });
        }
        let mut notices = Vec::new();
        if let Some(row) = checkpoint.filter(|row| row.fingerprint != self.settings.fingerprint) {
            notices.push(Notice::SettingsDiffer { partition, found: row.fingerprint });
        }
        if committed.is_none() {
            notices.push(Notice::ResumedFromCheckpoint { partition, offset: next });
        }
        if next >= part.log_start {
            return Ok(Start { committed, next, notices });
        }
        if !(self.settings.accept_loss && is_certain) {
            return Err(Refusal::BeforeStart { partition, offset: next, log_start: part.log_start });
        }
        notices.push(Notice::Lost { partition, from: next, to: part.log_start });
        Ok(Start { committed, next: part.log_start, notices })
    }

    fn add_task(&mut self, part: &Restored, next: Offset, now: Now) {
        let epoch = part.checkpoint.as_ref().map_or(0, |row| row.epoch);
        let mut task = Task::new(part.partition, next, part.position, epoch, now.monotonic_ms);
        task.time = part.checkpoint.as_ref().and_then(|row| row.input_time);
        task.committed_time = task.time;
        task.learn_classes(&part.classes, &self.settings.classes);
        self.feeds.forget();
        self.deadlines.add(part.partition);
        self.list_later(part.partition);
        self.tasks.insert(part.partition, task);
    }
}

/// What can be claimed: the offsets that somebody has committed.
fn claims(offsets: &[(Partition, Option<Offset>)]) -> Vec<(Partition, Offset)> {
    offsets.iter().filter_map(|(partition, offset)| Some((*partition, (*offset)?))).collect()
}
