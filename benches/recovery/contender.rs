//! Those that are measured, and their instances: how each is started, and what it says of itself while a
//! measurement is set up.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tickgate_stack::Program;

use crate::Args;
use crate::job::offsets::Offsets;
use crate::job::topics;
use crate::peer::{self, Peer};

/// What tickgate logs: each effect beside the usual, for the breakdown.
const LOG: &str = "info,tickgate::roles::process::worker=debug";
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long a clean stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// Who it is.
#[derive(Clone)]
pub(crate) enum Who {
    Tickgate,
    Streams(Peer),
}

/// One of the two, with a group and a changelog of its own.
pub(crate) struct Contender {
    pub(crate) who: Who,
    pub(crate) group: String,
    pub(crate) offsets: Offsets,
    instances: [Instance; 2],
}

/// A place to run in: at most one process at a time, and the state that it leaves.
pub(crate) struct Instance {
    pub(crate) program: Program,
    name: &'static str,
}

/// How an instance takes part in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Member {
    Static,
    Dynamic,
}

/// What an instance says of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Status {
    /// Partitions that it owns.
    pub(crate) owned: u64,
    /// Changelog records that its copies of the others lack.
    pub(crate) behind: u64,
}

impl Contender {
    /// Creates the changelog of a new group.
    pub(crate) fn new(
        who: Who,
        job: &str,
        folder: &Path,
        brokers: &str,
        args: &Args,
    ) -> anyhow::Result<Self> {
        let group = format!("{job}-{}", who.name().replace(' ', "-"));
        topics::create_changelog(brokers, &group, args.partitions)?;
        let instance = |name| -> anyhow::Result<Instance> {
            Ok(Instance { program: Program::new(folder.join(format!("{group}-{name}")))?, name })
        };
        let instances = [instance("a")?, instance("b")?];
        let offsets = Offsets::new(brokers, &group, args.partitions)?;
        Ok(Self { who, group, offsets, instances })
    }

    /// The same without any state, for another job.
    pub(crate) fn anew(&self, job: &str, folder: &Path, brokers: &str, args: &Args) -> anyhow::Result<Self> {
        Self::new(self.who.clone(), job, folder, brokers, args)
    }

    pub(crate) fn name(&self) -> &'static str {
        self.who.name()
    }

    /// The first `count` instances.
    pub(crate) fn instances(&self, count: usize) -> &[Instance] {
        &self.instances[..count]
    }

    /// Starts an instance; `others` is how many run beside it.
    pub(crate) fn start(
        &self,
        instance: &Instance,
        member: Member,
        others: usize,
        brokers: &str,
        args: &Args,
    ) -> anyhow::Result<()> {
        let state = instance.state();
        let static_name = (member == Member::Static).then_some(instance.name);
        let command = match &self.who {
            Who::Tickgate => self.tickgate(&state, static_name, brokers, args),
            Who::Streams(peer) => peer.command(&peer::Instance {
                brokers,
                application: &self.group,
                state: &state,
                commit_interval_ms: args.commit_interval_ms,
                standbys: u32::from(others > 0),
                static_name,
                heap: &args.peer_heap,
            })?,
        };
        Ok(instance.program.start(command)?)
    }

    /// What an instance says of itself, once it says something.
    pub(crate) fn status(&self, instance: &Instance) -> Option<Status> {
        match self.who {
            Who::Tickgate => {
                let metrics = get(&instance.state().join("http"), "/metrics")?;
                let number = |name: &str| {
                    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
                    metrics.lines().find_map(value)
                };
                let owned = number("tickgate_partitions_assigned")?;
                Some(Status { owned, behind: number("tickgate_replica_lag_records")? })
            }
            Who::Streams(_) => {
                let log = fs::read_to_string(instance.program.log()).ok()?;
                let last = log.lines().rev().find(|line| line.contains("\"active\":"))?;
                let told: Value = serde_json::from_str(last).ok()?;
                let runs = told["state"] == "RUNNING";
                let number = |name: &str| told[name].as_u64();
                runs.then_some(Status { owned: number("active")?, behind: number("behind")? })
            }
        }
    }

    fn tickgate(&self, state: &Path, static_name: Option<&str>, brokers: &str, args: &Args) -> Command {
        let mut command = Command::new(&args.binary);
        command
            .arg("process")
            .env("TICKGATE_KAFKA__BROKERS", brokers)
            .env("TICKGATE_TOPICS__PARTITIONS", args.partitions.to_string())
            .env("TICKGATE_TOPICS__REPLICATION", "1")
            .env("TICKGATE_PROCESS__GROUP", &self.group)
            .env("TICKGATE_PROCESS__STATE_DIR", state)
            .env("TICKGATE_PROCESS__WORKERS", args.workers.to_string())
            .env("TICKGATE_PROCESS__COMMIT_INTERVAL", format!("{}ms", args.commit_interval_ms))
            .env("TICKGATE_PROCESS__INSTANCE_ID", static_name.unwrap_or_default())
            .env("TICKGATE_PROCESS__HTTP", "127.0.0.1:0")
            .env("TICKGATE_LOG", LOG);
        command
    }
}

impl Who {
    fn name(&self) -> &'static str {
        match self {
            Self::Tickgate => "tickgate",
            Self::Streams(_) => "Kafka Streams",
        }
    }
}

impl Instance {
    /// Stops it in order.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        let in_order = self.program.terminate(STOP_WITHIN)?;
        anyhow::ensure!(in_order, "it had not stopped after {} s", STOP_WITHIN.as_secs());
        Ok(())
    }

    /// Fails, with the end of its log, when it does not run.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let runs = self.program.process().is_some();
        anyhow::ensure!(runs, "it ended by itself; the end of its log:\n{}", self.program.log_tail());
        Ok(())
    }

    /// Removes what it has on disk.
    pub(crate) fn empty(&self) -> anyhow::Result<()> {
        fs::remove_dir_all(self.state()).with_context(|| format!("emptying {}", self.state().display()))
    }

    /// How long its log is, in bytes: what comes later belongs to what happens from now on.
    pub(crate) fn log_length(&self) -> u64 {
        fs::metadata(self.program.log()).map_or(0, |log| log.len())
    }

    /// The lines of its log from there on that are JSON.
    pub(crate) fn told_since(&self, length: u64) -> anyhow::Result<Vec<Value>> {
        let log = fs::read(self.program.log())?;
        let new = log.get(usize::try_from(length)?..).unwrap_or_default();
        Ok(String::from_utf8_lossy(new).lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    fn state(&self) -> PathBuf {
        self.program.dir().join("state")
    }
}

/// The body that the address in a file answers a path with.
fn get(address: &Path, path: &str) -> Option<String> {
    let address = fs::read_to_string(address).ok()?;
    let mut stream = TcpStream::connect(address.trim()).ok()?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}
