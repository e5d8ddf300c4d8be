//! Before anything is measured: everybody runs, owns its part and has caught up.

use std::thread;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::contender::{Contender, Instance, Member};
use crate::feed::Feed;
use crate::job::offsets::Offsets;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Without any progress for so long it is a failure.
const GIVE_UP_AFTER: Duration = Duration::from_mins(3);
/// What is asked for must hold for so long.
const HOLDS_FOR: Duration = Duration::from_secs(3);

impl Bench {
    /// Lets one instance work through staging, and stops it.
    pub(crate) fn fill_state(&self, contender: &Contender) -> anyhow::Result<()> {
        eprintln!("{} makes its state", contender.name());
        let instances = contender.instances(1);
        self.start(contender, &instances[0], Member::Dynamic, 0)?;
        self.settle(contender, instances, 0)?;
        instances[0].stop()
    }

    /// Starts an instance; `others` is how many run beside it.
    pub(crate) fn start(
        &self,
        contender: &Contender,
        instance: &Instance,
        member: Member,
        others: usize,
    ) -> anyhow::Result<()> {
        contender.start(instance, member, others, &self.stack.bootstrap(), &self.args)
    }

    /// Begins to append records of the state's keys.
    pub(crate) fn feed(&self) -> anyhow::Result<Feed> {
        Feed::start(&self.stack.bootstrap(), &self.keys, self.args.rate)
    }

    /// Waits until these instances share the partitions, copies of each other's included, and have committed all
    /// but the last second of a feed of `rate` records/s.
    pub(crate) fn settle(
        &self,
        contender: &Contender,
        instances: &[Instance],
        rate: u32,
    ) -> anyhow::Result<()> {
        let (mut best, mut best_at, mut since) = (i64::MAX, Instant::now(), None);
        loop {
            instances.iter().try_for_each(Instance::check)?;
            let behind = behind(&contender.offsets)?;
            if behind < best {
                (best, best_at) = (behind, Instant::now());
            }
            let shared = self.is_shared(contender, instances);
            if shared && behind <= i64::from(rate) {
                if since.get_or_insert_with(Instant::now).elapsed() > HOLDS_FOR {
                    return Ok(());
                }
            } else {
                since = None;
            }
            anyhow::ensure!(
                best_at.elapsed() < GIVE_UP_AFTER,
                "{behind} records behind and {}; the end of a log:\n{}",
                if shared { "no progress" } else { "the instances do not share the partitions" },
                instances[0].program.log_tail()
            );
            thread::sleep(LOOK_EVERY);
        }
    }

    fn is_shared(&self, contender: &Contender, instances: &[Instance]) -> bool {
        let partitions = u64::try_from(self.args.partitions).unwrap_or(0);
        let fair = partitions / u64::try_from(instances.len()).unwrap_or(1);
        let statuses: Vec<_> = instances.iter().filter_map(|instance| contender.status(instance)).collect();
        statuses.len() == instances.len()
            && statuses.iter().map(|status| status.owned).sum::<u64>() == partitions
            && statuses.iter().all(|status| status.owned * 4 >= fair * 3)
            && statuses.iter().all(|status| status.behind <= u64::from(self.args.rate))
    }
}

/// How many records the group has not committed.
fn behind(offsets: &Offsets) -> anyhow::Result<i64> {
    let ends: i64 = offsets.ends()?.iter().sum();
    let committed = offsets.committed()?.map_or(0, |offsets| offsets.iter().sum());
    Ok(ends - committed)
}
