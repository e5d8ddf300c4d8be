//! Instances are killed or stopped, and come back or leave their partitions to the other; or one comes.

use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use crate::breakdown;
use crate::contender::{Contender, Member, Who};
use crate::observe::observe;
use crate::report::Figures;
use crate::{Bench, Scenario};

/// How long it is looked on after everything has moved: what was stopped in order may be missed only when its
/// session ends.
const AFTER_KILL: Duration = Duration::from_secs(2);
const AFTER_STOP: Duration = Duration::from_secs(8);
/// Everything moves at once when one comes: it stands still only when the group lets it in.
const AFTER_JOIN: Duration = Duration::from_secs(12);

/// One run of a scenario that begins with everybody at work.
pub(crate) fn run(bench: &Bench, contender: &Contender, scenario: Scenario) -> anyhow::Result<Figures> {
    let (member, count) = match scenario {
        Scenario::KillRestart => (Member::Static, 1),
        Scenario::KillRestartDynamic => (Member::Dynamic, 1),
        _ => (Member::Dynamic, 2),
    };
    let instances = contender.instances(count);
    let (first, last) = (&instances[0], &instances[count - 1]);
    let joins = scenario == Scenario::JoinOne;
    let at_work = if joins { &instances[..1] } else { instances };
    for instance in at_work {
        bench.start(contender, instance, member, count - 1)?;
    }
    let mut feed = bench.feed()?;
    bench.settle(contender, at_work, bench.args.rate)?;
    feed.check()?;

    let log_length = last.log_length();
    let (fault, fault_wall) = (Instant::now(), SystemTime::now());
    let after = match scenario {
        Scenario::CleanStopOneOfTwo => {
            first.program.signal(Signal::SIGTERM);
            AFTER_STOP
        }
        Scenario::JoinOne => {
            bench.start(contender, last, member, count - 1)?;
            AFTER_JOIN
        }
        _ => {
            first.program.kill()?;
            AFTER_KILL
        }
    };
    if count == 1 {
        bench.start(contender, first, member, 0)?;
    }
    let observed = observe(&contender.offsets, &mut feed, fault, after)?;
    let steps = match contender.who {
        Who::Tickgate if !joins => {
            breakdown::steps(&last.told_since(log_length)?, fault_wall, observed.all_moved)?
        }
        _ => Vec::new(),
    };
    for instance in instances {
        instance.stop()?;
    }
    Ok(Figures::Recovery { observed, steps })
}
