//! A long-running role other than `process` under test: its log, its pages, its end.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    process::Child,
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

/// A process; it ends with this value, and the log of a test that fails is printed.
pub struct Role {
    child: Child,
    folder: TempDir,
}

impl Role {
    /// Starts the binary with these arguments.
    pub fn start(settings: &Settings, arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("tickgate-role.").tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = settings.command(arguments);
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Self { child, folder }
    }

    /// All that it has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The log lines with `message`, as JSON.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"].as_str().is_some_and(|text| text.contains(message))).collect()
    }

    /// Waits for a log line with `message`.
    pub fn wait_logged(&self, message: &str) -> Value {
        wait_for(message, PATIENCE, || self.logged(message).first().cloned())
    }

    /// The status and body that `path` answers with; `None` while nothing answers.
    pub fn ask(&self, path: &str) -> Option<(u16, String)> {
        self.ask_with(path, "")
    }

    /// The same to somebody who says who he is: the header `Authorization`.
    pub fn ask_as(&self, path: &str, authorization: &str) -> Option<(u16, String)> {
        self.ask_with(path, &format!("Authorization: {authorization}\r\n"))
    }

    fn ask_with(&self, path: &str, headers: &str) -> Option<(u16, String)> {
        let address = self.logged("answers on http").first()?["http"].as_str()?.to_owned();
        let mut stream = TcpStream::connect(&address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Waits until `/readyz` says yes.
    pub fn wait_ready(&self) {
        wait_for("ready role", PATIENCE, || self.ask("/readyz").filter(|(status, _)| *status == 200));
    }

    /// Waits until `/readyz` says no, and why in these words.
    pub fn wait_unready(&self, words: &str) {
        wait_for(words, PATIENCE, || {
            self.ask("/readyz").filter(|(status, body)| *status == 503 && body.contains(words))
        });
    }

    /// The value of a counter, by its name and labels as `/metrics` writes them: 0 when it isn't there.
    pub fn counter(&self, name: &str) -> u64 {
        let (_, metrics) = self.ask("/metrics").expect("a running role has metrics");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it with SIGKILL, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it with SIGTERM: its exit code, and how long it took.
    pub fn terminate(&mut self) -> (Option<i32>, Duration) {
        let asked = Instant::now();
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        (self.wait_end(), asked.elapsed())
    }

    /// Waits until it ends; its exit code.
    pub fn wait_end(&mut self) -> Option<i32> {
        wait_for("end of the role", PATIENCE, || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("---- log of the role\n{}", self.log());
        }
    }
}
