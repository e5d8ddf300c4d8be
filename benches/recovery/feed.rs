//! The keys of the state, and the steady feed of records of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tickgate::model::{EventTime, partition_of};

use crate::job::fill::Filler;

/// Large batches: nobody waits for a single record.
const FILL_LINGER_MS: u32 = 20;
const FEED_LINGER_MS: u32 = 5;
/// How often the feed wakes up.
const STEP: Duration = Duration::from_millis(5);

/// Keys by the partition that they belong to.
pub(crate) struct Keys {
    by_partition: Vec<Vec<u32>>,
    count: u32,
}

impl Keys {
    /// The first `count` keys.
    pub(crate) fn new(count: u32, partitions: i32) -> Self {
        let mut by_partition = vec![Vec::new(); usize::try_from(partitions).unwrap_or(0)];
        for number in 0..count {
            let partition = partition_of(symbol(number).as_bytes(), partitions);
            let keys = usize::try_from(partition).ok().and_then(|at| by_partition.get_mut(at));
            keys.expect("keys belong to partitions that there are").push(number);
        }
        Self { by_partition, count }
    }

    /// Writes a record of each key to staging, from this one on.
    pub(crate) fn fill(&self, brokers: &str, from: u32) -> anyhow::Result<()> {
        let keyless = self.by_partition.iter().any(Vec::is_empty);
        anyhow::ensure!(!keyless, "expected keys for every partition, found too few: ask for more `--keys`");
        let mut filler = Filler::new(brokers, self.partitions()?, FILL_LINGER_MS)?;
        for number in from..self.count {
            send(&mut filler, number, u64::from(number))?;
        }
        filler.finish()
    }

    fn partitions(&self) -> anyhow::Result<i32> {
        Ok(i32::try_from(self.by_partition.len())?)
    }

    /// The key of the feed's record with this number: partitions take turns, and so do the keys of each.
    fn turn(&self, number: u64) -> u32 {
        let count = u64::try_from(self.by_partition.len()).unwrap_or(1);
        let at = |length: usize, number: u64| {
            usize::try_from(number % u64::try_from(length).unwrap_or(1)).unwrap_or(0)
        };
        let keys = &self.by_partition[at(self.by_partition.len(), number)];
        // Fibonacci hashing: spreads over the keys without repeating their order.
        let chance = (number / count).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        keys[at(keys.len(), chance)]
    }
}

/// A thread that appends records until this is dropped.
pub(crate) struct Feed {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Feed {
    /// Begins to append `rate` records/s.
    pub(crate) fn start(brokers: &str, keys: &Arc<Keys>, rate: u32) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut filler = Filler::new(brokers, keys.partitions()?, FEED_LINGER_MS)?;
        let (stopped, keys) = (Arc::clone(&stop), Arc::clone(keys));
        let feed = move || {
            let began = Instant::now();
            let mut sent = 0_u64;
            while !stopped.load(Ordering::SeqCst) {
                let due = began.elapsed().as_millis() * u128::from(rate) / 1_000;
                while u128::from(sent) < due {
                    send(&mut filler, keys.turn(sent), sent)?;
                    sent += 1;
                }
                thread::sleep(STEP);
            }
            filler.finish()
        };
        let thread = thread::Builder::new().name("feed".to_owned()).spawn(feed)?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Fails when the feed has.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.thread.take() {
            Some(thread) if thread.is_finished() => match thread.join() {
                Ok(ended) => ended.and_then(|()| anyhow::bail!("the feed ended by itself")),
                Err(_) => anyhow::bail!("the feed ended by a defect"),
            },
            thread => {
                self.thread = thread;
                Ok(())
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // Whoever needs it to have worked has asked.
            let _ = thread.join();
        }
    }
}

fn symbol(number: u32) -> String {
    format!("SYM{number:07}")
}

fn send(filler: &mut Filler, key: u32, number: u64) -> anyhow::Result<()> {
    let symbol = symbol(key);
    let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let (cents, volume) = (10_000 + number % 40_000, 1 + number % 900);
    let price = format!("{}.{:02}", cents / 100, cents % 100);
    let time = EventTime(now_ms);
    let value =
        format!(r#"{{"symbol":"{symbol}","last_price":{price},"volume":{volume},"timestamp":"{time}"}}"#);
    filler.send(&symbol, &value)
}
