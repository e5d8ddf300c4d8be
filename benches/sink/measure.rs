//! Measures a process from outside, from its start to its end: the clock, and CPU and memory by `/proc`.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

/// How often the process is looked at: what CPU figures may miss at the end.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A run that takes longer hangs.
const GIVE_UP_AFTER: Duration = Duration::from_mins(10);
/// Linux shows times to user space in these, whatever the kernel's own tick is.
const TICKS_PER_SECOND: u32 = 100;

/// One run's figures.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) elapsed: Duration,
    /// User and system time.
    pub(crate) cpu: Duration,
    pub(crate) peak_memory_bytes: u64,
}

impl Figures {
    /// Rows/s over the process's whole life.
    #[allow(clippy::cast_precision_loss)] // counts far below 2^52
    pub(crate) fn rate(&self, rows: u64) -> f64 {
        rows as f64 / self.elapsed.as_secs_f64()
    }
}

/// Runs the command to its end, which must be a success.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<Figures> {
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let mut figures = Figures::default();
    loop {
        if let Some(status) = child.try_wait()? {
            anyhow::ensure!(status.success(), "it ended with {status}");
            return Ok(Figures { elapsed: began.elapsed(), ..figures });
        }
        // One that is about to end shows nothing any more: what was seen last stands.
        if let (Some(cpu), Some(memory)) = (cpu_time(child.id()), peak_memory_bytes(child.id())) {
            (figures.cpu, figures.peak_memory_bytes) = (cpu, memory);
        }
        if began.elapsed() > GIVE_UP_AFTER {
            child.kill()?;
            child.wait()?;
            anyhow::bail!("it had not ended after {} s", GIVE_UP_AFTER.as_secs());
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// User and system time of a process and its ended threads, from `/proc/<pid>/stat`.
fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the name, may hold spaces; utime and stime are the 14th and 15th.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11).map(str::parse::<u32>);
    let ticks = fields.next()?.ok()? + fields.next()?.ok()?;
    Some(Duration::from_secs(ticks.into()) / TICKS_PER_SECOND)
}

fn peak_memory_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}
