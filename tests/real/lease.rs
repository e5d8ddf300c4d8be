//! Ingesters of one token: one is connected, and whatever happens to it, another one is soon; never two at once.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    process::{Child, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::NamedTempFile;
use tickgate::finnhub::simulator::{Control, Settings as Feed, Simulator, synthetic_symbols};
use tickgate_stack::Proxy;

use crate::{
    cluster::Settings,
    gate::{PATIENCE, wait_for},
    rig::Rig,
};

/// What is promised, from a signal to the next connection.
const TAKEOVER: Duration = Duration::from_secs(10);
/// How long the group keeps a member that it doesn't hear from.
const SESSION: Duration = Duration::from_secs(6);
/// Long enough for whoever fights for the feed to do so.
const A_WHILE: Duration = Duration::from_secs(4);

/// `ingest` as a process with its log; ended when the test ends.
struct Ingester {
    child: Child,
    log: NamedTempFile,
}

impl Ingester {
    fn start(settings: &Settings) -> Self {
        let log = NamedTempFile::new().unwrap();
        let written = File::options().append(true).open(log.path()).unwrap();
        let mut command = settings.command(&["ingest"]);
        let child = command.stdout(written.try_clone().unwrap()).stderr(written).spawn().unwrap();
        Self { child, log }
    }

    /// Starts one, and waits until it is connected.
    fn holder(settings: &Settings, control: &Control) -> Self {
        let ingester = Self::start(settings);
        wait_for("connection", PATIENCE, || (control.counts().subscriptions > 0).then_some(()));
        assert_eq!(ingester.lease_held(), 1);
        ingester
    }

    /// Starts one beside a holder, and waits until it stands by.
    fn standby(settings: &Settings) -> Self {
        let ingester = Self::start(settings);
        ingester.wait_logged("stands by");
        ingester
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        wait_for("end of ingest", PATIENCE, || self.child.try_wait().unwrap())
    }

    fn wait_logged(&self, words: &str) {
        wait_for(words, PATIENCE, || self.has_logged(words).then_some(()));
    }

    fn has_logged(&self, words: &str) -> bool {
        fs::read_to_string(self.log.path()).unwrap().contains(words)
    }

    fn lease_held(&self) -> u64 {
        let page = self.page("/metrics");
        let line = page.lines().find_map(|line| line.strip_prefix("tickgate_ingest_lease_held "));
        line.unwrap_or_else(|| panic!("no such metric in {page}")).trim().parse().unwrap()
    }

    fn page(&self, path: &str) -> String {
        let address = wait_for("address", PATIENCE, || {
            let log = fs::read_to_string(self.log.path()).unwrap();
            let (_, after) = log.split_once("answers on http://")?;
            Some(after.split(|c: char| c != ':' && c != '.' && !c.is_ascii_digit()).next()?.to_owned())
        });
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Ingester {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!(
                "--- {} ---\n{}",
                self.child.id(),
                fs::read_to_string(self.log.path()).unwrap_or_default()
            );
        }
    }
}

/// A simulated feed, its runtime, and the settings of its ingesters.
struct World {
    _runtime: tokio::runtime::Runtime,
    simulator: Simulator,
    settings: Settings,
}

impl World {
    fn new(test: &str) -> Self {
        Self::on(Settings::of(test))
    }

    fn on(settings: Settings) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let symbols = synthetic_symbols(5);
        let feed = Feed { symbols: symbols.clone(), ..Feed::default() };
        let simulator = runtime.block_on(Simulator::start("127.0.0.1:0", feed)).unwrap();
        let settings = settings
            .with("FINNHUB__URL", &format!("ws://{}", simulator.address()))
            .with("FINNHUB__SYMBOLS", &symbols.join(","))
            .with("INGEST__HTTP", "127.0.0.1:0");
        settings.run(&["topics", "apply"]).ended(0);
        Self { _runtime: runtime, simulator, settings }
    }

    fn control(&self) -> Control {
        self.simulator.control()
    }

    /// Waits until so many connections have been accepted, and one of them is subscribed; how long it took.
    fn connected(&self, accepted: u64) -> Duration {
        let began = Instant::now();
        wait_for("next connection", PATIENCE, || {
            let counts = self.control().counts();
            (counts.accepted >= accepted && counts.subscriptions > 0).then_some(())
        });
        began.elapsed()
    }

    /// Checks that the feed stays as it is: so many connections until now, so many of them closed for another.
    fn assert_quiet(&self, accepted: u64, taken_over: u64) {
        let until = Instant::now() + A_WHILE;
        while Instant::now() < until {
            let counts = self.control().counts();
            assert_eq!((counts.accepted, counts.taken_over, counts.connections), (accepted, taken_over, 1));
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_standby_takes_nothing_from_a_holder_and_all_from_one_that_stops() {
    let world = World::new("lease-stops");
    let mut holder = Ingester::holder(&world.settings, &world.control());
    let mut standby = Ingester::standby(&world.settings);
    world.assert_quiet(1, 0);
    assert_eq!((holder.lease_held(), standby.lease_held()), (1, 0));
    assert!(standby.page("/readyz").starts_with("HTTP/1.1 200"), "a standby is ready");

    holder.signal(Signal::SIGTERM);
    let took = world.connected(2);
    eprintln!("took over {took:?} after SIGTERM");
    assert!(took < TAKEOVER, "it took {took:?}");
    assert_eq!(holder.ended().code(), Some(0));
    world.assert_quiet(2, 0);
    assert_eq!(standby.lease_held(), 1);
    standby.signal(Signal::SIGTERM);
    assert_eq!(standby.ended().code(), Some(0));
    assert_eq!(world.control().counts().connections, 0);
}

#[test]
fn the_lease_of_a_holder_that_was_killed_is_taken_in_time() {
    let world = World::new("lease-killed");
    let mut holder = Ingester::holder(&world.settings, &world.control());
    let _standby = Ingester::standby(&world.settings);
    holder.signal(Signal::SIGKILL);
    holder.ended();
    let took = world.connected(2);
    eprintln!("took over {took:?} after SIGKILL");
    assert!(took < TAKEOVER, "it took {took:?}");
    let again = Ingester::standby(&world.settings);
    world.assert_quiet(2, 0);
    assert_eq!(again.lease_held(), 0);
}

#[test]
fn a_standby_that_is_killed_and_started_again_costs_the_holder_nothing() {
    let world = World::new("lease-restarted");
    let holder = Ingester::holder(&world.settings, &world.control());
    let mut standby = Ingester::standby(&world.settings);
    standby.signal(Signal::SIGKILL);
    standby.ended();
    // Within the session of the one that is gone.
    let again = Ingester::start(&world.settings);
    let until = Instant::now() + PATIENCE;
    while !again.has_logged("stands by") {
        assert!(Instant::now() < until, "it never stood by");
        let counts = world.control().counts();
        assert_eq!((counts.accepted, counts.taken_over, counts.connections), (1, 0, 1));
        thread::sleep(Duration::from_millis(20));
    }
    world.assert_quiet(1, 0);
    assert_eq!((holder.lease_held(), again.lease_held()), (1, 0));
    assert!(!holder.has_logged("lost the lease"));
}

#[test]
fn a_holder_that_slept_past_its_session_finds_itself_without_the_lease() {
    let world = World::new("lease-slept");
    let holder = Ingester::holder(&world.settings, &world.control());
    let standby = Ingester::standby(&world.settings);
    holder.signal(Signal::SIGSTOP);
    let took = world.connected(2);
    eprintln!("took over {took:?} after SIGSTOP");
    assert!((SESSION / 2..TAKEOVER).contains(&took), "it took {took:?}");
    holder.signal(Signal::SIGCONT);
    holder.wait_logged("lost the lease");
    // The sleeper could not close its connection: the next one did. It is the only one ever.
    world.assert_quiet(2, 1);
    holder.wait_logged("stands by");
    world.assert_quiet(2, 1);
    assert_eq!((holder.lease_held(), standby.lease_held()), (0, 1));
}

#[test]
fn a_holder_that_is_cut_off_from_the_brokers_lets_go_before_another_takes_over() {
    let rig = Rig::take();
    let world = World::on(rig.settings("lease-cut-off", 1));
    let holder = Ingester::holder(&world.settings, &world.control());
    let standby = Ingester::standby(&world.settings.clone().with("KAFKA__BROKERS", world.settings.direct()));
    rig.proxies().for_each(Proxy::stall);
    let cut_off = Instant::now();
    wait_for("end of the connection", SESSION, || (world.control().counts().connections == 0).then_some(()));
    let closed = cut_off.elapsed();
    let took = closed + world.connected(2);
    eprintln!("closed {closed:?}, taken over {took:?} after the brokers were out of reach");
    assert!(took < TAKEOVER, "it took {took:?}");
    rig.mend();
    holder.wait_logged("stands by");
    world.assert_quiet(2, 0);
    assert_eq!((holder.lease_held(), standby.lease_held()), (0, 1));
}

#[test]
#[ignore = "takes three minutes"]
fn whatever_happens_to_holders_in_a_row_another_is_connected_in_time() {
    const ROUNDS: u64 = 12;
    let world = World::new("lease-in-a-row");
    let mut ingesters = vec![Ingester::holder(&world.settings, &world.control())];
    ingesters.extend((0..2).map(|_| Ingester::standby(&world.settings)));
    let (mut accepted, mut slept) = (1, 0);
    for round in 0..ROUNDS {
        let at = ingesters.iter().position(|ingester| ingester.lease_held() == 1).expect("a holder");
        let mut holder = ingesters.swap_remove(at);
        let signal = [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGSTOP][usize::try_from(round % 3).unwrap()];
        holder.signal(signal);
        accepted += 1;
        let took = world.connected(accepted);
        eprintln!("round {round}: took over {took:?} after {signal}");
        assert!(took < TAKEOVER, "round {round}: it took {took:?} after {signal}");
        if signal == Signal::SIGSTOP {
            slept += 1;
            holder.signal(Signal::SIGCONT);
            holder.wait_logged("lost the lease");
        } else {
            holder.ended();
            holder = Ingester::start(&world.settings);
        }
        holder.wait_logged("stands by");
        world.assert_quiet(accepted, slept);
        ingesters.push(holder);
    }
}
