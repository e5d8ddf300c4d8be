//! `tickgate bad`: what is in `bad_data`, record by record, one of them whole, or counted.
//!
//! Reads what is committed up to the ends at the start, joins no group and commits nothing.

mod choice;
mod entry;
mod list;
mod show;
mod stats;

use std::time::Duration;

pub(super) use choice::{Choice, Window};
pub(super) use entry::Entry;

use super::audit::kafka::{Kafka, Range};
use super::{Exit, Failure};
use crate::config::Config;
use crate::model::Partition;

/// Arguments of `tickgate bad`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// How long to wait for brokers, for open transactions to end, and for the next record before ending with 3
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// One line a record, the newest at the end
    List(list::Args),
    /// One record whole: its value, and beside it why it is there
    Show(show::Args),
    /// Counts by rule, symbol, kind or hour
    Stats(stats::Args),
}

/// Runs to the end.
pub fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    let kafka = Kafka::connect(&config.kafka, &config.process.group, "bad", args.timeout)?;
    match &args.action {
        Action::List(args) => list::run(args, &kafka, config),
        Action::Show(args) => show::run(args, &kafka, config),
        Action::Stats(args) => stats::run(args, &kafka, config),
    }
}

/// What of `bad_data` is to be read for a choice.
pub(super) fn ranges(
    kafka: &Kafka,
    topic: &str,
    choice: &Choice,
    window: Window,
) -> Result<Vec<Range>, Failure> {
    let count = kafka.partitions(&[topic])?;
    let partitions: Vec<Partition> = (0..count).filter(|partition| choice.may_be_in(*partition)).collect();
    choice.check(count).map_err(Failure::settings)?;
    let ranges = kafka.settled(topic, &partitions)?;
    let ranges = match window.since {
        Some(since) => kafka.since(topic, ranges, since)?,
        None => ranges,
    };
    let from = choice.offset.unwrap_or(0);
    Ok(ranges
        .into_iter()
        .map(|range| Range { start: range.start.max(from).min(range.end.max(range.start)), ..range })
        .collect())
}

/// Hands every chosen record to `each`.
fn read(kafka: &Kafka, config: &Config, choice: &Choice, mut each: impl FnMut(Entry)) -> Result<(), Failure> {
    let window = choice.window();
    let topic = &config.topics.bad_data;
    let ranges = ranges(kafka, topic, choice, window)?;
    kafka.read(topic, &ranges, |partition, message| {
        let entry = Entry::read(partition, message);
        if choice.holds(&entry, window) {
            each(entry);
        }
    })
}
