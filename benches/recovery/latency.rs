//! How long a record takes from staging to a reader of committed records, under the steady feed.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::Bench;
use crate::contender::{Contender, Member};
use crate::report::Figures;

const MEASURED_FOR: Duration = Duration::from_secs(15);

/// In ms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) records: usize,
    pub(crate) half: u64,
    pub(crate) of_100: u64,
    pub(crate) most: u64,
}

/// One run.
pub(crate) fn run(bench: &Bench, contender: &Contender) -> anyhow::Result<Figures> {
    let instances = contender.instances(1);
    bench.start(contender, &instances[0], Member::Dynamic, 0)?;
    let mut feed = bench.feed()?;
    bench.settle(contender, instances, bench.args.rate)?;
    let latency = measure(&bench.stack.bootstrap(), bench.args.partitions)?;
    feed.check()?;
    instances[0].stop()?;
    Ok(Figures::Latency(latency))
}

/// Of the good records of everybody who runs. A record keeps its time, which staging's broker gave it.
fn measure(brokers: &str, partitions: i32) -> anyhow::Result<Latency> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset("stock_data", partition, Offset::End)?;
    }
    consumer.assign(&list)?;
    let began = Instant::now();
    let mut all = Vec::new();
    while began.elapsed() < MEASURED_FOR {
        let Some(message) = consumer.poll(Duration::from_millis(100)).transpose()? else { continue };
        let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        if let Some(appended_ms) = message.timestamp().to_millis() {
            all.push(u64::try_from(now_ms - appended_ms).unwrap_or(0));
        }
    }
    anyhow::ensure!(!all.is_empty(), "no record came within {} s", MEASURED_FOR.as_secs());
    all.sort_unstable();
    let at = |hundredths: usize| all[(all.len() - 1) * hundredths / 100];
    Ok(Latency { records: all.len(), half: at(50), of_100: at(99), most: at(100) })
}
