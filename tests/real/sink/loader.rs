//! `tickgate sink` under test. Whatever a test does, no process outlives its [`Loader`]; the logs of a test that
//! fails are printed.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
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

use crate::{
    cluster::Settings,
    gate::{PATIENCE, wait_for},
};

const SHOWN_LINES: usize = 60;
/// What a stop may take, whatever is slow or away.
const STOP: Duration = Duration::from_secs(5);
/// For a whole topic: the machine is shared with other tests.
const LOAD_PATIENCE: Duration = Duration::from_mins(8);

/// At most one process at a time, and the logs of all its starts.
pub struct Loader {
    settings: Settings,
    folder: TempDir,
    starts: usize,
    child: Option<Child>,
}

impl Loader {
    /// One that runs.
    pub fn start(settings: &Settings) -> Self {
        let mut loader = Self::stopped(settings);
        loader.start_again(&[]);
        loader
    }

    /// One that is not started yet.
    pub fn stopped(settings: &Settings) -> Self {
        let folder = tempfile::Builder::new().prefix("tickgate-sink.").tempdir().unwrap();
        Self { settings: settings.clone(), folder, starts: 0, child: None }
    }

    /// Runs one until the group has caught up, and expects that it ends with 0.
    pub fn catch_up(settings: &Settings) {
        let mut loader = Self::stopped(settings);
        loader.start_again(&["--until-caught-up"]);
        assert_eq!(loader.ended(LOAD_PATIENCE).code(), Some(0));
    }

    /// Starts the process, with arguments after `sink`.
    pub fn start_again(&mut self, arguments: &[&str]) {
        assert!(self.child.is_none(), "it is running already");
        self.starts += 1;
        let log = File::create(self.log_path(self.starts)).unwrap();
        let mut command = self.settings.command(&["sink"]);
        let command = command.args(arguments).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.ended(PATIENCE);
    }

    /// Ends it with SIGTERM, within the time that a stop may take; its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let asked = Instant::now();
        self.signal(Signal::SIGTERM);
        let status = self.ended(PATIENCE);
        let took = asked.elapsed();
        assert!(took < STOP, "a stop took {took:?}");
        status.code()
    }

    /// Waits until it ends by itself; its exit code.
    pub fn wait_end(&mut self) -> Option<i32> {
        self.ended(PATIENCE).code()
    }

    /// What its last start has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path(self.starts)).unwrap()
    }

    /// Waits until `/readyz` says yes.
    pub fn wait_ready(&self) {
        wait_for("ready sink", PATIENCE, || self.ask("/readyz").filter(|(status, _)| *status == 200));
    }

    /// Waits until `/readyz` says no, for a reason with these words; all that it says then.
    pub fn wait_unready(&self, words: &str) -> String {
        let (_, said) = wait_for(&format!("sink that says `{words}`"), PATIENCE, || {
            self.ask("/readyz").filter(|(status, body)| *status == 503 && body.contains(words))
        });
        said
    }

    /// The value of a metric, by its name and labels: 0 when it isn't there.
    pub fn metric(&self, name: &str) -> f64 {
        let Some((_, metrics)) = self.ask("/metrics") else { return 0.0 };
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// The most memory that the process has had, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        let id = self.child.as_ref().expect("it is running").id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// Where it answers; it must have said so.
    pub fn address(&self) -> String {
        self.told_address().expect("it has told its address")
    }

    /// The status and body that `path` answers with; `None` while nothing answers.
    pub fn ask(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.told_address()?).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: sink\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn told_address(&self) -> Option<String> {
        let log = self.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find_map(|line| line["http"].as_str().map(str::to_owned))
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it is running");
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    }

    fn ended(&mut self, patience: Duration) -> ExitStatus {
        let child = self.child.as_mut().expect("it is running");
        let status = wait_for("end of the sink", patience, || child.try_wait().unwrap());
        self.child = None;
        status
    }

    fn log_path(&self, start: usize) -> PathBuf {
        self.folder.path().join(format!("log.{start}"))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            for start in 1..=self.starts {
                let text = fs::read_to_string(self.log_path(start)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                eprintln!("---- start {start}, {} lines", lines.len());
                for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
                    eprintln!("{line}");
                }
            }
        }
    }
}
