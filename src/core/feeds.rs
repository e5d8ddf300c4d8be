//! Whole feeds: a class of symbols without any accepted quote for too long is silent, once over all partitions.
//!
//! Each partition keeps a row for each class: the Kafka time of its last accepted quote. A class's home task, by the
//! hash of its name, judges it from the rows of all partitions as the local store has them: the own ones, and what the
//! replica follows. It believes them up to the moment at which every partition's end had been reached, so neither a
//! backlog nor a replica that lags makes a silence. What has been reported stands in the home partition's row.

use std::collections::BTreeMap;

use super::class::{Class, ClassId};
use super::effect::{Effect, Output};
use super::input::{FeedPart, Generation, Now};
use super::processor::{LOOK_AGAIN_MS, Processor};
use super::task::AwaitedEnd;
use crate::model::{ClassRow, Event, EventTime, FeedSilence, NoticedBy, Partition, WallTime, partition_of};

/// What a worker knows of the feeds that it judges.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    /// When a class is to be looked at next; one without has never been looked at.
    next: BTreeMap<ClassId, Next>,
    /// The last accepted quotes that were ever seen: a replica that is made anew must not hide them.
    last: BTreeMap<ClassId, i64>,
    awaited: BTreeMap<Partition, AwaitedEnd>,
    /// Up to which moment all of a partition is known.
    covered: BTreeMap<Partition, WallTime>,
    /// Monotonic.
    not_before_ms: i64,
    /// Whether the look that is under way asks for ends.
    asked_ends: bool,
}

/// When a class is to be looked at next, in ms.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// By the wall clock.
    Wall(i64),
    /// By the monotonic one: no time of a quote says when, and the wall's may go back.
    Monotonic(i64),
}

impl Feeds {
    /// Partitions have come or gone.
    pub(super) fn forget(&mut self) {
        self.next.clear();
    }

    /// Times of looks mean nothing any more.
    pub(super) fn distrust(&mut self) {
        self.awaited.clear();
        self.covered.clear();
    }

    fn cover(&mut self, parts: &[FeedPart]) {
        for part in parts {
            let Some(end) = &part.end else { continue };
            let awaited = self.awaited.entry(part.partition).or_default();
            if let Some(at) = awaited.clock(part.next_offset, end) {
                let covered = self.covered.entry(part.partition).or_insert(at);
                *covered = (*covered).max(at);
            }
        }
    }
}

impl Processor {
    /// The classes that this worker judges, and their home partitions.
    fn judged_feeds(&self) -> impl Iterator<Item = (ClassId, &Class, Partition)> {
        let partitions = self.settings.rules.partitions;
        let feeds = self.settings.classes.feeds();
        let homes =
            feeds.map(move |(id, class)| (id, class, partition_of(class.name.as_bytes(), partitions)));
        homes.filter(|(_, _, home)| self.tasks.contains_key(home))
    }

    /// How long until a class is to be looked at, in ms.
    pub(super) fn feed_wait_ms(&self, now: Now) -> Option<i64> {
        let wait = |(id, _, _): (ClassId, &Class, Partition)| match self.feeds.next.get(&id) {
            Some(Next::Wall(at)) => at.saturating_sub(now.wall.0),
            Some(Next::Monotonic(at)) => at.saturating_sub(now.monotonic_ms),
            None => 0,
        };
        let until_due_ms = self.judged_feeds().map(wait).min()?;
        Some(until_due_ms.max(self.feeds.not_before_ms - now.monotonic_ms).max(0))
    }

    /// Asks for the rows of all partitions, if a class is to be looked at.
    pub(super) fn look_at_feeds(&mut self, now: Now) -> bool {
        if self.feed_wait_ms(now) != Some(0) {
            return false;
        }
        self.feeds.not_before_ms = now.monotonic_ms + LOOK_AGAIN_MS;
        self.look_with(false);
        true
    }

    /// The rows alone cost little; the ends are asked for where these call a class silent.
    fn look_with(&mut self, ends: bool) {
        self.feeds.asked_ends = ends;
        self.effects.push_back(Effect::LookAtFeeds { ends });
    }

    /// What the local store and staging say of all partitions.
    pub(super) fn feeds_seen(&mut self, parts: &[FeedPart], now: Now) {
        if self.has_leapt(now) {
            return;
        }
        self.feeds.cover(parts);
        for (id, class) in self.settings.classes.feeds() {
            let last = last_accepted(parts, &class.name).max(self.feeds.last.get(&id).copied());
            self.feeds.last.extend(last.map(|last| (id, last)));
        }
        let all = usize::try_from(self.settings.rules.partitions).unwrap_or(0).max(1);
        let covered = self.feeds.covered.values().min().copied();
        let known_until = covered.filter(|_| self.feeds.covered.len() >= all);
        let mut outputs = Vec::new();
        let mut changed = Vec::new();
        let (mut next, mut may_be_silent) = (BTreeMap::new(), false);
        for (id, class, home) in self.judged_feeds() {
            let last = self.feeds.last.get(&id).copied();
            let row = self.tasks[&home].class_row(id);
            let (after, event) = judge(class, &row, last, known_until, now, self.settings.grace_ms);
            let at = next_look(class, &after, last, now, self.settings.grace_ms);
            may_be_silent |= after.silent_from.is_none() && matches!(at, Next::Wall(at) if at <= now.wall.0);
            next.insert(id, at);
            if let Some(event) = event {
                outputs.push(Output::event(home, class.name.clone(), &event));
                changed.push((home, id, after));
            }
        }
        self.feeds.next = next;
        if !outputs.is_empty() {
            self.tell(changed, outputs, self.generation, now);
        } else if may_be_silent && !self.feeds.asked_ends {
            self.look_with(true);
        }
    }

    fn tell(
        &mut self,
        changed: Vec<(Partition, ClassId, ClassRow)>,
        outputs: Vec<Output>,
        generation: Generation,
        now: Now,
    ) {
        let homes: Vec<Partition> = changed.iter().map(|(home, _, _)| *home).collect();
        self.open_round(generation, now).partitions.extend(homes);
        for (home, id, row) in changed {
            if let Some(task) = self.tasks.get_mut(&home) {
                task.set_class_row(id, row);
            }
        }
        self.effects.push_back(Effect::Send(outputs));
        self.finish_round();
    }

    /// Feeds judged here that are silent.
    pub(super) fn silent_feeds(&self) -> usize {
        let is_silent = |(id, _, home): &(ClassId, &Class, Partition)| {
            self.tasks[home].class_row(*id).silent_from.is_some()
        };
        self.judged_feeds().filter(is_silent).count()
    }
}

/// The Kafka time of a class's last accepted quote over all partitions.
fn last_accepted(parts: &[FeedPart], name: &str) -> Option<i64> {
    let rows = parts.iter().flat_map(|part| &part.classes);
    rows.filter(|(of, _)| **of == *name).filter_map(|(_, row)| row.last_accepted).max()
}

/// The home's row after a look, and what there is to tell.
fn judge(
    class: &Class,
    row: &ClassRow,
    last: Option<i64>,
    known_until: Option<WallTime>,
    now: Now,
    grace_ms: i64,
) -> (ClassRow, Option<Event>) {
    let mut after = row.clone();
    let (Some(last), Some(threshold_ms)) = (last, class.feed_after_ms) else { return (after, None) };
    let silence = |from: i64, to: i64, detected_at: WallTime, noticed_by: NoticedBy| FeedSilence {
        class: class.name.to_string(),
        last_seen: EventTime(from),
        threshold_ms,
        calendar: class.calendar.name().to_owned(),
        detected_at,
        noticed_by,
        silence_ms: class.calendar.open_ms(from, to),
    };
    if let Some(from) = row.silent_from {
        if last <= from {
            return (after, None);
        }
        after.silent_from = None;
        return (after, Some(Event::FeedRecovered(silence(from, last, now.wall, NoticedBy::NextRecord))));
    }
    let Some(known_until) = known_until else { return (after, None) };
    let passed_at = class.calendar.after(last, threshold_ms.saturating_add(1));
    if passed_at > known_until.0.min(now.wall.0 - grace_ms) {
        return (after, None);
    }
    after.silent_from = Some(last);
    (after, Some(Event::FeedSilent(silence(last, known_until.0, known_until, NoticedBy::Clock))))
}

/// When to look at a class next: while it is silent again and again, else when it may be.
fn next_look(class: &Class, row: &ClassRow, last: Option<i64>, now: Now, grace_ms: i64) -> Next {
    let threshold_ms = class.feed_after_ms.unwrap_or(i64::MAX);
    match (row.silent_from, last) {
        (Some(_), _) => Next::Monotonic(now.monotonic_ms),
        // Whoever comes first is silent no sooner.
        (None, None) => Next::Monotonic(now.monotonic_ms.saturating_add(threshold_ms)),
        (None, Some(last)) => {
            let passed_at = class.calendar.after(last, threshold_ms.saturating_add(1));
            Next::Wall(passed_at.saturating_add(grace_ms))
        }
    }
}
