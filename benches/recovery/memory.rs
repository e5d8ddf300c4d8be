//! The largest resident memory of one instance: while it makes its state, at steady work, started again on its
//! state, and started again without it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tickgate_stack::process::Process;

use crate::Bench;
use crate::contender::{Contender, Instance, Member};
use crate::feed::{Feed, Keys};
use crate::observe::observe;
use crate::report::Figures;

/// How long the steady work lasts, and the work after a restart.
const STEADY_FOR: Duration = Duration::from_secs(20);
const AFTER: Duration = Duration::from_secs(5);

/// Peaks in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peaks {
    pub(crate) fill: u64,
    pub(crate) steady: u64,
    pub(crate) restart: u64,
    pub(crate) restore: u64,
}

/// All four in a row, with a group that has no state yet.
pub(crate) fn run(bench: &Bench, contender: &Contender, keys: &Arc<Keys>) -> anyhow::Result<Figures> {
    let instances = contender.instances(1);
    let instance = &instances[0];
    bench.start(contender, instance, Member::Dynamic, 0)?;
    bench.settle(contender, instances, 0)?;
    let fill = peak(instance)?;
    let mut feed = Feed::start(&bench.stack.bootstrap(), keys, bench.args.rate)?;
    instance.program.process().context("it is gone")?.forget_peak()?;
    thread::sleep(STEADY_FOR);
    let steady = peak(instance)?;
    let mut again = || -> anyhow::Result<u64> {
        let began = Instant::now();
        bench.start(contender, instance, Member::Dynamic, 0)?;
        observe(&contender.offsets, &mut feed, began, AFTER)?;
        let peak = peak(instance)?;
        instance.stop()?;
        Ok(peak)
    };
    instance.stop()?;
    let restart = again()?;
    instance.empty()?;
    let restore = again()?;
    Ok(Figures::Memory(Peaks { fill, steady, restart, restore }))
}

fn peak(instance: &Instance) -> anyhow::Result<u64> {
    instance.check()?;
    instance.program.process().and_then(Process::peak_memory).context("it is gone")
}
