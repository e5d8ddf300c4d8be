//! `tickgate state reset`: makes state and input agree again where the gate refuses to guess, or has it judge again
//! from a place of one's choice.
//!
//! One transaction writes a checkpoint row to the changelog and the same offset to the group, for each
//! partition. What is known of symbols stays. Unless the checkpoint itself is chosen, the epoch is raised:
//! outputs from then on carry `tg-epoch`, as inputs may be judged again or never.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tickgate_state::RowKey;

use super::{Exit, Failure, reach, table};
use crate::config::Config;
use crate::journal::kafka::changelog::{ChangelogReader, Read, Slice};
use crate::journal::kafka::owners::Owners;
use crate::journal::kafka::producer::{Outgoing, RoundProducer, Trouble};
use crate::journal::kafka::{TopicEnds, client};
use crate::model::{CheckpointRow, Offset, Partition, WallTime};

/// Arguments of `tickgate state reset`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// Only these partitions; all where none is named
    #[arg(long = "partition")]
    partitions: Vec<Partition>,
    /// Says what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Where to go on: one of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// Where to go on
    #[arg(long, value_enum)]
    to: Option<To>,
    /// At this offset of the partitions that are named
    #[arg(long, value_name = "OFFSET", requires = "partitions", allow_negative_numbers = true)]
    to_offset: Option<Offset>,
    /// At the first record that staging's broker took at this time or later, as in `2026-11-22T14:00:00Z`; at the
    /// end where there is none
    #[arg(long, value_name = "TIME", value_parser = wall_time)]
    to_time: Option<WallTime>,
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

/// What of Kafka decides about one partition.
struct Found {
    committed: Option<Offset>,
    checkpoint: Option<CheckpointRow>,
    ends: TopicEnds,
    /// The first offset at or after the wanted time; none if there is none, or no time is wanted.
    at_time: Option<Offset>,
}

/// What becomes of one partition.
#[derive(Debug)]
struct Change {
    partition: Partition,
    committed: Option<Offset>,
    checkpoint: Option<CheckpointRow>,
    /// Of staging.
    start: Offset,
    row: CheckpointRow,
}

pub(super) fn run(args: &Args, config: &Config, timeout: Duration) -> Result<Exit, Failure> {
    let deadline = Instant::now() + timeout;
    reach(&config.kafka, timeout)?;
    let all: Vec<Partition> = (0..config.topics.partitions).collect();
    if let Some(unknown) = args.partitions.iter().find(|partition| !all.contains(partition)) {
        return Err(Failure::settings(anyhow!(
            "--partition {unknown}: expected a partition of staging, 0 to {}",
            all.len() - 1
        )));
    }
    let mut chosen = if args.partitions.is_empty() { all } else { args.partitions.clone() };
    chosen.sort_unstable();
    chosen.dedup();
    let base = || client::base_config(&config.kafka, "state");
    let owners = Owners::new(base(), &config.process.group).map_err(Failure::settings)?;
    if owners.members(&config.process.group).map_err(Failure::unreachable)? > 0 {
        return Err(has_members(config));
    }
    expect_nobody(&owners, config, &chosen)?;
    let changes = plan(config, &owners, &chosen, &args.place, deadline)?;
    expect_nobody(&owners, config, &chosen)?;
    show(&changes, args.dry_run, &mut io::stdout().lock()).map_err(Failure::breach)?;
    if !args.dry_run {
        write(config, &owners, &changes)?;
    }
    Ok(Exit::Whole)
}

fn has_members(config: &Config) -> Failure {
    Failure::settings(anyhow!(
        "group `{}` has members, expected none: stop every instance of `tickgate process` first",
        config.process.group
    ))
}

/// Refuses where the group has members of a protocol that does not list them.
fn expect_nobody(owners: &Owners, config: &Config, chosen: &[Partition]) -> Result<(), Failure> {
    let refuses = owners.refuses_strangers(&config.topics.staging, chosen).map_err(Failure::unreachable)?;
    if refuses { Err(has_members(config)) } else { Ok(()) }
}

fn wall_time(text: &str) -> Result<WallTime, String> {
    WallTime::parse(text).ok_or_else(|| {
        "expected a time as RFC 3339 has it, with an offset: `2026-11-22T14:00:00Z`".to_owned()
    })
}

fn plan(
    config: &Config,
    owners: &Owners,
    chosen: &[Partition],
    place: &Place,
    deadline: Instant,
) -> Result<Vec<Change>, Failure> {
    let (group, staging) = (&config.process.group, &config.topics.staging);
    let claims = owners.claims(staging, chosen).map_err(Failure::unreachable)?;
    for claim in claims.into_iter().filter_map(|(_, claim)| claim).filter(|claim| !claim.released) {
        owners.fence(&claim.transactional_id).map_err(Failure::unreachable)?;
    }
    let committed: BTreeMap<_, _> =
        owners.stable_offsets(staging, chosen).map_err(Failure::unreachable)?.into_iter().collect();
    let ends = owners.ends(staging, chosen).map_err(Failure::unreachable)?;
    let at_time = match place.to_time {
        Some(time) => owners.at_time(staging, chosen, time.0).map_err(Failure::unreachable)?,
        None => BTreeMap::new(),
    };
    let mut checkpoints = read_checkpoints(config, group, chosen, deadline)?;
    chosen
        .iter()
        .map(|partition| {
            let found = Found {
                committed: committed.get(partition).copied().flatten(),
                checkpoint: checkpoints.remove(partition),
                ends: *ends.get(partition).ok_or_else(|| {
                    Failure::settings(anyhow!(
                        "staging has no partition {partition}; does `topics.partitions` fit?"
                    ))
                })?,
                at_time: at_time.get(partition).copied(),
            };
            change(*partition, place, found)
        })
        .collect()
}

fn change(partition: Partition, place: &Place, found: Found) -> Result<Change, Failure> {
    let Found { committed, checkpoint, ends, at_time } = found;
    let missing = |what: &str| {
        Failure::breach(anyhow!(
            "partition {partition} has no {what} to go on from; choose `--to start` or `--to end`"
        ))
    };
    let next_offset = match (place.to_offset, place.to) {
        (Some(offset), _) => offset,
        (None, Some(To::Checkpoint)) => {
            checkpoint.as_ref().map(|row| row.next_offset).ok_or_else(|| missing("checkpoint"))?
        }
        (None, Some(To::Committed)) => committed.ok_or_else(|| missing("committed offset"))?,
        (None, Some(To::Start)) => ends.start,
        (None, Some(To::End)) => ends.high_watermark,
        // The one that is left is a time.
        (None, None) => at_time.unwrap_or(ends.high_watermark),
    };
    if next_offset > ends.high_watermark || next_offset < ends.start {
        return Err(Failure::breach(anyhow!(
            "partition {partition}: offset {next_offset} is not in staging, which has {} to {}; choose `--to start` \
             or `--to end`",
            ends.start,
            ends.high_watermark
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
    Ok(Change { partition, committed, checkpoint, start: ends.start, row })
}

impl Change {
    /// Offsets that are read once more, and offsets that nobody will have read. Both are bounds: markers of
    /// transactions take offsets too.
    fn consequences(&self) -> (i64, i64) {
        // What is in the state counts; where that is unknown, what the group has committed; else nothing was read.
        let read = self.checkpoint.as_ref().map(|row| row.next_offset).or(self.committed);
        let read = read.unwrap_or(self.start).max(self.start);
        let moved = self.row.next_offset - read;
        ((-moved).max(0), moved.max(0))
    }
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

fn show(changes: &[Change], dry_run: bool, out: &mut impl Write) -> io::Result<()> {
    let head = ["PARTITION", "COMMITTED", "CHECKPOINT", "GOES ON AT", "EPOCH", "JUDGED AGAIN", "LEFT OUT"];
    let cells = |change: &Change| {
        let (again, left_out) = change.consequences();
        vec![
            change.partition.to_string(),
            table::text(change.committed),
            table::text(change.checkpoint.as_ref().map(|row| row.next_offset)),
            change.row.next_offset.to_string(),
            change.row.epoch.to_string(),
            again.to_string(),
            left_out.to_string(),
        ]
    };
    table::table(&head, &changes.iter().map(cells).collect::<Vec<_>>(), out)?;
    let consequences = changes.iter().map(Change::consequences);
    let (again, left_out) = consequences.fold((0, 0), |(one, other), (more, yet)| (one + more, other + yet));
    if again > 0 {
        writeln!(out, "at most {again} records are judged again; their outputs carry the new epoch")?;
    }
    if left_out > 0 {
        writeln!(out, "at most {left_out} records are left out: they get no output")?;
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
    let now_ms = WallTime::now().0;
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

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: TopicEnds = TopicEnds { start: 10, last_stable: 100, high_watermark: 100 };

    fn found(committed: Option<Offset>, checkpoint: Option<Offset>, at_time: Option<Offset>) -> Found {
        let checkpoint = checkpoint.map(|next_offset| CheckpointRow {
            next_offset,
            epoch: 4,
            fingerprint: 9,
            input_time: Some(1),
        });
        Found { committed, checkpoint, ends: ENDS, at_time }
    }

    fn place(to: Option<To>, to_offset: Option<Offset>) -> Place {
        let to_time = if to.is_none() && to_offset.is_none() { Some(WallTime(0)) } else { None };
        Place { to, to_offset, to_time }
    }

    /// Where it goes on, the epoch, and how many are judged again and left out.
    fn changed(place: &Place, found: Found) -> (Offset, u32, (i64, i64)) {
        let change = change(0, place, found).unwrap();
        (change.row.next_offset, change.row.epoch, change.consequences())
    }

    #[test]
    fn every_place_says_what_it_costs() {
        let all = || found(Some(60), Some(70), Some(40));
        assert_eq!(changed(&place(Some(To::Checkpoint), None), all()), (70, 4, (0, 0)));
        assert_eq!(changed(&place(Some(To::Committed), None), all()), (60, 5, (10, 0)));
        assert_eq!(changed(&place(Some(To::Start), None), all()), (10, 5, (60, 0)));
        assert_eq!(changed(&place(Some(To::End), None), all()), (100, 5, (0, 30)));
        assert_eq!(changed(&place(None, Some(15)), all()), (15, 5, (55, 0)));
        assert_eq!(changed(&place(None, None), all()), (40, 5, (30, 0)));
        assert_eq!(changed(&place(None, None), found(Some(60), Some(70), None)), (100, 5, (0, 30)));
        // Without a checkpoint the group's own word counts, without that nothing was read; nor is what is gone.
        assert_eq!(changed(&place(None, Some(50)), found(Some(60), None, None)), (50, 1, (10, 0)));
        assert_eq!(changed(&place(None, Some(50)), found(None, None, None)), (50, 1, (0, 40)));
        assert_eq!(changed(&place(Some(To::Start), None), found(None, Some(3), None)), (10, 5, (0, 0)));
    }

    #[test]
    fn what_staging_does_not_have_is_refused() {
        for offset in [9, 101, -1, Offset::MAX] {
            let refused = change(7, &place(None, Some(offset)), found(None, None, None)).unwrap_err();
            assert_eq!(refused.exit, Exit::Breach);
            assert!(refused.to_string().contains("partition 7: offset"), "{refused}");
        }
        let missing = change(7, &place(Some(To::Committed), None), found(None, Some(20), None)).unwrap_err();
        assert!(missing.to_string().contains("has no committed offset"), "{missing}");
    }
}
