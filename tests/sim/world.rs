//! One run: a seed, what happens in it, and the calm after, in which everything must be worked off.

use rand::RngExt;
use tickgate::model::Offset;

use crate::cleaning;
use crate::feed::Feed;
use crate::invariants::{Breach, drained, listings, one_output, store};
use crate::journal::{Body, Fate, Place, Topic, Truth};
use crate::process::Process;
use crate::restore;
use crate::schedule::{Happening, Members, Schedule};
use crate::script::Script;
use crate::site::{BASE_MS, GRACE_MS, Site};
use crate::tally::{Kind, Tally};
use crate::teeth::Planted;

/// Steps of each process in a round of the calm, and what time passes.
const CALM_STEPS: usize = 12;
/// How far replicas get meanwhile.
const CALM_SLICES: usize = 8;
const CALM_MS: i64 = 300;
/// Minutes pass in steps of so many ms, so that sessions are kept.
const STRIDE_MS: i64 = 2_000;

/// What one run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub hash: u64,
    pub lines: u64,
    pub rounds: u64,
    pub events: usize,
    pub tally: Tally,
}

pub struct World {
    pub site: Site,
    pub processes: Vec<Process>,
    feed: Feed,
    /// A producer upstream with an open transaction on staging.
    upstream: Option<(String, u32)>,
    upstreams: u32,
    /// How often an operator has come.
    pub resets: u32,
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
        tally: world.site.tally,
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
        let processes = (0..site.schedule.instances).map(|index| Process::new(index, &site)).collect();
        let feed = Feed::new(&site.schedule);
        let mut world = Self { site, processes, feed, upstream: None, upstreams: 0, resets: 0 };
        world.processes[0].start(&mut world.site);
        world
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Breach> {
        match happening {
            Happening::Marker => self.write_marker(),
            Happening::Feed => self.feed(),
            Happening::Moment => {
                let ms = self.site.rng.random_range(1..=60);
                self.pass(ms);
            }
            Happening::While => {
                let ms = self.site.rng.random_range(200..=20_000);
                self.pass(ms);
            }
            Happening::Minutes => self.minutes(),
            Happening::Upstream => self.upstream(),
            Happening::Clean | Happening::Delete | Happening::Election => self.keep_logs(happening),
            Happening::Outage => self.outage()?,
            Happening::Reset => self.reset()?,
            of_a_process => return self.happen_to_one(of_a_process),
        }
        Ok(())
    }

    fn happen_to_one(&mut self, happening: Happening) -> Result<(), Breach> {
        let site = &mut self.site;
        let which = site.rng.random_range(0..self.processes.len());
        let process = &mut self.processes[which];
        let up = process.is_up();
        match happening {
            Happening::Work if up && !process.stalled => {
                if site.rng.random_bool(0.3) {
                    process.heartbeat(site);
                }
                let worker = site.rng.random_range(0..process.lives.len());
                return process.step(worker, site);
            }
            Happening::Crash if up => {
                let wipes = site.rng.random_ratio(1, 5);
                process.kill(wipes, site)?;
            }
            Happening::Start if !up => process.start(site),
            Happening::Leave if up => process.home.asked_to_stop = true,
            Happening::Stall if up => process.stalled = true,
            Happening::Wake => process.wake(site),
            Happening::Fence => {
                if let Some(life) = process.lives.iter().flatten().next() {
                    site.trace.note(format_args!("a stranger fences {}", life.id));
                    site.tally.note(Kind::StrangerFenced);
                    let _busy = site.journal.init(&life.id);
                }
            }
            Happening::Leap => {
                let off_ms = site.rng.random_range(-60_000..=60_000);
                let forward = off_ms > process.home.wall_off_ms;
                site.tally.note(if forward { Kind::WallLeaptForward } else { Kind::WallLeaptBack });
                process.home.wall_off_ms = off_ms;
                site.trace.note(format_args!("process {which}'s clock is off by {off_ms}"));
            }
            Happening::Flush => process.home.disk.flush(),
            Happening::Follow if up && !process.stalled => {
                let partition = site.rng.random_range(0..site.schedule.partitions);
                return restore::follow(&mut process.home, partition, site);
            }
            _ => {}
        }
        Ok(())
    }

    /// What brokers do to their logs.
    fn keep_logs(&mut self, happening: Happening) {
        let site = &mut self.site;
        let partition = site.rng.random_range(0..site.schedule.partitions);
        match happening {
            Happening::Clean => {
                let end = site.journal.high_watermark(Topic::Changelog, partition);
                let to = if site.rng.random_bool(0.5) { end } else { site.rng.random_range(0..=end) };
                site.clean(partition, to);
            }
            Happening::Delete if !site.refusals.awaits_operator(partition) => {
                let Some((committed, _)) = site.journal.offsets.committed(partition) else { return };
                let start = site.journal.start(Topic::Staging, partition);
                // What was committed can be an offset that somebody moved, and an operator is just mending.
                let judged = committed.min(site.reference.next(partition));
                if judged > start {
                    let to = site.rng.random_range(start + 1..=judged);
                    cleaning::delete_before(&mut site.journal, partition, to);
                    site.trace.note(format_args!("staging {partition} starts at {to}"));
                    site.tally.note(Kind::StagingDeleted);
                }
            }
            Happening::Election => {
                let topic = if site.rng.random_bool(0.3) { Topic::Staging } else { Topic::Changelog };
                let until_ms = site.journal.now_ms + site.rng.random_range(10..=500);
                site.trace.note(format_args!("{topic:?} {partition} gets a leader, ready at {until_ms}"));
                site.journal.log(topic, partition).elected_until_ms = until_ms;
            }
            _ => {}
        }
    }

    /// The changelog's tombstones grow old.
    fn minutes(&mut self) {
        let ms = self.site.rng.random_range(60_000..=600_000);
        self.clean_all();
        for _ in 0..ms / STRIDE_MS {
            self.pass(STRIDE_MS);
        }
        self.clean_all();
    }

    pub fn clean_all(&mut self) {
        for partition in self.site.partitions() {
            self.site.clean(partition, Offset::MAX);
        }
    }

    pub fn write_all_markers(&mut self) {
        while !self.site.journal.markers.is_empty() {
            self.write_marker();
        }
    }

    fn write_marker(&mut self) {
        let site = &mut self.site;
        if site.journal.markers.is_empty() {
            return;
        }
        let which = site.rng.random_range(0..site.journal.markers.len());
        let marker = site.journal.markers[which];
        site.trace.note(format_args!("marker {marker:?}"));
        let earlier = |(txn, place): &(usize, Place)| *txn < marker.0 && *place == marker.1;
        if site.journal.markers.iter().any(earlier) {
            site.tally.note(Kind::MarkerOutOfOrder);
        }
        site.journal.deliver(marker);
    }

    pub fn feed(&mut self) {
        for _ in 0..self.site.rng.random_range(1..=4) {
            let site = &mut self.site;
            let (partition, staged) = self.feed.draw(&mut site.rng, BASE_MS + site.journal.now_ms);
            site.trace.note(format_args!("staging {partition}: {:?}", staged.truth));
            site.tally.note(match staged.truth {
                Truth::Quote { .. } => Kind::GoodRecord,
                Truth::Bad => Kind::BadRecord,
                Truth::Tombstone { .. } => Kind::Tombstone,
                Truth::Unsendable { .. } => Kind::UnsendableRecord,
            });
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

    /// Nobody upstream has a transaction open on staging.
    pub fn end_upstream(&mut self) {
        if self.upstream.is_some() {
            self.upstream();
        }
        self.write_all_markers();
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

    pub fn pass(&mut self, ms: i64) {
        let site = &mut self.site;
        site.journal.now_ms += ms;
        site.trace.note(format_args!("{ms} ms pass"));
        for process in &mut self.processes {
            process.heartbeat(site);
        }
        site.group.pass_time(site.journal.now_ms);
        for id in site.journal.expire_transactions() {
            site.trace.note(format_args!("the transaction of {id} has been open for too long"));
            site.tally.note(Kind::TransactionTimedOut);
        }
    }

    /// Faults stop: everything is worked off, and every silence is told.
    fn calm_down(&mut self) -> Result<(), Breach> {
        self.site.trace.note(format_args!("calm"));
        self.site.calm = true;
        if self.upstream.is_some() {
            self.upstream();
        }
        self.reset()?;
        let stays_up = self.site.rng.random_range(0..self.processes.len());
        for (at, process) in self.processes.iter_mut().enumerate() {
            process.wake(&mut self.site);
            process.home.wall_off_ms = 0;
            let stays = at == stays_up;
            if process.home.asked_to_stop && stays {
                process.kill(false, &mut self.site)?;
            }
            let starts = stays || self.site.rng.random_bool(0.7);
            if starts && !process.is_up() {
                process.start(&mut self.site);
            }
        }
        self.work_off()?;
        // Event times may be ahead of the clock by the skew.
        let since_ms = BASE_MS + self.site.journal.now_ms + 5_000;
        while !self.site.schedule.watch.have_all_passed(
            // Some may have been listed only now.
            since_ms.max(self.site.reference.last_listing()),
            BASE_MS + self.site.journal.now_ms,
        ) {
            self.calm_round(1_000)?;
        }
        // A look takes up a few symbols at a time.
        for _ in 0..(GRACE_MS + 40_000) / 1_000 {
            self.calm_round(1_000)?;
        }
        self.work_off()?;
        self.check_drained()
    }

    fn work_off(&mut self) -> Result<(), Breach> {
        let mut rounds = 0;
        while !self.is_worked_off() {
            rounds += 1;
            drained::check(rounds, || self.left())?;
            self.calm_round(CALM_MS)?;
        }
        Ok(())
    }

    fn calm_round(&mut self, ms: i64) -> Result<(), Breach> {
        self.pass(ms);
        // Of two with one name the first to hear of the other ends, and the other may be gone by then.
        if self.site.schedule.members == Members::Twins && !self.processes.iter().any(Process::is_up) {
            self.processes[0].start(&mut self.site);
        }
        for process in self.processes.iter_mut().filter(|process| process.is_up()) {
            for partition in self.site.partitions() {
                for _ in 0..CALM_SLICES {
                    restore::follow(&mut process.home, partition, &mut self.site)?;
                }
            }
        }
        for process in &mut self.processes {
            for worker in 0..process.lives.len() {
                for _ in 0..CALM_STEPS {
                    process.step(worker, &mut self.site)?;
                }
            }
        }
        self.write_all_markers();
        Ok(())
    }

    fn is_worked_off(&self) -> bool {
        self.site.partitions().all(|partition| drained::is_done(&self.site.journal, partition))
    }

    fn left(&self) -> String {
        let journal = &self.site.journal;
        let of = self.site.partitions().filter(|partition| !drained::is_done(journal, *partition));
        let state: Vec<String> = of.map(|of| format!("{of}: {:?}", journal.offsets.committed(of))).collect();
        let lives = self.processes.iter().flat_map(|process| process.lives.iter().flatten());
        let seats: Vec<_> = lives.map(|life| (&life.seat, life.core.progress())).collect();
        format!("partitions {state:?}; {seats:#?}")
    }

    fn check_drained(&self) -> Result<(), Breach> {
        let site = &self.site;
        for partition in site.partitions() {
            one_output::check_whole(&site.journal, partition, &site.reference)?;
            store::check_drained(&site.journal, partition, &site.reference, &site.schedule.watch)?;
        }
        for process in &self.processes {
            for (partition, table) in process.home.disk.tables() {
                site.look_at_table(partition, table, false)?;
            }
        }
        listings::check_drained(&site.reference, &site.schedule.watch, site.schedule.partitions)?;
        site.feeds.check_drained(&site.reference, &site.schedule.watch, &site.looks, BASE_MS)?;
        site.silences.check(&site.reference, &site.schedule.watch)?;
        site.silences.check_clock(&site.reference, &site.looks)
    }
}
