//! One run: a seed, what happens in it, and the calm after, in which everything must be worked off.

use rand::RngExt;

use crate::feed::Feed;
use crate::invariants::{Breach, exactly_once, hold, state};
use crate::journal::{Body, Fate, Topic};
use crate::schedule::{Happening, Schedule};
use crate::script::Script;
use crate::site::{BASE_MS, GRACE_MS, Site, THRESHOLD_MS};
use crate::teeth::Planted;
use crate::worker::Process;

/// How many rounds of the calm everything is worked off in, transaction timeouts included.
const DRAINED_WITHIN: usize = 600;
/// Steps of each process in a round of the calm, and what time passes.
const CALM_STEPS: usize = 12;
const CALM_MS: i64 = 300;

/// What one run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    pub hash: u64,
    pub lines: u64,
    pub rounds: u64,
    pub events: usize,
}

pub struct World {
    site: Site,
    processes: Vec<Process>,
    feed: Feed,
    /// A producer upstream with an open transaction on staging.
    upstream: Option<(String, u32)>,
    upstreams: u32,
}

/// Runs a script to its end.
pub fn run(script: &Script, planted: Planted, prints: bool) -> Result<Outcome, Breach> {
    let mut world = World::new(script, planted, prints);
    for number in (0..world.site.schedule.steps).filter(|number| script.keeps(*number)) {
        world.site.rng = script.chance(number);
        let happening = world.site.schedule.next(&mut world.site.rng);
        world.site.trace.headline(format_args!("{number} {happening:?}"));
        world.happen(happening)?;
    }
    world.site.rng = script.calm();
    world.calm_down()?;
    Ok(Outcome {
        hash: world.site.trace.hash,
        lines: world.site.trace.lines,
        rounds: world.site.rounds,
        events: world.site.silences.count(),
    })
}

/// How many happenings a seed has.
pub fn happenings(seed: u64) -> usize {
    Schedule::draw(&mut Script::from(seed).shape()).steps
}

impl World {
    fn new(script: &Script, planted: Planted, prints: bool) -> Self {
        let mut rng = script.shape();
        let schedule = Schedule::draw(&mut rng);
        let mut site = Site::new(rng, schedule, planted, prints);
        site.trace.note(format_args!("{:?}", site.schedule));
        let processes = (0..site.schedule.instances).map(Process::new).collect();
        let feed = Feed::new(&site.schedule);
        let mut world = Self { site, processes, feed, upstream: None, upstreams: 0 };
        world.processes[0].start(&mut world.site);
        world
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Breach> {
        let site = &mut self.site;
        let which = site.rng.random_range(0..self.processes.len());
        let process = &mut self.processes[which];
        let up = process.life.is_some();
        match happening {
            Happening::Work if up && !process.stalled => {
                if site.rng.random_bool(0.3) {
                    process.heartbeat(site);
                }
                return process.step(site);
            }
            Happening::Marker => self.write_marker(),
            Happening::Feed => self.feed(),
            Happening::Moment => {
                let ms = site.rng.random_range(1..=60);
                self.pass(ms);
            }
            Happening::While => {
                let ms = site.rng.random_range(200..=20_000);
                self.pass(ms);
            }
            Happening::Crash if up => {
                let wipes = site.rng.random_ratio(1, 5);
                site.trace.note(format_args!("process {which} is killed, disk lost: {wipes}"));
                process.kill(site);
                if wipes {
                    process.disk = crate::disk::Disk::default();
                }
                for (partition, table) in process.disk.tables() {
                    site.look_at_table(partition, table, false)?;
                }
            }
            Happening::Start if !up => process.start(site),
            Happening::Leave if up => process.asked_to_stop = true,
            Happening::Stall if up => process.stalled = true,
            Happening::Wake => process.stalled = false,
            Happening::Fence => {
                if let Some(life) = &process.life {
                    site.trace.note(format_args!("a stranger fences {}", life.id));
                    let _busy = site.journal.init(&life.id);
                }
            }
            Happening::Leap => {
                process.wall_off_ms = site.rng.random_range(-60_000..=60_000);
                site.trace.note(format_args!("process {which}'s clock is off by {}", process.wall_off_ms));
            }
            Happening::Flush => process.disk.flush(),
            Happening::Upstream => self.upstream(),
            _ => {}
        }
        Ok(())
    }

    fn write_marker(&mut self) {
        let site = &mut self.site;
        if site.journal.markers.is_empty() {
            return;
        }
        let which = site.rng.random_range(0..site.journal.markers.len());
        let marker = site.journal.markers[which];
        site.trace.note(format_args!("marker {marker:?}"));
        site.journal.deliver(marker);
    }

    fn feed(&mut self) {
        for _ in 0..self.site.rng.random_range(1..=4) {
            let site = &mut self.site;
            let (partition, staged) = self.feed.draw(&mut site.rng, BASE_MS + site.journal.now_ms);
            site.trace.note(format_args!("staging {partition}: {:?}", staged.truth));
            let body = Body::Staged(std::sync::Arc::new(staged));
            match &self.upstream {
                Some((id, epoch)) if site.rng.random_bool(0.5) => {
                    // A timeout may have ended it: then the record never was.
                    let _sent = site.journal.send((id, *epoch), Topic::Staging, partition, body);
                }
                _ => site.journal.append(Topic::Staging, partition, body),
            }
        }
    }

    fn upstream(&mut self) {
        let site = &mut self.site;
        match self.upstream.take() {
            None => {
                self.upstreams += 1;
                let id = format!("upstream.{}", self.upstreams);
                let epoch = site.journal.init(&id).expect("a new id has nothing open");
                self.upstream = Some((id, epoch));
            }
            Some((id, epoch)) => {
                let fate = if site.rng.random_bool(0.5) { Fate::Committed } else { Fate::Aborted };
                // Ended by a timeout before, or nothing was sent.
                let _ended = site.journal.end((&id, epoch), fate);
            }
        }
    }

    fn pass(&mut self, ms: i64) {
        let site = &mut self.site;
        site.journal.now_ms += ms;
        site.trace.note(format_args!("{ms} ms pass"));
        for process in &mut self.processes {
            process.heartbeat(site);
        }
        site.group.pass_time(site.journal.now_ms);
        site.journal.expire_transactions();
    }

    /// Faults stop: everything is worked off, and every silence is told.
    fn calm_down(&mut self) -> Result<(), Breach> {
        self.site.trace.note(format_args!("calm"));
        self.site.calm = true;
        if self.upstream.is_some() {
            self.upstream();
        }
        let stays_up = self.site.rng.random_range(0..self.processes.len());
        for (at, process) in self.processes.iter_mut().enumerate() {
            process.stalled = false;
            process.wall_off_ms = 0;
            let starts = at == stays_up || self.site.rng.random_bool(0.7);
            if process.asked_to_stop && process.life.is_some() && at == stays_up {
                process.kill(&mut self.site);
            }
            if starts && process.life.is_none() {
                process.start(&mut self.site);
            }
        }
        let mut rounds = 0;
        while !self.is_worked_off() {
            rounds += 1;
            hold(rounds <= DRAINED_WITHIN, || format!("not worked off: {}", self.left()))?;
            self.calm_round(CALM_MS)?;
        }
        for _ in 0..(THRESHOLD_MS + GRACE_MS + 10_000) / 1_000 {
            self.calm_round(1_000)?;
        }
        rounds = 0;
        while !self.is_worked_off() {
            rounds += 1;
            hold(rounds <= DRAINED_WITHIN, || format!("not worked off: {}", self.left()))?;
            self.calm_round(CALM_MS)?;
        }
        self.check_drained()
    }

    fn calm_round(&mut self, ms: i64) -> Result<(), Breach> {
        self.pass(ms);
        for process in &mut self.processes {
            for _ in 0..CALM_STEPS {
                process.step(&mut self.site)?;
            }
        }
        while !self.site.journal.markers.is_empty() {
            self.write_marker();
        }
        Ok(())
    }

    fn is_worked_off(&self) -> bool {
        self.site.partitions().all(|partition| self.is_done(partition))
    }

    fn is_done(&self, partition: i32) -> bool {
        let journal = &self.site.journal;
        let Some((committed, _)) = journal.offsets.committed(partition) else { return false };
        let end = journal.high_watermark(Topic::Staging, partition);
        !journal.offsets.is_pending(partition)
            && journal.last_stable(Topic::Staging, partition) == end
            && journal.committed(Topic::Staging, partition, committed, end).next().is_none()
    }

    fn left(&self) -> String {
        let of = self.site.partitions().filter(|partition| !self.is_done(*partition));
        let offsets = &self.site.journal.offsets;
        let state: Vec<String> = of.map(|of| format!("{of}: {:?}", offsets.committed(of))).collect();
        let seats: Vec<_> = self
            .processes
            .iter()
            .map(|process| process.life.as_ref().map(|life| (&life.seat, life.core.progress())))
            .collect();
        format!("partitions {state:?}; {seats:#?}")
    }

    fn check_drained(&self) -> Result<(), Breach> {
        let site = &self.site;
        for partition in site.partitions() {
            exactly_once::check_whole(&site.journal, partition, &site.reference)?;
            state::check_drained(&site.journal, partition, &site.reference)?;
        }
        for process in &self.processes {
            for (partition, table) in process.disk.tables() {
                site.look_at_table(partition, table, false)?;
            }
        }
        site.silences.check(&site.reference, THRESHOLD_MS, true)?;
        if site.schedule.leaps() {
            return Ok(());
        }
        site.silences.check_clock(&site.journal, &site.reference, BASE_MS)
    }
}
