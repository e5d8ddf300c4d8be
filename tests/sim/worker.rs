//! The life of a worker: the loop that the real one runs, a step at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt;
use tickgate::core::effect::Notice;
use tickgate::core::input::Failure;
use tickgate::core::{Effect, Generation, Input, Now, Processor, Record, Stop};
use tickgate::model::{Offset, Partition};

use crate::group::{Event, Member, Seat};
use crate::invariants::{Breach, fencing};
use crate::journal::{Body, Staged, Topic};
use crate::process::Home;
use crate::restore::Restoring;
use crate::site::Site;
use crate::tally::Kind;
use crate::teeth::{Planted, Slip};

/// Memberships that are kept, as by the gate.
const MEMBERSHIPS: usize = 3;
/// Records that one poll takes at most.
const BATCH_MAX: usize = 8;

/// From joining the group to leaving it.
#[derive(Debug)]
pub struct Life {
    pub core: Processor,
    pub id: String,
    pub epoch: u32,
    pub seat: Seat,
    pub number: u32,
    /// An effect that could not be carried out yet.
    waiting: Option<Effect>,
    /// The effect carried out last.
    last: &'static str,
    pub memberships: Vec<(Generation, (Member, u32))>,
    /// Where each assigned partition is read next.
    pub places: BTreeMap<Partition, Offset>,
    pub batch: Vec<(Partition, Offset, Arc<Staged>)>,
    pub round: Sent,
    pub restoring: Option<Restoring>,
    /// Since when it waits for another worker of its process to let go of a partition.
    pub awaits_writer_since_ms: Option<i64>,
    /// Wall time at which the own partitions' changelog was last known to have nothing but what is known here.
    pub current_at: i64,
    /// The changelog positions that commits were answered with.
    pub committed: BTreeMap<Partition, Offset>,
    /// Owners whose mark of release was on its way when they were read.
    pub excused: Vec<String>,
    /// Until when marks are waited for, while owners are being read.
    pub marks_until_ms: Option<i64>,
    /// Until when a claim is tried that the group refuses.
    pub claims_until_ms: Option<i64>,
    told_to_stop: bool,
    /// The last turn was a tick; the group and the records have the next one.
    ticked: bool,
    /// It was told that it is fenced, or that its partitions are lost.
    is_over: bool,
    pub slip: Slip,
}

/// What the open transaction knows of itself.
#[derive(Debug, Default)]
pub struct Sent {
    /// Whether Kafka knows of it.
    pub known: bool,
    pub inputs: bool,
    pub positions: Vec<(Partition, Offset)>,
    pub failed: Option<Failure>,
    /// A planted fault takes an unknown outcome for an abort.
    pub forgotten: bool,
}

/// How a life ends, but for being killed.
#[derive(Debug)]
pub enum Ended {
    Rejoin,
    Stopped(Stop),
}

impl Life {
    pub fn begin(home: &mut Home, worker: usize, number: u32, site: &mut Site) -> Self {
        let id = format!("gate.{}.{worker}.{}.{number}", home.index, home.starts);
        let epoch = site.journal.init(&id).expect("a new id has nothing open");
        home.remembered.insert(id.clone());
        let now = home.now(site);
        let name = home.name.as_ref().map(|name| format!("{name}-{worker}"));
        if name.as_ref().is_some_and(|name| site.group.knows(name)) {
            site.tally.note(Kind::StaticRestart);
        }
        let seat = Seat::take(&mut site.group, name, now.monotonic_ms);
        site.trace.note(format_args!("{id} joins as {}", seat.member));
        Self {
            core: Processor::new(site.settings(), id.clone(), now),
            id,
            epoch,
            seat,
            number,
            waiting: None,
            last: "nothing",
            memberships: Vec::new(),
            places: BTreeMap::new(),
            batch: Vec::new(),
            round: Sent::default(),
            restoring: None,
            awaits_writer_since_ms: None,
            current_at: now.wall.0,
            committed: BTreeMap::new(),
            excused: Vec::new(),
            marks_until_ms: None,
            claims_until_ms: None,
            told_to_stop: false,
            ticked: false,
            is_over: false,
            slip: Slip::default(),
        }
    }

    pub fn leave(&mut self, home: &mut Home, site: &mut Site) {
        self.note_interrupted(site);
        home.disk.give_all_back(&self.id);
        home.remembered.remove(&self.id);
        site.living.gave_up(&self.id);
        self.seat.leave(&mut site.group, site.journal.now_ms);
    }

    pub fn note_killed(&mut self, site: &mut Site) {
        self.note_interrupted(site);
        site.tally.killed_after(self.last);
    }

    /// Whether the group has said something that ends a takeover here, or the process is to stop amid a restore.
    pub fn is_superseded(&mut self, effect: &Effect, home: &Home, site: &mut Site) -> bool {
        let listens = matches!(
            effect,
            Effect::ReadOwners(_)
                | Effect::Fence(_)
                | Effect::AwaitStable(_)
                | Effect::Claim(_)
                | Effect::ReadTargets(_)
                | Effect::Restore(_)
        );
        // The group is heard between two attempts, not in their midst.
        let heard = !self.seat.events.is_empty() && site.rng.random_bool(0.5);
        let stops = home.asked_to_stop && self.restoring.is_some();
        let ends = listens && heard || stops;
        if ends {
            self.note_interrupted(site);
            (self.restoring, self.awaits_writer_since_ms) = (None, None);
            (self.marks_until_ms, self.claims_until_ms) = (None, None);
        }
        ends
    }

    fn note_interrupted(&self, site: &mut Site) {
        if self.restoring.as_ref().is_some_and(|restoring| restoring.slices > 0) {
            site.tally.note(Kind::RestoreInterrupted);
        }
    }

    pub fn heartbeat(&mut self, site: &mut Site) {
        let now_ms = site.journal.now_ms;
        self.seat.heartbeat(&mut site.group, now_ms);
        if site.planted == Planted::MetadataAfterPoll
            && matches!(self.seat.events.back(), Some(Event::Revoked(_)))
        {
            self.seat.answer_at_once(&mut site.group, now_ms);
        }
    }

    /// One effect, or one turn of the loop.
    pub fn step(&mut self, home: &mut Home, site: &mut Site) -> Result<Option<Ended>, Breach> {
        let Some(effect) = self.waiting.take().or_else(|| self.core.poll_effect()) else {
            return Ok(self.turn(home, site));
        };
        if self.is_over {
            fencing::check_effect(&self.id, &effect)?;
        }
        match effect {
            Effect::Notice(notice) => self.told(&notice, site)?,
            Effect::Rejoin(reason) => {
                site.trace.effect(home.index, &Effect::Rejoin(reason.clone()), None);
                site.trace.note(format_args!("{} rejoins: {reason}", self.id));
                return Ok(Some(Ended::Rejoin));
            }
            Effect::Stop(stop) => {
                site.trace.effect(home.index, &Effect::Stop(stop.clone()), None);
                site.trace.note(format_args!("{} stops: {stop:?}", self.id));
                return Ok(Some(Ended::Stopped(stop)));
            }
            effect => {
                let answer = self.perform(&effect, home, site)?;
                self.last = effect.name();
                match answer {
                    Some(answer) => {
                        site.trace.effect(home.index, &effect, answer.failure());
                        self.answer(answer, home.now(site), site);
                    }
                    None => self.waiting = Some(effect),
                }
                site.look()?;
            }
        }
        Ok(None)
    }

    fn answer(&mut self, answer: Input<'static>, now: Now, site: &mut Site) {
        if let Input::Failed(failure) = &answer {
            site.trace.note(format_args!("{} failed: {failure:?}", self.id));
            if matches!(failure, Failure::Fenced { .. }) {
                self.is_over = true;
                site.tally.note(Kind::ToldFenced);
            }
        }
        self.core.handle(answer, now);
    }

    fn told(&self, notice: &Notice, site: &mut Site) -> Result<(), Breach> {
        site.trace.note(format_args!("{} {notice:?}", self.id));
        match notice {
            Notice::ResumedFromCheckpoint { .. } => site.tally.note(Kind::ResumedFromCheckpoint),
            Notice::ClaimRefused { .. } => site.tally.note(Kind::ClaimRefused),
            Notice::Lost { partition, from, to } => site.lose(*partition, *from, *to)?,
            Notice::RoundAborted { .. } | Notice::SettingsDiffer { .. } | Notice::ClockLeapt { .. } => {}
        }
        Ok(())
    }

    fn turn(&mut self, home: &mut Home, site: &mut Site) -> Option<Ended> {
        let now = home.now(site);
        self.ticked = !self.ticked
            && self.seat.events.is_empty()
            && self.core.poll_timeout(now).is_some_and(|(wait, _)| wait.is_zero());
        if self.ticked {
            site.trace.note(format_args!("{} tick", self.id));
            site.tally.note(Kind::Tick);
            let generation = self.generation();
            self.core.handle(Input::Tick { generation }, now);
        } else if let Some(event) = self.seat.next_event() {
            site.trace.note(format_args!("{} {event:?}", self.id));
            self.group_said(event, site, now);
        } else if home.asked_to_stop && !self.told_to_stop {
            self.told_to_stop = true;
            let generation = self.take_membership();
            self.core.handle(Input::Shutdown { generation }, now);
        } else {
            return self.read(site, now);
        }
        None
    }

    /// The membership as it is now, and while a round is open that of the round.
    fn generation(&mut self) -> Generation {
        if self.core.has_round() { self.newest() } else { self.take_membership() }
    }

    fn newest(&self) -> Generation {
        self.memberships.last().map_or(Generation(0), |(generation, _)| *generation)
    }

    pub fn take_membership(&mut self) -> Generation {
        let generation = Generation(self.newest().0 + 1);
        self.memberships.push((generation, (self.seat.member, self.seat.generation)));
        if self.memberships.len() > MEMBERSHIPS {
            self.memberships.remove(0);
        }
        generation
    }

    fn group_said(&mut self, event: Event, site: &mut Site, now: Now) {
        let generation = self.take_membership();
        let input = match event {
            Event::Assigned(partitions) => Input::Assigned { partitions, generation },
            Event::Revoked(partitions) => {
                if site.planted == Planted::GiveUpFirst {
                    self.give_up_first(&partitions, site);
                }
                site.tally.note(Kind::Revoked);
                if self.core.progress().tasks.len() > partitions.len() {
                    site.tally.note(Kind::RevokedInPart);
                }
                // It may keep others.
                if !site.group.is_cooperative {
                    site.living.gave_up(&self.id);
                }
                Input::Revoked { partitions, generation }
            }
            Event::Lost(partitions) => {
                site.tally.note(Kind::Lost);
                site.living.gave_up(&self.id);
                self.is_over = true;
                Input::Lost { partitions }
            }
        };
        self.core.handle(input, now);
    }

    /// Planted: the partitions are given up before the round that uses them is committed and applied.
    fn give_up_first(&mut self, partitions: &[Partition], site: &mut Site) {
        for partition in partitions {
            if let Some((offset, _)) = site.journal.offsets.committed(*partition) {
                site.journal.offsets.commit(*partition, offset, format!("{};rel", self.id));
            }
        }
        self.seat.unassign(&mut site.group, site.journal.now_ms);
    }

    /// Reads a batch. A place that staging no longer has, or a membership that another has taken, ends the life.
    fn read(&mut self, site: &mut Site, now: Now) -> Option<Ended> {
        let generation = self.generation();
        let out_of_range =
            |(partition, at): (&Partition, &Offset)| *at < site.journal.start(Topic::Staging, *partition);
        if self.seat.is_replaced {
            site.trace.note(format_args!("{} is replaced by another of its name", self.id));
            return Some(Ended::Stopped(Stop::Replaced));
        }
        if self.places.iter().any(out_of_range) {
            site.trace.note(format_args!("{} reads where staging has nothing", self.id));
            return Some(Ended::Rejoin);
        }
        self.batch = self.poll(site);
        if self.batch.is_empty() {
            return None;
        }
        site.trace.note(format_args!("{} reads {} from {:?}", self.id, self.batch.len(), self.batch[0].1));
        let records: Vec<Record<'_>> = self
            .batch
            .iter()
            .map(|(partition, offset, staged)| Record {
                partition: *partition,
                offset: *offset,
                kafka_time: Some(staged.kafka_time),
                key: staged.key.as_deref(),
                value: staged.value.as_deref(),
            })
            .collect();
        self.core.handle(Input::Arrivals { records: &records, generation }, now);
        None
    }

    fn poll(&mut self, site: &mut Site) -> Vec<(Partition, Offset, Arc<Staged>)> {
        let most = site.rng.random_range(1..=BATCH_MAX);
        let mut batch = Vec::new();
        let first = site.rng.random_range(0..=self.places.len());
        let order: Vec<Partition> = self.places.keys().copied().collect();
        for partition in order.iter().cycle().skip(first).take(order.len()) {
            if !site.journal.tells_end(Topic::Staging, *partition) {
                continue;
            }
            let place = self.places.get_mut(partition).expect("the order is the places'");
            let end = match site.planted {
                Planted::ReadUncommitted => site.journal.high_watermark(Topic::Staging, *partition),
                _ => site.journal.last_stable(Topic::Staging, *partition),
            };
            let mut came = end.max(*place);
            for (at, entry) in site.journal.readable(Topic::Staging, *partition, *place, end) {
                let Body::Staged(staged) = &entry.body else { continue };
                if batch.len() == most {
                    came = at;
                    break;
                }
                batch.push((*partition, at, staged.clone()));
            }
            *place = came;
        }
        batch
    }
}
