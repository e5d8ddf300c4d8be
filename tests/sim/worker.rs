//! A process with its disk, and the life of its worker: the loop that the real one runs, a step at a time.
//! Between any two steps it can be killed.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt;
use tickgate::core::{Effect, Generation, Input, Now, Processor, Record, Stop};
use tickgate::model::{Offset, Partition, WallTime};

use crate::disk::Disk;
use crate::group::{Event, Member, Seat};
use crate::invariants::Breach;
use crate::journal::{Body, Staged, Topic};
use crate::site::{BASE_MS, Site};
use crate::teeth::Planted;

/// Records that one poll takes at most.
const BATCH_MAX: usize = 8;

#[derive(Debug)]
pub struct Process {
    pub index: usize,
    pub disk: Disk,
    pub life: Option<Life>,
    pub stalled: bool,
    /// How far its wall clock is off.
    pub wall_off_ms: i64,
    pub asked_to_stop: bool,
    starts: u32,
}

/// From joining the group to leaving it.
#[derive(Debug)]
pub struct Life {
    pub core: Processor,
    pub id: String,
    pub epoch: u32,
    pub seat: Seat,
    number: u32,
    /// An effect that could not be carried out yet.
    waiting: Option<Effect>,
    pub memberships: Vec<(Generation, (Member, u32))>,
    /// Where each assigned partition is read next.
    pub places: BTreeMap<Partition, Offset>,
    pub batch: Vec<(Partition, Offset, Arc<Staged>)>,
    pub round: Sent,
    /// Owners read while the commit that marks them as released had no marker yet.
    pub excused: Vec<String>,
    /// Until when marks are waited for, while owners are being read.
    pub marks_until_ms: Option<i64>,
    told_to_stop: bool,
}

/// What the open transaction knows of itself.
#[derive(Debug, Default)]
pub struct Sent {
    /// Whether Kafka knows of it.
    pub known: bool,
    pub inputs: bool,
    pub positions: Vec<(Partition, Offset)>,
    pub failed: Option<tickgate::core::input::Failure>,
    /// A planted fault takes an unknown outcome for an abort.
    pub forgotten: bool,
}

impl Process {
    pub fn new(index: usize) -> Self {
        Self {
            index,
            disk: Disk::default(),
            life: None,
            stalled: false,
            wall_off_ms: 0,
            asked_to_stop: false,
            starts: 0,
        }
    }

    pub fn now(&self, site: &Site) -> Now {
        let monotonic_ms = site.journal.now_ms;
        Now { wall: WallTime(BASE_MS + monotonic_ms + self.wall_off_ms), monotonic_ms }
    }

    pub fn start(&mut self, site: &mut Site) {
        self.starts += 1;
        self.asked_to_stop = false;
        self.stalled = false;
        self.live(1, site);
    }

    /// It is gone at once; what it had open stays open.
    pub fn kill(&mut self, site: &mut Site) {
        if let Some(life) = self.life.take() {
            site.living.remove(&life.id);
        }
        let unflushed = self.disk.unflushed();
        self.disk.crash(site.rng.random_range(0..=unflushed));
    }

    pub fn heartbeat(&mut self, site: &mut Site) {
        let now_ms = site.journal.now_ms;
        if let Some(life) = &mut self.life
            && !self.stalled
        {
            life.seat.heartbeat(&mut site.group, now_ms);
        }
    }

    /// One effect, or one turn of the loop.
    pub fn step(&mut self, site: &mut Site) -> Result<(), Breach> {
        let now = self.now(site);
        let Some(life) = &mut self.life else { return Ok(()) };
        let Some(effect) = life.waiting.take().or_else(|| life.core.poll_effect()) else {
            self.turn(site);
            return Ok(());
        };
        match effect {
            Effect::Notice(notice) => site.trace.note(format_args!("{} {notice:?}", life.id)),
            Effect::Rejoin(reason) => {
                site.trace.effect(self.index, &Effect::Rejoin(reason.clone()), None);
                site.trace.note(format_args!("{} rejoins: {reason}", life.id));
                let number = life.number;
                self.leave(site);
                self.live(number + 1, site);
            }
            Effect::Stop(stop) => {
                site.trace.effect(self.index, &Effect::Stop(stop.clone()), None);
                site.trace.note(format_args!("{} stops: {stop:?}", life.id));
                self.leave(site);
                if !matches!(stop, Stop::Clean | Stop::Interrupted) {
                    return Err(Breach(format!("process {} stopped: {stop:?}", self.index)));
                }
            }
            effect => {
                let answer = self.perform(&effect, site)?;
                let life = self.life.as_mut().expect("an effect ends no life");
                match answer {
                    Some(answer) => {
                        site.trace.effect(self.index, &effect, answer.failure());
                        if let Input::Failed(failure) = &answer {
                            site.trace.note(format_args!("{} failed: {failure:?}", life.id));
                        }
                        life.core.handle(answer, now);
                    }
                    None => life.waiting = Some(effect),
                }
                site.look()?;
            }
        }
        Ok(())
    }

    fn live(&mut self, number: u32, site: &mut Site) {
        let id = format!("gate.{}.0.{}.{number}", self.index, self.starts);
        let epoch = site.journal.init(&id).expect("a new id has nothing open");
        let now = self.now(site);
        let seat = Seat::take(&mut site.group, now.monotonic_ms);
        site.trace.note(format_args!("{id} joins as {}", seat.member));
        self.life = Some(Life {
            core: Processor::new(site.settings(), id.clone(), now),
            id,
            epoch,
            seat,
            number,
            waiting: None,
            memberships: Vec::new(),
            places: BTreeMap::new(),
            batch: Vec::new(),
            round: Sent::default(),
            excused: Vec::new(),
            marks_until_ms: None,
            told_to_stop: false,
        });
    }

    fn leave(&mut self, site: &mut Site) {
        if let Some(life) = self.life.take() {
            site.living.remove(&life.id);
            site.group.leave(life.seat.member, site.journal.now_ms);
        }
    }

    fn turn(&mut self, site: &mut Site) {
        let (now, asked_to_stop) = (self.now(site), self.asked_to_stop);
        let Some(life) = &mut self.life else { return };
        if life.core.poll_timeout(now).is_some_and(|(wait, _)| wait.is_zero()) {
            site.trace.note(format_args!("{} tick", life.id));
            life.core.handle(Input::Tick { generation: life.generation() }, now);
        } else if let Some(event) = life.seat.events.pop_front() {
            site.trace.note(format_args!("{} {event:?}", life.id));
            life.group_said(event, site, now);
        } else if asked_to_stop && !life.told_to_stop {
            life.told_to_stop = true;
            life.core.handle(Input::Shutdown { generation: life.generation() }, now);
        } else {
            life.read(site, now);
        }
    }
}

impl Life {
    pub fn generation(&self) -> Generation {
        self.memberships.last().map_or(Generation(0), |(generation, _)| *generation)
    }

    fn group_said(&mut self, event: Event, site: &mut Site, now: Now) {
        let input = match event {
            Event::Assigned(partitions) => {
                let generation = Generation(self.seat.count);
                self.memberships.push((generation, (self.seat.member, self.seat.generation)));
                if self.memberships.len() > 2 {
                    self.memberships.remove(0);
                }
                Input::Assigned { partitions, generation }
            }
            Event::Revoked(partitions) => {
                if site.planted == Planted::GiveUpFirst {
                    self.give_up_first(&partitions, site);
                }
                site.living.remove(&self.id);
                Input::Revoked { partitions }
            }
            Event::Lost(partitions) => {
                site.living.remove(&self.id);
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

    fn read(&mut self, site: &mut Site, now: Now) {
        let generation = self.generation();
        let most = site.rng.random_range(1..=BATCH_MAX);
        let mut batch = Vec::new();
        let first = site.rng.random_range(0..=self.places.len());
        let order: Vec<Partition> = self.places.keys().copied().collect();
        for partition in order.iter().cycle().skip(first).take(order.len()) {
            let place = self.places.get_mut(partition).expect("the order is the places'");
            let end = match site.planted {
                Planted::ReadUncommitted => site.journal.high_watermark(Topic::Staging, *partition),
                _ => site.journal.last_stable(Topic::Staging, *partition),
            };
            let mut came = end.max(*place);
            for (at, entry) in site.journal.committed(Topic::Staging, *partition, *place, end) {
                let Body::Staged(staged) = &entry.body else { continue };
                if batch.len() == most {
                    came = at;
                    break;
                }
                batch.push((*partition, at, staged.clone()));
            }
            *place = came;
        }
        if batch.is_empty() {
            return;
        }
        self.batch = batch;
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
    }
}
