//! One broker: its process, its faults, and how to tell that it serves.
//!
//! Every method takes `&self`: a test breaks brokers from other threads than the one that holds the stack.

use std::{
    fs,
    fs::File,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use std::os::unix::process::CommandExt;

use nix::sys::signal::Signal;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};

use crate::{StackError, process::Process, settings::Layout};

/// How long a broker may take to serve; with other stacks and builds on the machine it is far from quick.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// How long an orderly stop may take before the process is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
const LOG_TAIL_LINES: usize = 20;

/// One broker of a [`Stack`](crate::Stack), which also is one of its controllers.
#[derive(Debug)]
pub struct Broker {
    id: usize,
    /// `<stack's dir>/broker-<id>`
    dir: PathBuf,
    jars: PathBuf,
    layout: Layout,
    running: Mutex<Running>,
}

/// The process, and the handle to wait for it if this process started it.
#[derive(Debug, Default)]
struct Running {
    process: Option<Process>,
    child: Option<Child>,
}

impl Broker {
    pub(crate) fn new(id: usize, stack_dir: &Path, jars: PathBuf, layout: Layout) -> Self {
        let dir = stack_dir.join(format!("broker-{id}"));
        let running = Running { process: Process::load(&dir.join("pid")), child: None };
        Self { id, dir, jars, layout, running: Mutex::new(running) }
    }

    /// Its id, from 1 on.
    pub fn id(&self) -> usize {
        self.id
    }

    /// Where clients connect: `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.layout.nodes[self.id - 1].port)
    }

    /// The id of its process; `None` when it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.process().map(Process::pid)
    }

    /// The file with everything the broker said, over all its starts.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&self) -> Result<(), StackError> {
        self.process().ok_or(StackError::Down(self.id))?;
        self.end(Signal::SIGKILL, KILL_TIMEOUT)
    }

    /// Asks it to stop in order (SIGTERM) and waits until it has; kills it after 30 s.
    pub fn terminate(&self) -> Result<(), StackError> {
        self.process().ok_or(StackError::Down(self.id))?;
        self.terminate_within(STOP_TIMEOUT)
    }

    pub(crate) fn terminate_within(&self, timeout: Duration) -> Result<(), StackError> {
        self.signal(Signal::SIGTERM);
        self.signal(Signal::SIGCONT); // a paused one could not hear it
        self.end(Signal::SIGTERM, timeout).or_else(|_| self.end(Signal::SIGKILL, KILL_TIMEOUT))
    }

    /// Stops it from running without ending it (SIGSTOP): connections stay open and nobody answers.
    pub fn pause(&self) -> Result<(), StackError> {
        self.process().ok_or(StackError::Down(self.id))?.signal(Signal::SIGSTOP);
        Ok(())
    }

    /// Lets it run on after [`pause`](Self::pause).
    pub fn resume(&self) -> Result<(), StackError> {
        self.process().ok_or(StackError::Down(self.id))?.signal(Signal::SIGCONT);
        Ok(())
    }

    /// Starts it again, on the same data and ports. Does not wait: see [`wait_ready`](Self::wait_ready).
    pub fn start(&self) -> Result<(), StackError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = running.process.filter(|process| process.alive()) {
            return Err(StackError::Up { id: self.id, pid: process.pid() });
        }
        let child = self
            .java()
            .args(self.layout.jvm())
            .arg("kafka.Kafka")
            .arg(self.dir.join("server.properties"))
            .stdout(self.open_log()?)
            .stderr(self.open_log()?)
            .spawn()
            .map_err(|error| java_missing(&error))?;
        let process = Process::find(child.id());
        *running = Running { process, child: Some(child) };
        let path = self.dir.join("pid");
        process.map_or(Ok(()), |process| process.save(&path)).map_err(StackError::file("write", path))
    }

    /// Waits until the broker serves: it answers for the cluster's metadata and names itself and at least
    /// `brokers - 1` others.
    pub fn wait_ready(&self, brokers: usize) -> Result<(), StackError> {
        let deadline = Instant::now() + START_TIMEOUT;
        let address = SocketAddr::from(([127, 0, 0, 1], self.layout.nodes[self.id - 1].port));
        let mut client = None;
        let mut last = "did not open its port".to_owned();
        while Instant::now() < deadline {
            if self.process().is_none() {
                return Err(self.failed("ended before it served"));
            }
            if client.is_none() && TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok() {
                client = Some(self.client()?);
            }
            if let Some(client) = &client {
                match self.listed(client) {
                    Some(count) if count >= brokers => return Ok(()),
                    Some(count) => last = format!("served with {count} of {brokers} brokers"),
                    None => "did not answer for metadata that names it".clone_into(&mut last),
                }
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(self.failed(&format!("{last} within {} s", START_TIMEOUT.as_secs())))
    }

    /// Lays out the broker's folder: settings and Kafka's own format. Leaves existing data alone.
    pub(crate) fn format(&self) -> Result<(), StackError> {
        let data = self.dir.join("data");
        fs::create_dir_all(&self.dir).map_err(StackError::file("make", &self.dir))?;
        let path = self.dir.join("server.properties");
        fs::write(&path, self.layout.properties(self.id, &data)).map_err(StackError::file("write", &path))?;
        if data.join("meta.properties").exists() {
            return Ok(());
        }
        let status = self
            .java()
            .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "kafka.tools.StorageTool"])
            .args(["format", "-t", &self.layout.cluster, "-c"])
            .arg(path)
            .stdout(self.open_log()?)
            .stderr(self.open_log()?)
            .status()
            .map_err(|error| java_missing(&error))?;
        if status.success() { Ok(()) } else { Err(self.failed("could not format its data")) }
    }

    /// `java` with the jars, apart from this process's terminal. The caller adds flags and main class.
    fn java(&self) -> Command {
        let mut command = Command::new("java");
        command
            .arg("-cp")
            .arg(self.jars.join("*"))
            .current_dir(&self.dir)
            .env_remove("KAFKA_OPTS")
            .stdin(Stdio::null())
            .process_group(0); // Ctrl-C on the terminal is for the stack's owner alone
        command
    }

    fn open_log(&self) -> Result<File, StackError> {
        let path = self.log();
        File::options().create(true).append(true).open(&path).map_err(StackError::file("open", path))
    }

    /// The process, if it runs; reaps it otherwise.
    fn process(&self) -> Option<Process> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = &mut running.child
            && let Ok(Some(_)) = child.try_wait()
        {
            *running = Running::default();
        }
        running.process.filter(|process| process.alive())
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = self.process() {
            process.signal(signal);
        }
    }

    fn end(&self, signal: Signal, timeout: Duration) -> Result<(), StackError> {
        let Some(process) = self.process() else { return Ok(()) };
        process.signal(signal);
        if !process.wait_gone(timeout) {
            return Err(StackError::Alive(process.pid()));
        }
        self.process(); // reaps it
        Ok(())
    }

    fn client(&self) -> Result<BaseConsumer, StackError> {
        ClientConfig::new()
            .set("bootstrap.servers", self.address())
            .set("reconnect.backoff.max.ms", "200")
            .set("log_level", "0")
            .create()
            .map_err(|error| self.failed(&format!("has no client ({error})")))
    }

    /// How many brokers this one lists; `None` when it does not answer or does not list itself.
    fn listed(&self, client: &BaseConsumer) -> Option<usize> {
        let metadata = client.fetch_metadata(None, Duration::from_secs(1)).ok()?;
        let brokers = metadata.brokers();
        brokers.iter().any(|broker| usize::try_from(broker.id()) == Ok(self.id)).then_some(brokers.len())
    }

    fn failed(&self, what: &str) -> StackError {
        let log = self.log();
        let text = fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n");
        StackError::Broker { id: self.id, what: what.to_owned(), log, tail }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // The stack has ended it or given it away; a child that ended must not stay a zombie.
        self.process();
    }
}

fn java_missing(error: &std::io::Error) -> StackError {
    StackError::Program { program: "java".to_owned(), reason: error.to_string() }
}
