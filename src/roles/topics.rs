//! `tickgate topics`: makes the topics what the settings say, or says what they are.

use std::{
    io::{self, Write},
    time::Duration,
};

use tokio::runtime::Handle;

use super::{Exit, Failure};
use crate::{
    config::Config,
    journal::kafka::topics::{self, Described, Step, TopicsError},
};

/// Arguments of `tickgate topics`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// How long to wait for brokers and their answers before ending with 3.
    #[arg(long, global = true, default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Creates or changes staging, `stock_data`, `bad_data` and the changelog
    Apply,
    /// Shows the topics; ends with 1 if one of them deviates from the settings or isn't well
    Describe {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Lists each partition
        #[arg(long)]
        partitions: bool,
    },
}

/// Runs to the end; there is nothing to be stopped in order.
pub fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    match args.action {
        Action::Apply => {
            let steps = Handle::current().block_on(topics::apply(config, args.timeout)).map_err(failure)?;
            for step in &steps {
                tell(step, config, &mut out).map_err(Failure::breach)?;
            }
            Ok(Exit::Whole)
        }
        Action::Describe { json, partitions } => {
            let described =
                Handle::current().block_on(topics::describe(config, args.timeout)).map_err(failure)?;
            let written = if json {
                serde_json::to_writer_pretty(&mut out, &described)
                    .map_err(io::Error::from)
                    .and_then(|()| writeln!(out))
            } else {
                table(&described, partitions, &mut out)
            };
            written.map_err(Failure::breach)?;
            let is_whole = described.iter().all(|topic| topic.deviations.is_empty());
            Ok(if is_whole { Exit::Whole } else { Exit::Breach })
        }
    }
}

fn failure(error: TopicsError) -> Failure {
    if error.is_unreachable() { Failure::unreachable(error) } else { Failure::settings(error) }
}

fn tell(step: &Step, config: &Config, out: &mut impl Write) -> io::Result<()> {
    let topic = &step.topic;
    if step.creates {
        let (partitions, replication) = (config.topics.partitions, config.topics.replication);
        writeln!(out, "{topic}: created ({partitions} partitions, {replication} replicas)")?;
    }
    if let Some((from, to)) = step.partitions {
        writeln!(out, "{topic}: partitions {from} -> {to}")?;
    }
    for change in &step.settings {
        let from = change.from.as_deref().unwrap_or("unknown");
        writeln!(out, "{topic}: {} {from} -> {}", change.name, change.to)?;
    }
    if step.is_unchanged() {
        writeln!(out, "{topic}: unchanged")?;
    }
    for note in &step.notes {
        writeln!(out, "{topic}: left as it is: {note}")?;
    }
    Ok(())
}

fn table(topics: &[Described], lists_partitions: bool, out: &mut impl Write) -> io::Result<()> {
    let width = topics.iter().map(|topic| topic.topic.len()).max().unwrap_or(0).max("TOPIC".len());
    writeln!(
        out,
        "{:width$}  {:>10}  {:>7}  {:<10}  LEADERS (BROKER:PARTITIONS)",
        "TOPIC", "PARTITIONS", "IN SYNC", "RETENTION"
    )?;
    for topic in topics {
        let (name, count, retention) = (&topic.topic, topic.partitions.len(), topic.retention());
        let (in_sync, leaders) = (topic.in_sync(), topic.leaders());
        writeln!(out, "{name:width$}  {count:>10}  {in_sync:>7}  {retention:<10}  {leaders}")?;
        for deviation in &topic.deviations {
            writeln!(out, "  deviates: {deviation}")?;
        }
        for partition in topic.partitions.iter().filter(|_| lists_partitions) {
            let leader = partition.leader.map_or("none".to_owned(), |leader| leader.to_string());
            let (number, replicas, in_sync) = (partition.partition, &partition.replicas, &partition.in_sync);
            writeln!(out, "  {number}: leader {leader}, replicas {replicas:?}, in sync {in_sync:?}")?;
        }
    }
    Ok(())
}
