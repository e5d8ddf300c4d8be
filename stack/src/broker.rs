//! One broker: its process, its faults, and how to tell that it serves.
//!
//! Every method takes `&self`: a test breaks brokers from other threads than the one that holds the stack.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};

use crate::{
    Program, Proxy, StackError,
    process::Process,
    settings::{Behind, Layout, Node},
};

/// How long a broker may take to serve; with other stacks and builds on the machine it is far from quick.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// How long an orderly stop may take before the process is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// One broker of a [`Stack`](crate::Stack), which also is one of its controllers.
#[derive(Debug)]
pub struct Broker {
    id: usize,
    jars: PathBuf,
    layout: Layout,
    program: Program,
    proxy: Option<Proxy>,
}

impl Broker {
    pub(crate) fn new(id: usize, dir: &Path, jars: PathBuf, layout: Layout) -> Result<Self, StackError> {
        let program = Program::new(dir.join(format!("broker-{id}")))?;
        Ok(Self { id, jars, layout, program, proxy: None })
    }

    /// Its id, from 1 on.
    pub fn id(&self) -> usize {
        self.id
    }

    /// Where clients connect: `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.node().public_port())
    }

    /// Where other brokers connect, and whoever is not to be troubled by the proxy's faults; without a proxy
    /// the same as [`address`](Self::address).
    pub fn direct(&self) -> String {
        format!("127.0.0.1:{}", self.node().port)
    }

    /// What clients reach it through. Panics when the stack was not [proxied](crate::Builder::proxied).
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().unwrap_or_else(|| panic!("broker {} has no proxy", self.id))
    }

    /// The id of its process; `None` when it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.program.process().map(Process::pid)
    }

    /// The file with everything the broker said, over all its starts.
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
        self.terminate_within(STOP_TIMEOUT)
    }

    pub(crate) fn terminate_within(&self, timeout: Duration) -> Result<(), StackError> {
        self.program.terminate(timeout).map(|_in_order| ())
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
            return Err(StackError::Up { id: self.id, pid });
        }
        let mut command = self.java();
        command.args(self.layout.jvm()).arg("kafka.Kafka").arg(self.properties());
        self.program.start(command)
    }

    /// Waits until the broker serves: it answers for the cluster's metadata and names itself and at least
    /// `brokers - 1` others.
    pub fn wait_ready(&self, brokers: usize) -> Result<(), StackError> {
        let deadline = Instant::now() + START_TIMEOUT;
        let address = SocketAddr::from(([127, 0, 0, 1], self.node().port));
        let mut client = None;
        let mut last = "did not open its port".to_owned();
        while Instant::now() < deadline {
            if self.pid().is_none() {
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
        let data = self.program.dir().join("data");
        let path = self.properties();
        fs::write(&path, self.layout.properties(self.id, &data)).map_err(StackError::file("write", &path))?;
        if data.join("meta.properties").exists() {
            return Ok(());
        }
        let status = self
            .java()
            .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "kafka.tools.StorageTool"])
            .args(["format", "-t", &self.layout.cluster, "-c"])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(self.program.open_log()?)
            .stderr(self.program.open_log()?)
            .status()
            .map_err(|error| StackError::Program { program: "java".to_owned(), reason: error.to_string() })?;
        if status.success() { Ok(()) } else { Err(self.failed("could not format its data")) }
    }

    /// Starts the proxy that its layout asks for.
    pub(crate) fn start_proxy(&mut self) -> Result<(), StackError> {
        if let Some(Behind { proxy_port, client_port }) = self.node().behind {
            self.proxy = Some(Proxy::start(proxy_port, client_port)?);
        }
        Ok(())
    }

    /// Lets it live on after this process.
    pub(crate) fn release(&self) {
        self.program.release();
    }

    /// `java` with the jars; the caller adds flags and main class.
    fn java(&self) -> Command {
        let mut command = Command::new("java");
        command.arg("-cp").arg(self.jars.join("*")).current_dir(self.program.dir()).env_remove("KAFKA_OPTS");
        command
    }

    fn node(&self) -> &Node {
        &self.layout.nodes[self.id - 1]
    }

    fn properties(&self) -> PathBuf {
        self.program.dir().join("server.properties")
    }

    fn running(&self) -> Result<Process, StackError> {
        self.program.process().ok_or(StackError::Down(self.id))
    }

    fn client(&self) -> Result<BaseConsumer, StackError> {
        ClientConfig::new()
            .set("bootstrap.servers", self.direct())
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
        let (log, tail) = (self.log(), self.program.log_tail());
        StackError::Broker { id: self.id, what: what.to_owned(), log, tail }
    }
}
