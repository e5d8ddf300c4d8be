//! One Cassandra node: its process, its faults, and how to tell that it serves.
//!
//! A real one, from Maven Central, pinned in `cassandra/pom.xml`; the only node of its cluster, on loopback,
//! without JMX. It writes its commit log before it answers, so what it acknowledged survives
//! [`kill`](Cassandra::kill). Every method takes `&self`: a test breaks it from other threads than the one
//! that holds it.

mod builder;
mod probe;
mod settings;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{Authority, Guard, Program, Proxy, StackError, process::Process};

pub use builder::CassandraBuilder;
use probe::Probe;
use settings::{LOGGER, Options, Ports};

/// How long a node may take to serve: seconds when the machine is idle, which it seldom is.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// How long an orderly stop may take before the process is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long dropping a node that keeps its data waits for it to stop in order.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two questions whether it serves.
const ASK_PAUSE: Duration = Duration::from_millis(50);

/// A running node. Dropping it ends it, and removes a temporary folder.
#[derive(Debug)]
pub struct Cassandra {
    dir: PathBuf,
    jars: PathBuf,
    ports: Ports,
    options: Options,
    program: Program,
    probe: Probe,
    proxy: Option<Proxy>,
    authority: Option<Authority>,
    wipe: bool,
    /// Held for what it does when this process dies.
    _guard: Guard,
}

impl Cassandra {
    /// The user that a node with [login](CassandraBuilder::login) knows from the beginning.
    pub const USER: &str = "cassandra";
    /// That user's password.
    pub const PASSWORD: &str = "cassandra";

    /// A plain node in a temporary folder, unless told otherwise.
    pub fn builder() -> CassandraBuilder {
        CassandraBuilder::default()
    }

    /// Where clients connect: `127.0.0.1:port`, of the proxy if there is one.
    pub fn contact_point(&self) -> String {
        format!("127.0.0.1:{}", self.ports.proxy.unwrap_or(self.ports.native))
    }

    /// The same past the proxy, for clients that its faults must not reach.
    pub fn direct(&self) -> String {
        format!("127.0.0.1:{}", self.ports.native)
    }

    /// What clients reach it through; `None` when it was not [proxied](CassandraBuilder::proxied).
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// Who signed its certificate, and may sign clients' ones; `None` without [TLS](CassandraBuilder::tls).
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// The id of its process; `None` when it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.program.process().map(Process::pid)
    }

    /// The folder with data and logs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file with everything it said, over all its starts.
    pub fn log(&self) -> PathBuf {
        self.program.log()
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&self) -> Result<(), StackError> {
        self.running()?;
        self.program.kill()
    }

    /// Asks it to stop in order (SIGTERM) and waits until it has; kills it after 30 s.
    pub fn terminate(&self) -> Result<(), StackError> {
        self.running()?;
        self.program.terminate(STOP_TIMEOUT).map(|_in_order| ())
    }

    /// Stops it from running without ending it (SIGSTOP): connections stay open and nobody answers.
    pub fn pause(&self) -> Result<(), StackError> {
        self.running()?.signal(Signal::SIGSTOP);
        Ok(())
    }

    /// Lets it run on after [`pause`](Self::pause).
    pub fn resume(&self) -> Result<(), StackError> {
        self.running()?.signal(Signal::SIGCONT);
        Ok(())
    }

    /// Starts it again, on the same data and ports. Does not wait: see [`wait_ready`](Self::wait_ready).
    pub fn start(&self) -> Result<(), StackError> {
        if let Some(pid) = self.pid() {
            return Err(StackError::CassandraUp { dir: self.dir.clone(), pid });
        }
        let mut command = Command::new("java");
        command
            .arg("-cp")
            .arg(self.jars.join("*"))
            .args(self.options.jvm(self.program.dir()))
            .arg("org.apache.cassandra.service.CassandraDaemon")
            .current_dir(self.program.dir());
        self.program.start(command)
    }

    /// Waits until it serves: it answers the native protocol, and with [login](CassandraBuilder::login) it
    /// takes its first user's password, which it learns some time after it has opened its port.
    pub fn wait_ready(&self) -> Result<(), StackError> {
        let deadline = Instant::now() + START_TIMEOUT;
        let mut last = "was not asked".to_owned();
        while Instant::now() < deadline {
            if self.pid().is_none() {
                return Err(self.failed("ended before it served"));
            }
            match self.probe.ask() {
                Ok(()) => return Ok(()),
                Err(reason) => last = reason,
            }
            thread::sleep(ASK_PAUSE);
        }
        Err(self.failed(&format!("did not serve within {} s ({last})", START_TIMEOUT.as_secs())))
    }

    /// Lays out its folder: settings only, existing data is left alone.
    fn write_settings(&self) -> Result<(), StackError> {
        let dir = self.program.dir();
        let files =
            [("cassandra.yaml", self.options.yaml(self.ports, dir)), ("logback.xml", LOGGER.to_owned())];
        for (name, text) in files {
            let path = dir.join(name);
            fs::write(&path, text).map_err(StackError::file("write", &path))?;
        }
        Ok(())
    }

    fn running(&self) -> Result<Process, StackError> {
        self.program.process().ok_or(StackError::CassandraDown)
    }

    fn failed(&self, what: &str) -> StackError {
        StackError::Cassandra { what: what.to_owned(), log: self.log(), tail: self.program.log_tail() }
    }
}

impl Drop for Cassandra {
    fn drop(&mut self) {
        // What cannot be ended here, the error of a later start names by its process.
        let _ = if self.wipe {
            self.program.kill()
        } else {
            self.program.terminate(DROP_TIMEOUT).map(|_in_order| ())
        };
        if self.wipe {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
