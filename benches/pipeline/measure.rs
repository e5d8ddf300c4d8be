//! Measures a process from outside: progress by the group's committed offsets, CPU and memory by `/proc`.

use std::fs;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::topics::STAGING;

/// How often the committed offsets are asked for: the clock's resolution.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Nothing committed for so long is a failure.
const GIVE_UP_AFTER: Duration = Duration::from_mins(2);
/// How long the process may take to stop in order before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(8);

/// Linux shows times to user space in these, whatever the kernel's own tick is.
const TICKS_PER_SECOND: u32 = 100;

/// What is measured against what.
pub(crate) struct Measured<'a> {
    pub(crate) brokers: &'a str,
    pub(crate) group: &'a str,
    /// Staging's end offsets by partition.
    pub(crate) ends: &'a [i64],
    pub(crate) broker_pid: u32,
}

/// One run's figures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) records: u64,
    /// From the process's start to its last commit.
    pub(crate) from_start: Duration,
    /// From the first commit that was seen to the last, and the records between them.
    pub(crate) between_commits: Duration,
    pub(crate) records_between: u64,
    /// User and system time of the process up to the last commit, and of the broker in the same time.
    pub(crate) cpu: Duration,
    pub(crate) broker_cpu: Duration,
    pub(crate) peak_memory_bytes: u64,
}

impl Figures {
    /// Records/s from the process's start.
    #[allow(clippy::cast_precision_loss)] // counts far below 2^52
    pub(crate) fn rate(&self) -> f64 {
        self.records as f64 / self.from_start.as_secs_f64()
    }

    /// Records/s between the first commit and the last.
    #[allow(clippy::cast_precision_loss)] // counts far below 2^52
    pub(crate) fn steady_rate(&self) -> f64 {
        self.records_between as f64 / self.between_commits.as_secs_f64()
    }
}

impl Measured<'_> {
    /// Runs the command until the group has committed the ends, then stops it.
    pub(crate) fn run(&self, mut command: Command) -> anyhow::Result<Figures> {
        // Read uncommitted: the answer never waits for a commit that is under way.
        let watcher: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.brokers)
            .set("group.id", self.group)
            .set("isolation.level", "read_uncommitted")
            .create()?;
        let broker_before = cpu_time(self.broker_pid)?;
        let began = Instant::now();
        let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let figures = self.watch(&watcher, &mut child, began, broker_before);
        stop(&mut child)?;
        figures
    }

    fn watch(
        &self,
        watcher: &BaseConsumer,
        child: &mut Child,
        began: Instant,
        broker_before: Duration,
    ) -> anyhow::Result<Figures> {
        let records = u64::try_from(self.ends.iter().sum::<i64>())?;
        let (mut first, mut last) = (None, (began, 0));
        loop {
            anyhow::ensure!(child.try_wait()?.is_none(), "the process ended by itself");
            let committed = match self.committed(watcher) {
                // A new broker is still making its group's coordinator; `GIVE_UP_AFTER` bounds the wait.
                Err(error) if is_passing(&error) => last.1,
                committed => committed?,
            };
            let now = Instant::now();
            if committed > last.1 {
                last = (now, committed);
                first.get_or_insert(last);
            }
            if committed >= records {
                break;
            }
            let idle = now.duration_since(last.0);
            anyhow::ensure!(idle < GIVE_UP_AFTER, "{committed} of {records} committed, then nothing");
            thread::sleep(LOOK_EVERY);
        }
        let (first_at, first_committed) = first.unwrap_or(last);
        Ok(Figures {
            records,
            from_start: last.0.duration_since(began),
            between_commits: last.0.duration_since(first_at),
            records_between: records - first_committed,
            cpu: cpu_time(child.id())?,
            broker_cpu: cpu_time(self.broker_pid)?.saturating_sub(broker_before),
            peak_memory_bytes: peak_memory_bytes(child.id())?,
        })
    }

    /// How many records the group has committed.
    fn committed(&self, watcher: &BaseConsumer) -> KafkaResult<u64> {
        let mut list = TopicPartitionList::with_capacity(self.ends.len());
        for (partition, _) in (0..).zip(self.ends) {
            list.add_partition(STAGING, partition);
        }
        let committed = watcher.committed_offsets(list, REQUEST_TIMEOUT)?;
        let offsets = committed.elements().into_iter().map(|element| match element.offset() {
            Offset::Offset(offset) => u64::try_from(offset).unwrap_or(0),
            _ => 0,
        });
        Ok(offsets.sum())
    }
}

fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    error.rdkafka_error_code().is_some_and(|code| {
        matches!(code, NotCoordinator | CoordinatorNotAvailable | CoordinatorLoadInProgress)
    })
}

fn stop(child: &mut Child) -> anyhow::Result<()> {
    let asked = Instant::now();
    // One that is gone already cannot be asked.
    let _ = kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM);
    while child.try_wait()?.is_none() {
        if asked.elapsed() > STOP_WITHIN {
            child.kill()?;
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// User and system time of a process and its ended threads, from `/proc/<pid>/stat`.
fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field, the name, may hold spaces; utime and stime are the 14th and 15th.
    let (_, rest) = stat.rsplit_once(')').context("a process's stat has its name in parentheses")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |at: usize| {
        fields.get(at).context("a process's stat has more fields")?.parse::<u32>().context(stat.clone())
    };
    Ok(Duration::from_secs((field(11)? + field(12)?).into()) / TICKS_PER_SECOND)
}

fn peak_memory_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}
