//! A process: its disk, its clocks, and its workers, which share them. Between any two steps it can be killed.

use std::collections::BTreeSet;

use rand::RngExt;
use tickgate::core::effect::Refusal;
use tickgate::core::{Now, Stop};
use tickgate::model::WallTime;

use crate::disk::Disk;
use crate::invariants::Breach;
use crate::schedule::Members;
use crate::site::{BASE_MS, Site};
use crate::tally::Kind;
use crate::worker::{Ended, Life};

/// What the workers of a process share.
#[derive(Debug)]
pub struct Home {
    pub index: usize,
    /// Its name in the group, if it has one that survives restarts.
    pub name: Option<String>,
    pub disk: Disk,
    /// How far its wall clock is off.
    pub wall_off_ms: i64,
    pub asked_to_stop: bool,
    pub starts: u32,
    /// Ids in its state directory: of each worker the present one, and what an earlier start has left.
    pub remembered: BTreeSet<String>,
    /// What an earlier start has left, and this one has fenced.
    pub fenced: BTreeSet<String>,
}

#[derive(Debug)]
pub struct Process {
    pub home: Home,
    pub lives: Vec<Option<Life>>,
    pub stalled: bool,
    /// Whether it was killed since it started last, and whether with its disk.
    was_killed: Option<bool>,
}

impl Home {
    pub fn now(&self, site: &Site) -> Now {
        let monotonic_ms = site.journal.now_ms;
        Now { wall: WallTime(BASE_MS + monotonic_ms + self.wall_off_ms), monotonic_ms }
    }
}

impl Process {
    pub fn new(index: usize, site: &Site) -> Self {
        let namesake = if site.schedule.members == Members::Twins && index == 1 { 0 } else { index };
        let name = site.schedule.members.are_static().then(|| format!("gate-{namesake}"));
        let home = Home {
            index,
            name,
            disk: Disk::default(),
            wall_off_ms: 0,
            asked_to_stop: false,
            starts: 0,
            remembered: BTreeSet::new(),
            fenced: BTreeSet::new(),
        };
        Self {
            home,
            lives: (0..site.schedule.workers).map(|_| None).collect(),
            stalled: false,
            was_killed: None,
        }
    }

    pub fn is_up(&self) -> bool {
        self.lives.iter().any(Option::is_some)
    }

    pub fn start(&mut self, site: &mut Site) {
        self.home.starts += 1;
        self.home.asked_to_stop = false;
        self.home.fenced.clear();
        self.stalled = false;
        match self.was_killed.take() {
            Some(true) => site.tally.note(Kind::RestartWithoutDisk),
            Some(false) => site.tally.note(Kind::RestartWithDisk),
            None => {}
        }
        for (worker, life) in self.lives.iter_mut().enumerate() {
            site.tally.note(Kind::Joined);
            *life = Some(Life::begin(&mut self.home, worker, 1, site));
        }
    }

    /// It is gone at once; what it had open stays open, and the latest that it wrote is lost.
    pub fn kill(&mut self, wipes: bool, site: &mut Site) -> Result<(), Breach> {
        let up = self.is_up();
        for mut life in self.lives.iter_mut().filter_map(Option::take) {
            site.living.gave_up(&life.id);
            life.note_killed(site);
        }
        let unflushed = self.home.disk.unflushed();
        self.home.disk.crash(site.rng.random_range(0..=unflushed));
        if wipes {
            self.home.disk = Disk::default();
            self.home.remembered.clear();
        }
        if up {
            site.trace.note(format_args!("process {} is killed, disk lost: {wipes}", self.home.index));
            self.was_killed = Some(wipes);
        }
        for (partition, table) in self.home.disk.tables() {
            site.look_at_table(partition, table, false)?;
        }
        Ok(())
    }

    /// What the clients' background threads do.
    pub fn heartbeat(&mut self, site: &mut Site) {
        if self.stalled {
            return;
        }
        for life in self.lives.iter_mut().flatten() {
            life.heartbeat(site);
        }
    }

    pub fn wake(&mut self, site: &mut Site) {
        if !std::mem::take(&mut self.stalled) {
            return;
        }
        let expired =
            |life: &&Life| !life.core.progress().tasks.is_empty() && !site.group.has(life.seat.member);
        let zombies = self.lives.iter().flatten().filter(expired).count();
        site.tally.add(Kind::ZombieWoke, zombies as u64);
    }

    /// What an earlier start has left is fenced beside everything else.
    fn fence_left(&mut self, site: &mut Site) -> Result<(), Breach> {
        let own = |id: &&String| self.lives.iter().flatten().any(|life| life.id == **id);
        let Some(id) = self.home.remembered.iter().find(|id| !own(id)).cloned() else { return Ok(()) };
        site.living.check("a later start", &id, &site.group, false)?;
        if site.journal.init(&id).is_ok() {
            site.trace.note(format_args!("process {} has fenced {id}", self.home.index));
            site.tally.note(Kind::RememberedFenced);
            self.home.remembered.remove(&id);
            self.home.fenced.insert(id);
        }
        Ok(())
    }

    /// One effect of one worker, or one turn of its loop.
    pub fn step(&mut self, worker: usize, site: &mut Site) -> Result<(), Breach> {
        if self.is_up() && site.rng.random_ratio(1, 8) {
            self.fence_left(site)?;
        }
        let Some(mut life) = self.lives[worker].take() else { return Ok(()) };
        match life.step(&mut self.home, site)? {
            None => self.lives[worker] = Some(life),
            Some(Ended::Rejoin) => {
                // A static member waits for a heartbeat's answer before it joins again.
                life.heartbeat(site);
                if life.seat.is_replaced {
                    self.lives[worker] = Some(life);
                    return self.end(worker, &Stop::Replaced, site);
                }
                site.tally.note(Kind::JoinedAgain);
                life.leave(&mut self.home, site);
                self.lives[worker] = Some(Life::begin(&mut self.home, worker, life.number + 1, site));
            }
            Some(Ended::Stopped(stop)) => {
                self.lives[worker] = Some(life);
                return self.end(worker, &stop, site);
            }
        }
        Ok(())
    }

    /// A worker that ends takes its process with it.
    fn end(&mut self, worker: usize, stop: &Stop, site: &mut Site) -> Result<(), Breach> {
        if let Some(mut life) = self.lives[worker].take() {
            life.leave(&mut self.home, site);
            if *stop != Stop::Clean {
                self.home.remembered.insert(life.id);
            }
        }
        self.home.asked_to_stop = true;
        self.note_stop(stop, site)
    }

    fn note_stop(&self, stop: &Stop, site: &mut Site) -> Result<(), Breach> {
        match stop {
            Stop::Clean => site.tally.note(Kind::Left),
            Stop::Interrupted => {}
            Stop::Replaced => site.tally.note(Kind::StaticFenced),
            Stop::Refused(refusal) => {
                site.refusals.check_refused(refusal)?;
                site.tally.note(match refusal {
                    Refusal::CheckpointDiffers { .. } => Kind::RefusedDifferent,
                    Refusal::BeforeStart { .. } => Kind::RefusedBeforeStart,
                    Refusal::BeyondEnd { .. } => Kind::RefusedBeyondEnd,
                    Refusal::Recreated { .. } => Kind::RefusedRecreated,
                });
            }
            Stop::Store(_) => return Err(Breach(format!("process {} stopped: {stop:?}", self.home.index))),
        }
        Ok(())
    }
}
