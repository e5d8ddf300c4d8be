//! `tickgate audit`: proves from the topics that every input has exactly one output; with `--rows` also that
//! every record that was loaded has its one row (`table.rs`).
//!
//! Partitions are taken some at a time, so that memory follows `INPUTS_AT_ONCE_MAX` and not the topic. For
//! each lot, in this order, each step after the one it depends on:
//! 1. the *cut*: the group's committed offsets;
//! 2. the changelog up to its settled end; its checkpoint rows stand at the cut or, with a running group,
//!    beyond it;
//! 3. staging up to the further of the two;
//! 4. both outputs up to their settled ends, which are taken after the changelog was read: so they hold all
//!    that was committed with its checkpoint rows;
//! 5. the committed offsets once more, now waiting for pending ones: nothing visible may be beyond them.
//!
//! An end is settled when the last stable offset has reached what was the high watermark at first, as commit
//! markers arrive after the commit was answered. It is the end of a round, as a partition has one writer.
//!
//! What makes a finding a breach is `crate::audit`'s knowledge.

pub(super) mod kafka;
mod table;

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use self::kafka::{Kafka, Range};
use super::{Exit, Failure, classes::classes, process::rule_settings, reach};
use crate::{
    audit::{Count, Ends, Findings, PartitionCheck, Report, Scope, TopicNames, Unjudged},
    config::Config,
    core::{
        Classes,
        record::Record,
        rules::{RuleSettings, judge},
    },
    model::{Offset, Partition},
};

/// How many inputs are held at once, unless one partition alone has more. One takes about 90 bytes.
const INPUTS_AT_ONCE_MAX: i64 = 4_000_000;

/// Arguments of `tickgate audit`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How long to wait for brokers, for open transactions to end, and for the next record
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// How many breaches to show
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub show: usize,
    /// Also proves that every record of `stock_data` that the sink has committed has its one row in Cassandra; holds
    /// all of its records in memory, some 200 bytes each and their symbols: 100 MB for 500,000
    #[arg(long)]
    pub rows: bool,
    /// Prints the report as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Audits and prints the report on standard output.
pub fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    let report = audit(args, config)?;
    let text = if args.json { report.to_json() } else { report.to_string() };
    writeln!(io::stdout().lock(), "{text}").map_err(Failure::breach)?;
    Ok(if report.findings.is_whole() { Exit::Whole } else { Exit::Breach })
}

/// Audits the group that the settings name.
pub fn audit(args: &Args, config: &Config) -> Result<Report, Failure> {
    let kafka = Kafka::connect(&config.kafka, &config.process.group, "audit", args.timeout)?;
    let topics = TopicNames {
        staging: config.topics.staging.clone(),
        stock_data: config.topics.stock_data.clone(),
        bad_data: config.topics.bad_data.clone(),
        changelog: config.changelog(),
        stock_table: format!("{}.stock", config.sink.cassandra.keyspace),
        latest_table: format!("{}.latest", config.sink.cassandra.keyspace),
    };
    let partitions =
        kafka.partitions(&[&topics.staging, &topics.stock_data, &topics.bad_data, &topics.changelog])?;
    let audit = Audit {
        kafka,
        rules: rule_settings(config),
        classes: Arc::new(classes(config)),
        fingerprint: config.fingerprint(),
        topics,
        shown_max: args.show,
    };
    let mut findings = audit.all(partitions)?;
    let nothing_committed = findings.counted(Count::Partitions) == 0;
    if nothing_committed && findings.unjudged(Unjudged::InputsWithoutCut) > 0 {
        return Err(Failure::settings(anyhow::anyhow!(
            "the group `{}` has committed nothing of `{}`, so there is nothing to audit; check `process.group`",
            config.process.group,
            audit.topics.staging
        )));
    }
    if args.rows {
        findings.merge(table::check(args, config, partitions)?);
    }
    Ok(Report { group: config.process.group.clone(), topics: audit.topics, findings })
}

struct Audit {
    kafka: Kafka,
    topics: TopicNames,
    rules: RuleSettings,
    classes: Arc<Classes>,
    fingerprint: u64,
    shown_max: usize,
}

/// A partition under audit.
struct Lot {
    check: PartitionCheck,
    staging_start: Offset,
}

impl Audit {
    fn all(&self, partitions: i32) -> Result<Findings, Failure> {
        let mut findings = Findings::new(self.shown_max);
        let mut lot = Vec::new();
        let mut inputs = 0;
        for partition in 0..partitions {
            let range = self.kafka.retained(&self.topics.staging, partition)?;
            if !lot.is_empty() && inputs + range.len() > INPUTS_AT_ONCE_MAX {
                self.audit_lot(&lot, &mut findings)?;
                lot.clear();
                inputs = 0;
            }
            inputs += range.len();
            lot.push(range);
        }
        self.audit_lot(&lot, &mut findings)?;
        Ok(findings)
    }

    fn audit_lot(&self, staging: &[Range], findings: &mut Findings) -> Result<(), Failure> {
        let cuts = self.kafka.committed(&self.topics.staging, &partitions_of(staging))?;
        let mut lots = Vec::new();
        for (range, cut) in staging.iter().zip(cuts) {
            let Some(cut) = cut else {
                findings.skip(Unjudged::InputsWithoutCut, range.len().unsigned_abs());
                continue;
            };
            // Staging may have grown since the lots were planned.
            let range = self.kafka.retained(&self.topics.staging, range.partition)?;
            let check = PartitionCheck::new(Scope {
                partition: range.partition,
                cut,
                staging_end: range.end,
                staging: self.topics.staging.clone(),
                rules: self.rules.clone(),
                classes: self.classes.clone(),
                fingerprint: self.fingerprint,
                shown_max: self.shown_max,
            });
            lots.push(Lot { check, staging_start: range.start });
        }
        self.read_changelog(&mut lots)?;
        self.read_staging(&mut lots)?;
        let outputs_from = self.read_outputs(&mut lots)?;
        let partitions: Vec<_> = lots.iter().map(|lot| lot.check.partition()).collect();
        let committed = self.kafka.stable_committed(&self.topics.staging, &partitions)?;
        for ((lot, (stock_data_start, bad_data_start)), committed) in
            lots.into_iter().zip(outputs_from).zip(committed)
        {
            findings.merge(lot.check.finish(Ends { stock_data_start, bad_data_start, committed }));
        }
        Ok(())
    }

    fn read_changelog(&self, lots: &mut [Lot]) -> Result<(), Failure> {
        let ranges = self.settled(&self.topics.changelog, lots)?;
        self.kafka.read(&self.topics.changelog, &ranges, |partition, message| {
            check_of(lots, partition).row(message);
        })
    }

    fn read_staging(&self, lots: &mut [Lot]) -> Result<(), Failure> {
        let mut ranges = Vec::new();
        for Lot { check, staging_start } in lots.iter_mut() {
            let range =
                Range { partition: check.partition(), start: *staging_start, end: check.inputs_until() };
            check.expect_inputs(usize::try_from(range.len().min(INPUTS_AT_ONCE_MAX)).unwrap_or(0));
            ranges.push(range);
        }
        self.kafka.read(&self.topics.staging, &ranges, |partition, message| {
            let record = Record {
                partition,
                offset: message.offset,
                kafka_time: message.kafka_time,
                key: message.key,
                value: message.value,
            };
            check_of(lots, partition).input(message, &judge(&record, &self.rules));
        })?;
        for Lot { check, .. } in lots {
            let staging_start = self.kafka.retained(&self.topics.staging, check.partition())?.start;
            check.inputs_read(staging_start);
        }
        Ok(())
    }

    /// Reads both outputs; their first retained offsets, taken after that.
    fn read_outputs(&self, lots: &mut [Lot]) -> Result<Vec<(Offset, Offset)>, Failure> {
        let Self { kafka, topics, .. } = self;
        let stock_data = self.settled(&topics.stock_data, lots)?;
        let bad_data = self.settled(&topics.bad_data, lots)?;
        kafka.read(&topics.stock_data, &stock_data, |partition, message| {
            check_of(lots, partition).stock_data(message);
        })?;
        kafka.read(&topics.bad_data, &bad_data, |partition, message| {
            check_of(lots, partition).bad_data(message);
        })?;
        lots.iter()
            .map(|Lot { check, .. }| {
                let start = |topic: &str| kafka.retained(topic, check.partition()).map(|range| range.start);
                Ok((start(&topics.stock_data)?, start(&topics.bad_data)?))
            })
            .collect()
    }

    fn settled(&self, topic: &str, lots: &[Lot]) -> Result<Vec<Range>, Failure> {
        let partitions: Vec<_> = lots.iter().map(|lot| lot.check.partition()).collect();
        self.kafka.settled(topic, &partitions)
    }
}

fn partitions_of(ranges: &[Range]) -> Vec<Partition> {
    ranges.iter().map(|range| range.partition).collect()
}

fn check_of(lots: &mut [Lot], partition: Partition) -> &mut PartitionCheck {
    let place = lots
        .binary_search_by_key(&partition, |lot| lot.check.partition())
        .expect("only the lots' partitions are read, and lots are in their order");
    &mut lots[place].check
}
