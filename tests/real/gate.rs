//! `tickgate process` under test: started, killed, and started again in the same folder.
//!
//! Whatever a test does, no process outlives its [`Gate`]; the logs of a test that fails are printed.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::Settings;

/// How long anything may take that is not said to be slow.
pub const PATIENCE: Duration = Duration::from_mins(2);
/// A clean stop takes 5 s, longer where brokers are too slow to answer.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of each log a failed test prints.
const SHOWN_LINES: usize = 150;
/// How many of the last starts have their logs printed.
const SHOWN_STARTS: usize = 8;

/// Waits until `attempt` gives something; panics with `what` when it doesn't within `patience`.
pub fn wait_for<T>(what: &str, patience: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within {patience:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// One instance: a folder with its store and its logs, and at most one process at a time.
pub struct Gate {
    settings: Settings,
    folder: TempDir,
    /// The folder with the store, within `folder` or on a disk of the test's own.
    state: PathBuf,
    /// How often it was started; each start has a log of its own.
    starts: usize,
    child: Option<Child>,
}

/// What a restore said in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restore {
    /// How many partitions.
    pub partitions: u64,
    /// Rows read from the changelog.
    pub rows: u64,
    /// How long it took.
    pub ms: u64,
}

impl Gate {
    /// An instance with a new folder, started.
    pub fn start(settings: &Settings) -> Self {
        let mut gate = Self::stopped(settings);
        gate.start_again(&[]);
        gate
    }

    /// An instance with a new folder, not yet started.
    pub fn stopped(settings: &Settings) -> Self {
        let folder = tempfile::Builder::new().prefix("tickgate-gate.").tempdir().unwrap();
        let state = folder.path().join("state");
        Self { settings: settings.clone(), folder, state, starts: 0, child: None }
    }

    /// The same with its store elsewhere.
    #[cfg(feature = "fault-points")]
    pub fn stopped_in(settings: &Settings, state: PathBuf) -> Self {
        let mut gate = Self::stopped(settings);
        gate.state = state;
        gate
    }

    /// Starts the process, with arguments after `process`. The instance must not be running.
    pub fn start_again(&mut self, arguments: &[&str]) {
        self.spawn(arguments, None);
    }

    /// Starts the process with a fault point, as in `kill before commit #3`.
    #[cfg(feature = "fault-points")]
    pub fn start_to(&mut self, fault: &str) {
        self.spawn(&[], Some(fault));
    }

    fn spawn(&mut self, arguments: &[&str], fault: Option<&str>) {
        assert!(self.child.is_none(), "it is running already");
        // An address of an earlier start would answer nothing, or be somebody else's by now.
        let _ = fs::remove_file(self.state_dir().join("http"));
        self.starts += 1;
        let log = File::create(self.log_path(self.starts)).unwrap();
        let settings = self
            .settings
            .clone()
            .with("PROCESS__STATE_DIR", self.state_dir().to_str().unwrap())
            .with("PROCESS__HTTP", "127.0.0.1:0");
        let mut command = settings.command(&["process"]);
        command.envs(fault.map(|fault| ("FAULT_POINT", fault)));
        let child = command.args(arguments).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.child = Some(child);
    }

    /// How often it was started.
    pub fn starts(&self) -> usize {
        self.starts
    }

    /// Ends it with SIGKILL, as a crash would.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.ended(STOP_TIMEOUT);
    }

    /// Ends it with SIGTERM; its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.ended(STOP_TIMEOUT).code()
    }

    /// Waits until it ends by itself; its exit code.
    pub fn wait_end(&mut self) -> Option<i32> {
        self.ended(PATIENCE).code()
    }

    /// Waits until it has killed itself at its fault point.
    #[cfg(feature = "fault-points")]
    pub fn wait_killed(&mut self) {
        let status = self.ended(PATIENCE);
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(Signal::SIGKILL as i32), "{status}");
        assert_eq!(self.logged("at the fault point").len(), 1);
    }

    /// Whether it kills itself at its fault point within `patience`; otherwise it is killed where it is.
    #[cfg(feature = "fault-points")]
    pub fn killed_within(&mut self, patience: Duration) -> bool {
        let child = self.child.as_mut().expect("it is running");
        let deadline = Instant::now() + patience;
        while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
        }
        if child.try_wait().unwrap().is_none() {
            self.kill();
            return false;
        }
        self.wait_killed();
        true
    }

    /// Panics when it has ended by itself.
    #[cfg(feature = "fault-points")]
    pub fn assert_alive(&mut self) {
        let ended = self.child.as_mut().expect("it was started").try_wait().unwrap();
        assert!(ended.is_none(), "it ended by itself: {ended:?}");
    }

    /// Waits until it has stopped itself (SIGSTOP) at its fault point.
    #[cfg(feature = "fault-points")]
    pub fn wait_paused(&self) {
        let id = self.child.as_ref().expect("it is running").id();
        wait_for("process at its fault point", PATIENCE, || {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
            // The state follows the program's name, which stands in parentheses.
            (stat.rsplit_once(") ").unwrap().1.starts_with('T')).then_some(())
        });
        assert_eq!(self.logged("at the fault point").len(), 1);
    }

    /// Whether it was started and has not ended since.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Sends a signal to the running process.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it is running");
        // Not yet waited for, so the id is still this process's.
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    }

    /// The folder with the store.
    pub fn state_dir(&self) -> PathBuf {
        self.state.clone()
    }

    /// Removes the store of an instance that is not running.
    pub fn lose_store(&self) {
        assert!(self.child.is_none(), "it is running");
        fs::remove_dir_all(self.state_dir()).unwrap();
    }

    /// What the last start has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path(self.starts)).unwrap()
    }

    /// The last start's log lines with `message`, as JSON.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        let lines = self.log();
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"].as_str().is_some_and(|text| text.contains(message))).collect()
    }

    /// All restores of the last start.
    pub fn restores(&self) -> Vec<Restore> {
        let number = |line: &Value, name: &str| line[name].as_u64().unwrap();
        self.logged("restored from the changelog")
            .iter()
            .map(|line| Restore {
                partitions: number(line, "partitions"),
                rows: number(line, "rows"),
                ms: number(line, "ms"),
            })
            .collect()
    }

    /// Answers `path` with status 200, or `None`: not there yet, or another status.
    pub fn get(&self, path: &str) -> Option<String> {
        let (status, body) = self.ask(path)?;
        (status == 200).then_some(body)
    }

    /// Where it answers; it must have started.
    pub fn address(&self) -> String {
        fs::read_to_string(self.state_dir().join("http")).expect("it has told its address").trim().to_owned()
    }

    /// The status and body that `path` answers with; `None` while nothing answers.
    pub fn ask(&self, path: &str) -> Option<(u16, String)> {
        let address = fs::read_to_string(self.state_dir().join("http")).ok()?;
        let mut stream = TcpStream::connect(address.trim()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The partitions it works on, after their restore.
    pub fn partitions(&self) -> BTreeSet<i32> {
        let view: Value =
            self.get("/v1/instance").and_then(|body| serde_json::from_str(&body).ok()).unwrap_or_default();
        let workers = view["workers"].as_object().into_iter().flat_map(|workers| workers.values());
        workers
            .filter_map(|worker| worker["partitions"].as_object())
            .flatten()
            .filter(|(_, partition)| partition["phase"] == "running")
            .map(|(number, _)| number.parse().unwrap())
            .collect()
    }

    /// Waits until `/readyz` says yes.
    pub fn wait_ready(&self) {
        wait_for("ready instance", PATIENCE, || self.get("/readyz"));
    }

    /// The value of a counter, by its name and labels as `/metrics` writes them: 0 when it isn't there.
    pub fn counter(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").expect("a running instance has metrics");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// The value of a gauge, likewise.
    pub fn gauge(&self, name: &str) -> f64 {
        let metrics = self.get("/metrics").expect("a running instance has metrics");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    fn ended(&mut self, patience: Duration) -> ExitStatus {
        let child = self.child.as_mut().expect("it is running");
        let status = wait_for("end of the process", patience, || child.try_wait().unwrap());
        self.child = None;
        status
    }

    fn log_path(&self, start: usize) -> PathBuf {
        self.folder.path().join(format!("log.{start}"))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            for start in self.starts.saturating_sub(SHOWN_STARTS - 1).max(1)..=self.starts {
                print_log(&self.log_path(start));
            }
        }
    }
}

fn print_log(path: &Path) {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    eprintln!("---- {}, {} lines", path.display(), lines.len());
    for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
        eprintln!("{line}");
    }
}
