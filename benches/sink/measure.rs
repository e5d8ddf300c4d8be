//! Measures a process from outside, from its start to its end: the clock, and CPU and memory by `/proc`.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use tickgate_stack::Program;

/// How often the process is looked at: what CPU figures may miss at the end.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A run that takes longer hangs.
const GIVE_UP_AFTER: Duration = Duration::from_mins(10);

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

/// Runs the command as this program to its end, which must be a success.
pub(crate) fn run(program: &Program, command: Command) -> anyhow::Result<Figures> {
    let began = Instant::now();
    program.start(command)?;
    let mut figures = Figures::default();
    while let Some(process) = program.process() {
        // One that is about to end shows nothing any more: what was seen last stands.
        if let (Some(cpu), Some(memory)) = (process.cpu_time(), process.peak_memory()) {
            (figures.cpu, figures.peak_memory_bytes) = (cpu, memory);
        }
        if began.elapsed() > GIVE_UP_AFTER {
            program.kill()?;
            anyhow::bail!("it had not ended after {} s", GIVE_UP_AFTER.as_secs());
        }
        thread::sleep(LOOK_EVERY);
    }
    let elapsed = began.elapsed();
    let status = program.ended().context("it was started here")?;
    anyhow::ensure!(status.success(), "it ended with {status}; the end of its log:\n{}", program.log_tail());
    Ok(Figures { elapsed, ..figures })
}
