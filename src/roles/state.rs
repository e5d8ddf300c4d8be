//! `tickgate state reset`: makes state and input agree again, where the gate refuses to guess.
//!
//! One transaction writes a checkpoint row to the changelog and the same offset to the group, for each
//! partition. What is known of symbols stays. Unless the checkpoint itself is chosen, the epoch is raised:
//! outputs from then on carry `tg-epoch`, as inputs may be judged again or never.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use tickgate_state::RowKey;

use super::{Exit, Failure, reach};
use crate::config::Config;
use crate::journal::kafka::changelog::{ChangelogReader, Read, Slice};
use crate::journal::kafka::owners::Owners;
use crate::journal::kafka::producer::{Outgoing, RoundProducer, Trouble};
use crate::journal::kafka::{TopicEnds, client};
use crate::model::{CheckpointRow, Offset, Partition};

/// Arguments of `tickgate state`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// How long to wait for brokers and their answers before ending with 3
    #[arg(long, global = true, default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Chooses where the gate goes on; every instance must have been stopped
    Reset {
        /// Where to go on
        #[arg(long, value_enum)]
        to: To,
        /// Only these partitions; all where none is named
        #[arg(long = "partition")]
        partitions: Vec<Partition>,
        /// Says what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum To {
    /// The changelog's checkpoint: nothing is judged twice or left out
    Checkpoint,
    /// The group's committed offset
    Committed,
    /// The first record that staging still has
    Start,
    /// The end of staging: what is there now is not judged
    End,
}

/// What becomes of one partition.
#[derive(Debug)]
struct Change {
    partition: Partition,
    committed: Option<Offset>,
    checkpoint: Option<CheckpointRow>,
    row: CheckpointRow,
}

/// Runs to the end.
pub fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    let Action::Reset { to, partitions, dry_run } = &args.action;
    let deadline = Instant::now() + args.timeout;
    reach(&config.kafka, args.timeout)?;
    let all: Vec<Partition> = (0..config.topics.partitions).collect();
    if let Some(unknown) = partitions.iter().find(|partition| !all.contains(partition)) {
        return Err(Failure::settings(anyhow!(
            "--partition {unknown}: expected a partition of staging, 0 to {}",
            all.len() - 1
        )));
    }
    let chosen = if partitions.is_empty() { all } else { partitions.clone() };
    let base = || client::base_config(&config.kafka, "state");
    let owners = Owners::new(base(), &config.process.group).map_err(Failure::settings)?;
    let members = owners.members(&config.process.group).map_err(Failure::unreachable)?;
    if members > 0 {
        return Err(Failure::settings(anyhow!(
            "group `{}` has {members} members, expected none: stop every instance of `tickgate process` first",
            config.process.group
        )));
    }
    let changes = plan(config, &owners, &chosen, *to, deadline)?;
    show(&changes, *dry_run).map_err(Failure::breach)?;
    if !dry_run {
        write(config, &owners, &changes)?;
    }
    Ok(Exit::Whole)
}

fn plan(
    config: &Config,
    owners: &Owners,
    chosen: &[Partition],
    to: To,
    deadline: Instant,
) -> Result<Vec<Change>, Failure> {
    let group = &config.process.group;
    let claims = owners.claims(&config.topics.staging, chosen).map_err(Failure::unreachable)?;
    for claim in claims.into_iter().filter_map(|(_, claim)| claim).filter(|claim| !claim.released) {
        owners.fence(&claim.transactional_id).map_err(Failure::unreachable)?;
    }
    let committed: BTreeMap<_, _> = owners
        .stable_offsets(&config.topics.staging, chosen)
        .map_err(Failure::unreachable)?
        .into_iter()
        .collect();
    let ends = owners.ends(&config.topics.staging, chosen).map_err(Failure::unreachable)?;
    let mut checkpoints = read_checkpoints(config, group, chosen, deadline)?;
    chosen
        .iter()
        .map(|partition| {
            let committed = committed.get(partition).copied().flatten();
            let checkpoint = checkpoints.remove(partition);
            let end = ends.get(partition).ok_or_else(|| {
                Failure::settings(anyhow!(
                    "staging has no partition {partition}; does `topics.partitions` fit?"
                ))
            })?;
            change(*partition, to, committed, checkpoint, end)
        })
        .collect()
}

fn change(
    partition: Partition,
    to: To,
    committed: Option<Offset>,
    checkpoint: Option<CheckpointRow>,
    end: &TopicEnds,
) -> Result<Change, Failure> {
    let missing = |what: &str| {
        Failure::breach(anyhow!(
            "partition {partition} has no {what} to go on from; choose `--to start` or `--to end`"
        ))
    };
    let next_offset = match to {
        To::Checkpoint => {
            checkpoint.as_ref().map(|row| row.next_offset).ok_or_else(|| missing("checkpoint"))?
        }
        To::Committed => committed.ok_or_else(|| missing("committed offset"))?,
        To::Start => end.start,
        To::End => end.high_watermark,
    };
    if next_offset > end.high_watermark || next_offset < end.start {
        return Err(Failure::breach(anyhow!(
            "partition {partition}: offset {next_offset} is not in staging, which has {} to {}; choose `--to start` \
             or `--to end`",
            end.start,
            end.high_watermark
        )));
    }
    let before = checkpoint.clone().unwrap_or(CheckpointRow {
        next_offset,
        epoch: 0,
        fingerprint: 0,
        input_time: None,
    });
    let keeps = checkpoint.as_ref().is_some_and(|row| row.next_offset == next_offset);
    let row = CheckpointRow {
        next_offset,
        epoch: if keeps { before.epoch } else { before.epoch.saturating_add(1) },
        fingerprint: before.fingerprint,
        input_time: if keeps { before.input_time } else { None },
    };
    Ok(Change { partition, committed, checkpoint, row })
}

/// The checkpoint rows, by reading the changelog once.
fn read_checkpoints(
    config: &Config,
    group: &str,
    chosen: &[Partition],
    deadline: Instant,
) -> Result<BTreeMap<Partition, CheckpointRow>, Failure> {
    let slices: Vec<_> =
        chosen.iter().map(|partition| Slice { partition: *partition, from: None, to: 0 }).collect();
    let base = client::base_config(&config.kafka, "state-changelog");
    let mut reader =
        ChangelogReader::start(base, group, &config.changelog(), &slices).map_err(Failure::unreachable)?;
    let key = RowKey::Checkpoint.encode();
    let mut checkpoints = BTreeMap::new();
    while !reader.is_done() {
        match reader.next(Duration::from_millis(200)).map_err(Failure::unreachable)? {
            Read::Row(row) if row.key() == key => {
                if let Some(value) = row.value() {
                    checkpoints
                        .insert(row.partition(), CheckpointRow::decode(value).map_err(Failure::breach)?);
                }
            }
            Read::Waiting if Instant::now() > deadline => {
                return Err(Failure::unreachable(anyhow!(
                    "the changelog could not be read in time; try a longer --timeout"
                )));
            }
            Read::Row(_) | Read::End(_) | Read::Waiting => {}
        }
    }
    Ok(checkpoints)
}

fn show(changes: &[Change], dry_run: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:>9}  {:>12}  {:>12}  {:>12}  {:>5}",
        "PARTITION", "COMMITTED", "CHECKPOINT", "GOES ON AT", "EPOCH"
    )?;
    let text = |offset: Option<Offset>| offset.map_or("-".to_owned(), |offset| offset.to_string());
    for change in changes {
        writeln!(
            out,
            "{:>9}  {:>12}  {:>12}  {:>12}  {:>5}",
            change.partition,
            text(change.committed),
            text(change.checkpoint.as_ref().map(|row| row.next_offset)),
            change.row.next_offset,
            change.row.epoch
        )?;
    }
    if dry_run {
        writeln!(out, "nothing was changed (--dry-run)")?;
    }
    Ok(())
}

/// All checkpoints and offsets in one transaction.
fn write(config: &Config, owners: &Owners, changes: &[Change]) -> Result<(), Failure> {
    let failure = |trouble: Trouble| match trouble {
        Trouble::Unknown(reason) => Failure::unreachable(anyhow!(
            "nobody knows whether the reset took place ({reason}); run it again"
        )),
        Trouble::Abort(reason) | Trouble::Fatal(reason) | Trouble::Refused { reason, .. } => {
            Failure::unreachable(anyhow!("the reset did not take place: {reason}"))
        }
        Trouble::Interrupted => Failure::unreachable(anyhow!("interrupted")),
    };
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let id = format!("{}.reset.0.{now_ms}.1", config.process.group);
    let producer = RoundProducer::start(
        client::base_config(&config.kafka, "state-reset"),
        &id,
        Duration::from_secs(30),
        1_000_000,
        Box::new(|| true),
    )
    .map_err(failure)?;
    let metadata = owners.metadata().ok_or_else(|| Failure::unreachable(anyhow!("no group metadata")))?;
    producer.begin().map_err(failure)?;
    let (key, changelog) = (RowKey::Checkpoint.encode(), config.changelog());
    for change in changes {
        let value = change.row.encode();
        let outgoing = Outgoing {
            topic: &changelog,
            partition: change.partition,
            key: Some(&key),
            value: Some(&value),
            time: None,
            headers: None,
            tag: 0,
            marks_position: false,
        };
        producer.send(outgoing).map_err(failure)?;
    }
    let offsets: Vec<_> =
        changes.iter().map(|change| (change.partition, change.row.next_offset, true)).collect();
    producer.send_offsets(&config.topics.staging, &offsets, &metadata).map_err(failure)?;
    producer.drain().map_err(failure)?;
    producer.commit().map_err(failure)
}
