//! Measures a process from outside: progress by the group's committed offsets, CPU and memory by `/proc`.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tickgate_stack::Program;
use tickgate_stack::process::Process;

use crate::job::offsets::{LOOK_EVERY, Offsets};

/// Nothing committed for so long is a failure.
const GIVE_UP_AFTER: Duration = Duration::from_mins(2);
/// How long the process may take to stop in order before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(8);

/// What is measured against what.
pub(crate) struct Measured<'a> {
    pub(crate) offsets: Offsets,
    /// Staging's end offsets by partition.
    pub(crate) ends: &'a [i64],
    pub(crate) broker: Process,
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
    /// Runs the command as this program until the group has committed the ends, then stops it.
    pub(crate) fn run(&self, program: &Program, command: Command) -> anyhow::Result<Figures> {
        let broker_before = self.broker.cpu_time().context("the broker is gone")?;
        let began = Instant::now();
        program.start(command)?;
        let figures = self.watch(program, began, broker_before);
        program.terminate(STOP_WITHIN)?;
        figures.with_context(|| format!("the end of its log:\n{}", program.log_tail()))
    }

    fn watch(&self, program: &Program, began: Instant, broker_before: Duration) -> anyhow::Result<Figures> {
        let ended = "the process ended by itself";
        let records = u64::try_from(self.ends.iter().sum::<i64>())?;
        let (mut first, mut last) = (None, (began, 0));
        loop {
            anyhow::ensure!(program.process().is_some(), ended);
            let committed = self.offsets.committed()?.unwrap_or_default();
            let committed = u64::try_from(committed.into_iter().sum::<i64>())?;
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
        let process = program.process().context(ended)?;
        let broker_cpu = self.broker.cpu_time().context("the broker is gone")?;
        let (first_at, first_committed) = first.unwrap_or(last);
        Ok(Figures {
            records,
            from_start: last.0.duration_since(began),
            between_commits: last.0.duration_since(first_at),
            records_between: records - first_committed,
            cpu: process.cpu_time().context(ended)?,
            broker_cpu: broker_cpu.saturating_sub(broker_before),
            peak_memory_bytes: process.peak_memory().context(ended)?,
        })
    }
}
