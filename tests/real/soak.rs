//! Everything at once, at random, for as long as one likes: instances crash, stop, sleep, come and go, and their stores
//! are lost or damaged, while brokers crash and the network fails, and records flow. In the end all is proved.
//!
//! `./check --soak MINUTES` runs it, with `SOAK_PROTOCOL=cooperative` by another `process.group_protocol`. What happens is
//! drawn from a seed that is printed; `SOAK_SEED` draws the same again, though not at the very same instants.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tickgate_stack::{Proxy, Request};

use crate::{
    cluster::Settings,
    disk::{Disk, flip_tables},
    faults::{Over, while_flowing},
    feed::{Feed, now_ms},
    gate::{Gate, PATIENCE, wait_for},
    offsets::{committed, observer, wait_caught_up},
    proof::Proof,
    rig::Rig,
};

const PARTITIONS: i32 = 6;
const INSTANCES: usize = 3;
/// After faults of many minutes there may be a lot to read.
const CATCH_UP: Duration = Duration::from_mins(10);
/// How long an instance has to come to work, or to its fault point, before it is broken anyway.
const REACHES: Duration = Duration::from_secs(20);
/// How often the committed offsets are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Where an instance may be killed; what belongs to a round often comes, the rest once a start.
const INSTANTS: [&str; 21] = [
    "before begin",
    "after begin",
    "before send",
    "within send",
    "after send",
    "before log",
    "after log",
    "before send offsets",
    "after send offsets",
    "before commit",
    "within commit",
    "after commit",
    "before apply",
    "after apply",
    "after look up",
    "before claim",
    "after claim",
    "after await stable",
    "within restore",
    "before release",
    "after release",
];

type InstanceFault = fn(&Soak, &mut Gate, &mut ChaCha8Rng);
const INSTANCE_FAULTS: [(&str, InstanceFault); 11] = [
    ("instance killed", |_, gate, chance| {
        gate.kill();
        pause(chance, 0..3_000);
        gate.start_again(&[]);
    }),
    ("instance killed and its store lost", |_, gate, chance| {
        gate.kill();
        gate.lose_store();
        pause(chance, 0..3_000);
        gate.start_again(&[]);
    }),
    ("instance killed and its store damaged", |_, gate, chance| {
        gate.kill();
        damage(&gate.state_dir().join("db"), chance.random());
        pause(chance, 0..3_000);
        gate.start_again(&[]);
    }),
    ("instance killed at a fault point", kill_at_an_instant),
    ("instance killed at a fault point twice", |soak, gate, chance| {
        kill_at_an_instant(soak, gate, chance);
        kill_at_an_instant(soak, gate, chance);
    }),
    ("instance stopped and continued", |_, gate, chance| {
        gate.signal(Signal::SIGSTOP);
        pause(chance, 100..5_000);
        gate.signal(Signal::SIGCONT);
    }),
    ("instance stopped and continued past its session", |_, gate, chance| {
        gate.signal(Signal::SIGSTOP);
        pause(chance, 7_000..20_000);
        gate.signal(Signal::SIGCONT);
    }),
    ("instance ended in order", |_, gate, chance| {
        assert_eq!(gate.terminate(), Some(0));
        pause(chance, 0..4_000);
        gate.start_again(&[]);
    }),
    ("instance joined for a while", |soak, _, chance| {
        let mut guest = Gate::start(&soak.settings);
        pause(chance, 3_000..12_000);
        guest.assert_alive();
        soak.count_rounds(&guest);
        if chance.random() {
            assert_eq!(guest.terminate(), Some(0));
        }
    }),
    ("instance joined, and its tables rot", |soak, _, chance| {
        let mut guest = Gate::start(&soak.settings);
        // Long enough for what it writes to be in tables.
        pause(chance, 7_000..12_000);
        guest.assert_alive();
        if has_tables(&guest.state_dir().join("db")) {
            flip_tables(&guest.state_dir());
        }
        pause(chance, 1_000..8_000);
        soak.end_of_one_with_a_bad_disk(&mut guest);
    }),
    ("instance joined on a disk that fills up", |soak, _, chance| {
        let Some(disk) = Disk::mount("a disk that fills up amid a soak") else { return };
        let mut guest = Gate::stopped_in(&soak.settings, disk.path().join("state"));
        guest.start_again(&[]);
        wait_for("instance on its disk", PATIENCE, || guest.get("/livez"));
        pause(chance, 0..9_000);
        guest.assert_alive();
        disk.fill();
        pause(chance, 1_000..8_000);
        disk.empty();
        soak.end_of_one_with_a_bad_disk(&mut guest);
    }),
];

type BrokerFault = fn(&Rig, &mut ChaCha8Rng);
/// Besides commits.
const LOSABLE: [Request; 6] = [
    Request::Produce,
    Request::OffsetCommit,
    Request::JoinGroup,
    Request::InitProducerId,
    Request::AddOffsetsToTxn,
    Request::TxnOffsetCommit,
];
const BROKER_FAULTS: [(&str, BrokerFault); 10] = [
    ("broker killed", |rig, chance| {
        let broker = &rig.brokers()[chance.random_range(0..rig.brokers().len())];
        broker.kill().unwrap();
        pause(chance, 500..8_000);
    }),
    ("broker ended in order", |rig, chance| {
        let broker = &rig.brokers()[chance.random_range(0..rig.brokers().len())];
        broker.terminate().unwrap();
        pause(chance, 0..3_000);
    }),
    ("broker stopped and continued", |rig, chance| {
        let broker = &rig.brokers()[chance.random_range(0..rig.brokers().len())];
        broker.pause().unwrap();
        pause(chance, 500..15_000);
        broker.resume().unwrap();
    }),
    ("one line cut", |rig, chance| {
        any_line(rig, chance).cut();
        pause(chance, 100..5_000);
    }),
    ("all lines cut", |rig, chance| {
        rig.proxies().for_each(Proxy::cut);
        pause(chance, 100..3_000);
    }),
    ("one line stalled", |rig, chance| {
        any_line(rig, chance).stall();
        pause(chance, 500..10_000);
    }),
    ("lines slow", |rig, chance| {
        rig.proxies().for_each(|proxy| proxy.delay(Duration::from_millis(40)));
        pause(chance, 1_000..6_000);
    }),
    ("replies to commits lost", |rig, chance| {
        rig.proxies().for_each(|proxy| proxy.lose_replies(Request::Commit, 4));
        pause(chance, 1_000..4_000);
    }),
    ("requests lost, or their replies", |rig, chance| {
        let (kind, replies) = (LOSABLE[chance.random_range(0..LOSABLE.len())], chance.random());
        rig.proxies().for_each(|proxy| {
            if replies {
                proxy.lose_replies(kind, 2);
            } else {
                proxy.lose_requests(kind, 2);
            }
        });
        pause(chance, 1_000..4_000);
    }),
    ("commits lost", |rig, chance| {
        rig.proxies().for_each(|proxy| proxy.lose_requests(Request::Commit, 4));
        pause(chance, 1_000..4_000);
    }),
];

struct Soak {
    settings: Settings,
    /// What happened, how often.
    tally: Mutex<BTreeMap<String, u64>>,
    began: Instant,
}

#[test]
#[ignore = "`./check --soak MINUTES` runs it"]
fn everything_at_once() {
    let minutes = variable("SOAK_MINUTES").unwrap_or(3);
    let seed = variable("SOAK_SEED").unwrap_or_else(|| now_ms().unsigned_abs());
    eprintln!("a soak of {minutes} minutes with SOAK_SEED={seed}");
    let protocol = std::env::var("SOAK_PROTOCOL").unwrap_or_else(|_| "range".to_owned());
    let rig = Rig::take();
    let settings = rig.settings("soak", PARTITIONS).with("PROCESS__GROUP_PROTOCOL", &protocol);
    let soak = Soak { settings, tally: Mutex::default(), began: Instant::now() };
    let lasts = Duration::from_mins(minutes);
    let mut feed = Feed::new(seed, PARTITIONS);
    let mut gates: Vec<Gate> = (0..INSTANCES).map(|_| Gate::start(&soak.settings)).collect();
    let standstill = while_flowing(&soak.settings, &mut feed, || {
        let over = AtomicBool::new(false);
        let standstill = thread::scope(|scope| {
            let ends = Over(&over);
            let brokers = scope.spawn(|| {
                let _ends = Over(&over);
                soak.break_brokers(&rig, &mut ChaCha8Rng::seed_from_u64(seed + 1), &over);
            });
            let standstill = scope.spawn(|| longest_standstill(&soak.settings, &over));
            soak.break_instances(&mut gates, &mut ChaCha8Rng::seed_from_u64(seed), lasts, &over);
            drop(ends);
            brokers.join().unwrap();
            standstill.join().unwrap()
        });
        rig.heal();
        // Whoever was broken works again by itself.
        gates.iter().for_each(Gate::wait_ready);
        standstill
    });
    wait_caught_up(&soak.settings, CATCH_UP);
    for gate in &mut gates {
        soak.count_rounds(gate);
        assert_eq!(gate.terminate(), Some(0));
    }
    let proof = Proof::of(&soak.settings);
    proof.assert_matches(feed.expected());
    soak.sum_up(&feed, standstill);
}

impl Soak {
    fn break_instances(
        &self,
        gates: &mut [Gate],
        chance: &mut ChaCha8Rng,
        lasts: Duration,
        over: &AtomicBool,
    ) {
        while self.began.elapsed() < lasts && !over.load(Ordering::SeqCst) {
            pause(chance, 200..4_000);
            let gate = &mut gates[chance.random_range(0..INSTANCES)];
            let (name, fault) = INSTANCE_FAULTS[chance.random_range(0..INSTANCE_FAULTS.len())];
            // Most find it at work, where there is something to lose; some in the midst of a takeover.
            if chance.random_range(0..4) > 0 {
                wait_at_work(gate);
            }
            gate.assert_alive();
            self.count_rounds(gate);
            self.note(name);
            fault(self, gate, chance);
        }
        gates.iter_mut().for_each(Gate::assert_alive);
    }

    fn break_brokers(&self, rig: &Rig, chance: &mut ChaCha8Rng, over: &AtomicBool) {
        while !over.load(Ordering::SeqCst) {
            pause(chance, 1_000..10_000);
            let (name, fault) = BROKER_FAULTS[chance.random_range(0..BROKER_FAULTS.len())];
            self.note(name);
            fault(rig, chance);
            // One at a time: with two brokers gone nothing could be written.
            rig.heal();
        }
    }

    /// It has ended by itself if it came upon what is wrong; if not, it ends when it is told to.
    fn end_of_one_with_a_bad_disk(&self, guest: &mut Gate) {
        let ended_by_itself = !guest.is_running();
        let code = if ended_by_itself { guest.wait_end() } else { guest.terminate() };
        assert!(matches!(code, Some(0 | 3)), "{code:?}: {}", guest.log());
        self.add(
            if ended_by_itself { "bad disks that were come upon" } else { "bad disks that were not" },
            1,
        );
    }

    fn note(&self, what: &str) {
        eprintln!("{:6.1} s  {what}", self.began.elapsed().as_secs_f64());
        self.add(what, 1);
    }

    fn add(&self, what: &str, count: u64) {
        *self.tally.lock().unwrap().entry(what.to_owned()).or_default() += count;
    }

    /// Adds what an instance tells of its rounds; one that is killed by a fault point is not asked any more.
    fn count_rounds(&self, gate: &Gate) {
        let Some(metrics) = gate.get("/metrics") else { return };
        for line in metrics.lines() {
            let outcome =
                line.strip_prefix("tickgate_rounds_total{outcome=\"").and_then(|of| of.split_once("\"} "));
            if let Some((outcome, count)) = outcome {
                self.add(
                    &format!("rounds {outcome}, of instances that could be asked"),
                    count.parse().unwrap(),
                );
            }
        }
    }

    fn sum_up(&self, feed: &Feed, standstill: Duration) {
        eprintln!("---- what {:.1} minutes held", self.began.elapsed().as_secs_f64() / 60.0);
        for (what, count) in &*self.tally.lock().unwrap() {
            eprintln!("{count:9}  {what}");
        }
        eprintln!("{:9}  records, each with the one output that it calls for", feed.expected().inputs());
        eprintln!(
            "{:9.1}  s, the longest that a partition's committed offset stood still",
            standstill.as_secs_f64()
        );
    }
}

fn has_tables(db: &Path) -> bool {
    let mut files = fs::read_dir(db).into_iter().flatten().map(|entry| entry.unwrap().path());
    files.any(|path| path.extension().is_some_and(|of| of == "sst"))
}

/// So that it is seen when the store is opened, if that was made by then: its tables are cut to half, or it has lost its
/// list of them.
fn damage(db: &Path, cuts: bool) {
    for path in fs::read_dir(db).into_iter().flatten().map(|entry| entry.unwrap().path()) {
        let file = || File::options().write(true).open(&path).unwrap();
        if cuts && path.extension().is_some_and(|of| of == "sst") {
            file().set_len(file().metadata().unwrap().len() / 2).unwrap();
        } else if !cuts && path.ends_with("CURRENT") {
            file().set_len(0).unwrap();
        }
    }
}

fn kill_at_an_instant(soak: &Soak, gate: &mut Gate, chance: &mut ChaCha8Rng) {
    let instant = INSTANTS[chance.random_range(0..INSTANTS.len())];
    let passing = if chance.random() { 1 } else { chance.random_range(2..15) };
    gate.kill();
    gate.start_to(&format!("kill {instant} #{passing}"));
    if gate.killed_within(REACHES) {
        soak.add(&format!("kills {instant}"), 1);
    }
    gate.start_again(&[]);
}

/// Waits until the instance has brought rounds to their end; not for long, for it may have no partitions.
fn wait_at_work(gate: &Gate) {
    let give_up = Instant::now() + REACHES;
    let rounds = "tickgate_rounds_total{outcome=\"committed\"}";
    while Instant::now() < give_up && gate.get("/metrics").is_none_or(|_| gate.counter(rounds) == 0) {
        thread::sleep(Duration::from_millis(100));
    }
}

/// The longest time in which the committed offset of any one partition did not move.
fn longest_standstill(settings: &Settings, over: &AtomicBool) -> Duration {
    let consumer = observer(settings);
    let partitions: Vec<i32> = (0..PARTITIONS).collect();
    let mut last: BTreeMap<i32, (i64, Instant)> = BTreeMap::new();
    let mut longest = Duration::ZERO;
    while !over.load(Ordering::SeqCst) {
        let now = Instant::now();
        for (partition, offset) in committed(&consumer, &settings.topic("staging"), &partitions) {
            let (at, since) = last.entry(partition).or_insert((offset, now));
            longest = longest.max(now - *since);
            if *at != offset {
                (*at, *since) = (offset, now);
            }
        }
        thread::sleep(LOOK_EVERY);
    }
    longest
}

fn any_line<'a>(rig: &'a Rig, chance: &mut ChaCha8Rng) -> &'a Proxy {
    rig.brokers()[chance.random_range(0..rig.brokers().len())].proxy()
}

/// The time between faults is chance as well, in ms.
fn pause(chance: &mut ChaCha8Rng, ms: std::ops::Range<u64>) {
    thread::sleep(Duration::from_millis(chance.random_range(ms)));
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("`{name}`: expected a number, found `{text}`")))
}
