//! The tables' part of an audit. In this order, each step after the one it depends on: the offsets that the sink
//! has committed; the dead letters, which came before those offsets; `stock_data` up to its settled end; the
//! tables.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::runtime::Handle;

use super::super::{Failure, sink};
use super::Args;
use super::kafka::{Kafka, Range};
use crate::audit::{Findings, Loadable, TableCheck};
use crate::config::Config;
use crate::core::record::Record;
use crate::journal::kafka::dead_letters;
use crate::model::{Offset, Partition, headers};
use crate::table::cassandra::Cassandra;

/// Pause between two attempts to reach Cassandra.
const PAUSE: Duration = Duration::from_secs(1);

/// Holds the tables against `stock_data`.
pub(super) fn check(args: &Args, config: &Config, partitions: Partition) -> Result<Findings, Failure> {
    let table = Handle::current().block_on(connect(args, config))?;
    let kafka = Kafka::connect(&config.kafka, &config.sink.group, "audit", args.timeout)?;
    let stock_data = &config.topics.stock_data;
    let all: Vec<Partition> = (0..partitions).collect();
    let cuts = kafka.committed(stock_data, &all)?;
    if cuts.iter().all(Option::is_none) {
        return Err(Failure::settings(anyhow::anyhow!(
            "the group `{}` has committed nothing of `{stock_data}`, so there are no rows to audit; check `sink.group`",
            config.sink.group
        )));
    }
    let mut check = TableCheck::new(args.show);
    read_letters(&kafka, config, &mut check)?;
    let ranges = kafka.settled(stock_data, &all)?;
    read_records(&kafka, config, &ranges, &cuts, &mut check)?;
    Handle::current()
        .block_on(async {
            table.read_stock(|row| check.stock(&row)).await?;
            table.read_latest(|row| check.latest(&row)).await
        })
        .map_err(Failure::unreachable)?;
    Ok(check.finish())
}

async fn connect(args: &Args, config: &Config) -> Result<Cassandra, Failure> {
    let deadline = Instant::now() + args.timeout;
    loop {
        match Cassandra::connect(&config.sink.cassandra).await {
            Ok(table) => return Ok(table),
            Err(error) if error.is_passing() && Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(sink::unusable(error)),
        }
    }
}

/// Letters name the record that they were.
fn read_letters(kafka: &Kafka, config: &Config, check: &mut TableCheck) -> Result<(), Failure> {
    let topic = &config.sink.dead_letter;
    let all: Vec<Partition> = (0..kafka.partitions(&[topic])?).collect();
    let from = format!("{}/", config.topics.stock_data);
    let place = |text: &[u8]| -> Option<(Partition, Offset)> {
        let (partition, offset) = std::str::from_utf8(text).ok()?.strip_prefix(&from)?.split_once('@')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    kafka.read(topic, &kafka.settled(topic, &all)?, |_, letter| {
        if let Some((partition, offset)) = letter.last(dead_letters::PLACE).and_then(place) {
            check.dead(partition, offset);
        }
    })
}

fn read_records(
    kafka: &Kafka,
    config: &Config,
    ranges: &[Range],
    cuts: &[Option<Offset>],
    check: &mut TableCheck,
) -> Result<(), Failure> {
    for range in ranges {
        check.partition(range.partition, range.start > 0);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ttl = config.sink.cassandra.ttl;
    let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    kafka.read(&config.topics.stock_data, ranges, |partition, message| {
        let record = Record {
            partition,
            offset: message.offset,
            kafka_time: message.kafka_time,
            key: message.key,
            value: message.value,
        };
        let cut = usize::try_from(partition).ok().and_then(|at| cuts.get(at).copied().flatten());
        // A row was written after its record was appended to staging, and lives as long as that from then on.
        let lived = message.kafka_time.map_or(i64::MAX, |appended| ms(now).saturating_sub(appended));
        check.record(Loadable {
            partition,
            offset: message.offset,
            row: sink::row_of(&record, message.last(headers::SRC)).ok(),
            is_loaded: cut.is_some_and(|cut| message.offset < cut),
            may_be_expired: !ttl.is_zero() && lived >= ms(ttl),
        });
    })
}
