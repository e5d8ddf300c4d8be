//! What everybody is measured by: when each partition's committed offset passes what was appended after the fault,
//! and how long each stood still.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use crate::feed::Feed;
use crate::job::offsets::{LOOK_EVERY, Offsets};

/// A partition that stands still for so long at the end is waited for.
const STILL: Duration = Duration::from_secs(1);
const GIVE_UP_AFTER: Duration = Duration::from_mins(5);

/// Seen from outside, from the fault on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observed {
    /// Until some partition had moved.
    pub(crate) first_moved: Duration,
    /// Until each partition had committed a record that was appended after the fault.
    pub(crate) all_moved: Duration,
    /// The longest time for which any partition committed nothing.
    pub(crate) stood_still: Duration,
}

/// Looks on until each partition has moved, and for `after` more.
pub(crate) fn observe(
    offsets: &Offsets,
    feed: &mut Feed,
    fault: Instant,
    after: Duration,
) -> anyhow::Result<Observed> {
    // Asked for after the fault: what is appended beyond it is later still.
    let beyond = offsets.ends()?;
    let mut partitions =
        vec![Partition { committed: None, moved: fault, still: Duration::ZERO, passed: None }; beyond.len()];
    loop {
        feed.check()?;
        let committed = offsets.committed()?;
        let now = Instant::now();
        for ((partition, beyond), offset) in
            partitions.iter_mut().zip(&beyond).zip(committed.into_iter().flatten())
        {
            partition.see(offset, *beyond, now);
        }
        let passed: Option<Vec<Instant>> = partitions.iter().map(|partition| partition.passed).collect();
        if let Some(passed) = passed
            && let (Some(first), Some(last)) = (passed.iter().min(), passed.iter().max())
            && now.duration_since(*last) > after
            && partitions.iter().all(|partition| now.duration_since(partition.moved) < STILL)
        {
            return Ok(Observed {
                first_moved: first.duration_since(fault),
                all_moved: last.duration_since(fault),
                stood_still: partitions.iter().map(|partition| partition.still).max().unwrap_or_default(),
            });
        }
        anyhow::ensure!(
            now.duration_since(fault) < GIVE_UP_AFTER,
            "{} of {} partitions have not moved since",
            partitions.iter().filter(|partition| partition.passed.is_none()).count(),
            partitions.len()
        );
        thread::sleep(LOOK_EVERY);
    }
}

#[derive(Debug, Clone, Copy)]
struct Partition {
    committed: Option<i64>,
    /// When it was last seen to commit, the fault at first.
    moved: Instant,
    still: Duration,
    passed: Option<Instant>,
}

impl Partition {
    fn see(&mut self, offset: i64, beyond: i64, now: Instant) {
        if self.committed.replace(offset).is_some_and(|before| offset > before) {
            self.still = self.still.max(now.duration_since(self.moved));
            self.moved = now;
        }
        if offset > beyond {
            self.passed.get_or_insert(now);
        }
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "all partitions moved after {:.2} s, the first after {:.2} s, the longest standstill {:.2} s",
            self.all_moved.as_secs_f64(),
            self.first_moved.as_secs_f64(),
            self.stood_still.as_secs_f64()
        )
    }
}
