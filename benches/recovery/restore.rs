//! An instance without any state, and what reading its changelog takes without a store.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use serde_json::Value;
use tickgate_stack::Program;

use crate::Bench;
use crate::breakdown;
use crate::contender::{Contender, Member, Who};
use crate::job::topics;
use crate::observe::observe;
use crate::report::Figures;

const READ_WITHIN: Duration = Duration::from_mins(5);
const AFTER: Duration = Duration::from_secs(2);

/// One run.
pub(crate) fn run(bench: &Bench, contender: &Contender) -> anyhow::Result<Figures> {
    let instance = &contender.instances(1)[0];
    instance.empty()?;
    let bare = read_bare(bench, contender)?;
    let mut feed = bench.feed()?;
    let log_length = instance.log_length();
    let (began, began_wall) = (Instant::now(), SystemTime::now());
    bench.start(contender, instance, Member::Dynamic, 0)?;
    let observed = observe(&contender.offsets, &mut feed, began, AFTER)?;
    let told = instance.told_since(log_length)?;
    let (phase, steps) = match contender.who {
        Who::Tickgate => (tickgate_phase(&told), breakdown::steps(&told, began_wall, observed.all_moved)?),
        Who::Streams(_) => (streams_phase(&told), Vec::new()),
    };
    drop(feed);
    // Whoever comes next finds everything worked through.
    bench.settle(contender, contender.instances(1), 0)?;
    instance.stop()?;
    Ok(Figures::Restore { rows: bare.rows, bare: bare.elapsed, phase, observed, steps })
}

struct Bare {
    rows: u64,
    /// From the process's start to its end.
    elapsed: Duration,
}

/// Lets the bare reader go through the contender's changelog.
fn read_bare(bench: &Bench, contender: &Contender) -> anyhow::Result<Bare> {
    let program = Program::new(bench.folder.path().join("bare"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--bare", &bench.stack.bootstrap(), &topics::changelog(&contender.group)])
        .arg("--partitions")
        .arg(bench.args.partitions.to_string());
    let began = Instant::now();
    program.start(command)?;
    let ended = program.wait(READ_WITHIN);
    let elapsed = began.elapsed();
    anyhow::ensure!(ended, "the bare reader had not ended after {} s", READ_WITHIN.as_secs());
    let tail = program.log_tail();
    let rows = tail.lines().last().and_then(|line| line.strip_prefix("rows ")?.parse().ok());
    Ok(Bare { rows: rows.with_context(|| format!("the bare reader said:\n{tail}"))?, elapsed })
}

/// The longest of its workers' restores.
fn tickgate_phase(told: &[Value]) -> Option<Duration> {
    let restores = told.iter().filter(|line| line["message"] == "restored from the changelog");
    restores.filter_map(|line| line["ms"].as_u64()).max().map(Duration::from_millis)
}

/// From the first partition's begin to the last one's end.
fn streams_phase(told: &[Value]) -> Option<Duration> {
    let times = |name: &'static str| {
        told.iter().filter(move |line| !line[name].is_null()).filter_map(|line| line["at_ms"].as_u64())
    };
    Some(Duration::from_millis(times("restored").max()?.checked_sub(times("restoring").min()?)?))
}
