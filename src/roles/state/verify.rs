//! `tickgate state verify`: the store beside the changelog, partition by partition.
//!
//! The rows are taken first, in pages that each are one snapshot and say its position; then the changelog is read
//! from its start to its end as it is by then, and `fold` holds each key against its own page's position. So nothing
//! is held or locked in a running instance, which goes on meanwhile, and no digest has to be asked for at a position
//! that has passed before the answer comes. Some partitions are taken at a time, so that memory follows
//! `RECORDS_AT_ONCE_MAX`, or the largest partition.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use rdkafka::error::KafkaError;
use serde::Serialize;

use super::fold::{Compared, Difference, Fold};
use super::source::Source;
use super::{At, Exit, Failure, reach, row, table};
use crate::config::Config;
use crate::journal::kafka::changelog::{ChangelogReader, Read, Slice};
use crate::journal::kafka::owners::Owners;
use crate::journal::kafka::{TopicEnds, client};
use crate::model::{Offset, Partition};
use crate::query::{PartitionState, RawQuestion};

/// How many changelog offsets are gone through at once, unless one partition alone has more. A key takes about 150
/// bytes.
const RECORDS_AT_ONCE_MAX: i64 = 1_000_000;
/// A state that is older may lack tombstones that are gone: the changelog's `delete.retention.ms`, less a day.
const TRUSTED_FOR_MS: i64 = 6 * 24 * 60 * 60 * 1000;
/// Between two looks at a last stable offset that has not come far enough.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Arguments of `tickgate state verify`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many differences to show
    #[arg(long, value_name = "N", default_value_t = 20)]
    show: usize,
    /// Prints the report as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

/// What became of all partitions.
#[derive(Debug, Serialize)]
struct Report {
    group: String,
    changelog: String,
    whole: bool,
    partitions: Vec<Verified>,
    /// The first of all partitions together.
    differences: Vec<Shown>,
}

/// What became of one partition.
#[derive(Debug, Serialize)]
struct Verified {
    #[serde(flatten)]
    state: PartitionState,
    changelog_end: Offset,
    rows: u64,
    /// Rows that compaction has left nothing to judge by.
    superseded: u64,
    different: u64,
    digest: String,
    expected_digest: String,
    /// The position is one that the changelog does not have.
    beyond_end: bool,
}

/// A row that is not as the changelog has it, in words.
#[derive(Debug, Serialize)]
struct Shown {
    partition: Partition,
    key: String,
    stored: String,
    expected: String,
}

/// A partition on its way.
struct Part {
    state: PartitionState,
    fold: Fold,
}

/// What is compared, and by what.
struct Verify<'a> {
    config: &'a Config,
    source: &'a Source,
    owners: Owners,
    changelog: String,
    timeout: Duration,
    show: usize,
}

pub(super) fn run(args: &Args, config: &Config, timeout: Duration) -> Result<Exit, Failure> {
    let source = Source::open(&args.at, config, timeout)?;
    let states = source.partitions()?;
    if states.is_empty() {
        return Err(Failure::settings(anyhow!(
            "no partition has any state here, expected some to verify; has the instance ever run?"
        )));
    }
    reach(&config.kafka, timeout)?;
    let base = client::base_config(&config.kafka, "state");
    let owners = Owners::new(base, &config.process.group).map_err(Failure::settings)?;
    let (changelog, show) = (config.changelog(), args.show);
    let verify = Verify { config, source: &source, owners, changelog, timeout, show };
    let report = verify.all(&states)?;
    let mut out = io::stdout().lock();
    let written = if args.json { table::line(&report, &mut out) } else { report.write(&mut out) };
    written.map_err(Failure::breach)?;
    Ok(if report.whole { Exit::Whole } else { Exit::Breach })
}

impl Verify<'_> {
    fn all(&self, states: &[PartitionState]) -> Result<Report, Failure> {
        let partitions: Vec<Partition> = states.iter().map(|state| state.partition).collect();
        let known = self.owners.partitions(&self.changelog).map_err(Failure::unreachable)?;
        if let Some(unknown) = partitions.iter().find(|partition| **partition >= known) {
            return Err(Failure::settings(anyhow!(
                "partition {unknown} has state here, but `{}` has {known} partitions; do the settings fit?",
                self.changelog
            )));
        }
        let sizes = self.ends(&partitions)?;
        let (mut lot, mut records) = (Vec::new(), 0);
        let mut report = Report {
            group: self.config.process.group.clone(),
            changelog: self.changelog.clone(),
            whole: true,
            partitions: Vec::new(),
            differences: Vec::new(),
        };
        for partition in partitions {
            let size = sizes.get(&partition).map_or(0, |ends| ends.high_watermark - ends.start);
            if !lot.is_empty() && records + size > RECORDS_AT_ONCE_MAX {
                self.lot(&lot, &mut report)?;
                lot.clear();
                records = 0;
            }
            records += size;
            lot.push(partition);
        }
        self.lot(&lot, &mut report)?;
        Ok(report)
    }

    fn lot(&self, partitions: &[Partition], report: &mut Report) -> Result<(), Failure> {
        let mut parts = BTreeMap::new();
        for partition in partitions {
            parts.insert(*partition, self.rows(*partition)?);
        }
        let ends = self.ends(partitions)?;
        let end = |partition: Partition| ends.get(&partition).map_or(0, |ends| ends.high_watermark);
        let is_within = |partition: Partition, part: &Part| part.fold.until() <= end(partition);
        let (mut within, beyond): (BTreeMap<_, _>, BTreeMap<_, _>) =
            parts.into_iter().partition(|(partition, part)| is_within(*partition, part));
        self.await_stable(&within)?;
        self.read(&mut within)?;
        for (partition, part) in beyond.into_iter().chain(within) {
            let may_lack_tombstones = part.state.age_ms > TRUSTED_FOR_MS;
            let beyond_end = !is_within(partition, &part);
            let compared = part.fold.finish(self.show, may_lack_tombstones);
            report.take(part.state, end(partition), &compared, beyond_end, self.show);
        }
        report.partitions.sort_by_key(|verified| verified.state.partition);
        Ok(())
    }

    /// All rows of a partition, page by page.
    fn rows(&self, partition: Partition) -> Result<Part, Failure> {
        let mut question = RawQuestion { limit: usize::MAX, after: None };
        let mut fold = Fold::default();
        loop {
            let page = self.source.rows(partition, &question)?;
            question.after = page.rows.last().map(|row| row.key.clone()).or(question.after);
            let rows = page.rows.into_iter().map(|row| (row.key, row.value)).collect();
            fold.page(rows, page.at.changelog_next, page.has_more);
            if !page.has_more {
                return Ok(Part { state: page.at, fold });
            }
        }
    }

    fn ends(&self, partitions: &[Partition]) -> Result<BTreeMap<Partition, TopicEnds>, Failure> {
        self.owners.ends(&self.changelog, partitions).map_err(Failure::unreachable)
    }

    /// A round is in the store as soon as its commit was answered; its markers may come later.
    fn await_stable(&self, parts: &BTreeMap<Partition, Part>) -> Result<(), Failure> {
        let partitions: Vec<Partition> = parts.keys().copied().collect();
        let deadline = Instant::now() + self.timeout;
        while !partitions.is_empty() {
            let stable =
                self.owners.last_stable(&self.changelog, &partitions).map_err(Failure::unreachable)?;
            let late = parts.iter().find(|(partition, part)| {
                stable.get(partition).is_none_or(|stable| *stable < part.fold.until())
            });
            let Some((partition, part)) = late else { break };
            if Instant::now() > deadline {
                return Err(Failure::unreachable(anyhow!(
                    "a transaction holds `{}`, partition {partition}, below {}, the position of the state; wait for \
                     its end or give more time",
                    self.changelog,
                    part.fold.until()
                )));
            }
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// Reads the changelog of all parts to its end.
    fn read(&self, parts: &mut BTreeMap<Partition, Part>) -> Result<(), Failure> {
        if parts.is_empty() {
            return Ok(());
        }
        let slices: Vec<Slice> = parts
            .iter()
            .map(|(partition, part)| Slice { partition: *partition, from: None, to: part.fold.until() })
            .collect();
        let base = client::base_config(&self.config.kafka, "state-changelog");
        let group = &self.config.process.group;
        let mut reader =
            ChangelogReader::start(base, group, &self.changelog, &slices).map_err(Failure::unreachable)?;
        let mut ended = 0;
        let mut last_progress = Instant::now();
        while !reader.is_done() {
            match reader.next(Duration::from_millis(200)) {
                Ok(Read::Row(row)) => {
                    last_progress = Instant::now();
                    if let Some(part) = parts.get_mut(&row.partition()) {
                        part.fold.record(row.offset(), row.key(), row.value());
                    }
                }
                Ok(Read::End(_)) => ended += 1,
                Ok(Read::Waiting) => {}
                Err(error) if client::is_unreachable(&error) => {
                    client::log_error(&error, "reading the changelog goes on when it can");
                }
                Err(error) => return Err(self.unread(&error)),
            }
            if last_progress.elapsed() > self.timeout {
                break;
            }
        }
        if ended < slices.len() {
            return Err(Failure::unreachable(anyhow!(
                "{} partitions of `{}` gave nothing more for {:?}, expected their ends; are all brokers up?",
                slices.len() - ended,
                self.changelog,
                self.timeout
            )));
        }
        Ok(())
    }

    fn unread(&self, error: &KafkaError) -> Failure {
        Failure::unreachable(anyhow!("reading `{}` failed: {error}", self.changelog))
    }
}

impl Report {
    fn take(
        &mut self,
        state: PartitionState,
        changelog_end: Offset,
        compared: &Compared,
        beyond_end: bool,
        show: usize,
    ) {
        self.whole &= compared.different == 0 && !beyond_end;
        if !beyond_end {
            let left = show.saturating_sub(self.differences.len());
            let partition = state.partition;
            let shown = compared.first.iter().take(left).map(|difference| Shown::new(partition, difference));
            self.differences.extend(shown);
        }
        self.partitions.push(Verified {
            state,
            changelog_end,
            rows: compared.rows,
            superseded: compared.superseded,
            different: if beyond_end { compared.rows } else { compared.different },
            digest: compared.stored.to_string(),
            expected_digest: compared.expected.to_string(),
            beyond_end,
        });
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let head =
            ["PARTITION", "SOURCE", "CHANGELOG", "ROWS", "NOT JUDGED", "DIFFERENT", "DIGEST", "EXPECTED"];
        let rows: Vec<_> = self.partitions.iter().map(Verified::cells).collect();
        table::table(&head, &rows, out)?;
        for verified in self.partitions.iter().filter(|verified| verified.beyond_end) {
            let PartitionState { partition, changelog_next, .. } = verified.state;
            writeln!(
                out,
                "partition {partition} stands at {changelog_next}, expected at most the end of `{}`, {}: was the \
                 changelog re-created?",
                self.changelog, verified.changelog_end
            )?;
        }
        for Shown { partition, key, stored, expected } in &self.differences {
            writeln!(out, "partition {partition}, {key}: found {stored}, expected {expected}")?;
        }
        let sum = |of: fn(&Verified) -> u64| self.partitions.iter().map(of).sum::<u64>();
        let (rows, different) = (sum(|verified| verified.rows), sum(|verified| verified.different));
        let not_judged = match sum(|verified| verified.superseded) {
            0 => String::new(),
            count => format!(", {count} not judged (the changelog has only later records of them)"),
        };
        let of = format!("{rows} rows in {} partitions", self.partitions.len());
        if self.whole {
            writeln!(out, "whole: {of} are as `{}` has them{not_judged}", self.changelog)
        } else {
            writeln!(
                out,
                "BREACH: {different} of {of} are not as `{}` has them{not_judged}; an instance that starts \
                 without the state directory rebuilds it",
                self.changelog
            )
        }
    }
}

impl Verified {
    fn cells(&self) -> Vec<String> {
        vec![
            self.state.partition.to_string(),
            table::source_name(self.state.source).to_owned(),
            self.state.changelog_next.to_string(),
            self.rows.to_string(),
            self.superseded.to_string(),
            self.different.to_string(),
            self.digest.clone(),
            if self.digest == self.expected_digest {
                "the same".to_owned()
            } else {
                self.expected_digest.clone()
            },
        ]
    }
}

impl Shown {
    fn new(partition: Partition, difference: &Difference) -> Self {
        let value = |value: &Option<Vec<u8>>| row::value(&difference.key, value.as_deref());
        Self {
            partition,
            key: row::key(&difference.key),
            stored: value(&difference.stored),
            expected: value(&difference.expected),
        }
    }
}
