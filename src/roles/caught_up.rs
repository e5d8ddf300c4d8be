//! Whether a group has committed all that a topic held when it was first asked: the end of a batch.
//!
//! Promises: it does not matter who of the group did it, so a batch may run beside members that stay. Ends are high
//! watermarks, so what an open transaction has appended is waited for: the last round of a gate that has just ended
//! may not be visible yet. Of what a transaction leaves behind where nothing can be read, nothing is waited for.

use std::collections::BTreeMap;
use std::time::Instant;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{Exit, Failure};
use crate::journal::kafka::owners::Owners;
use crate::model::{Offset, Partition};
use crate::telemetry::rarely::{REMINDER_EVERY, Rarely};

/// How many partitions a line of the log names.
const TOLD_MAX: usize = 8;

/// What is left to be committed.
pub(super) struct CaughtUp {
    topic: String,
    /// Partitions whose end is not reached yet; none before the ends are known.
    left: Option<BTreeMap<Partition, Left>>,
    reminders: Rarely,
}

#[derive(Debug, Clone, Copy)]
struct Left {
    end: Offset,
    /// What was committed at the last look.
    committed: Option<Offset>,
}

/// How a role ends that was told to stop: with 0, unless it was to end by itself before.
pub(super) fn stopped(was_to_catch_up: bool) -> Result<Exit, Failure> {
    if was_to_catch_up {
        return Err(Failure::breach(anyhow::anyhow!("stopped before the group had caught up")));
    }
    Ok(Exit::Whole)
}

impl CaughtUp {
    /// Of a topic whose ends are those at the first look.
    pub(super) fn with(topic: &str) -> Self {
        Self { topic: topic.to_owned(), left: None, reminders: Rarely::every(REMINDER_EVERY) }
    }

    /// Looks once; whether all is committed that was there at the first look. Blocks, as long as `owners` has
    /// patience.
    pub(super) fn look(&mut self, owners: &Owners) -> Result<bool, KafkaError> {
        let left = match &mut self.left {
            Some(left) => left,
            none => none.insert(ends(owners, &self.topic)?),
        };
        let of: Vec<Partition> = left.keys().copied().collect();
        if of.is_empty() {
            return Ok(true);
        }
        let mut still = Vec::new();
        for (partition, committed) in owners.committed_offsets(&self.topic, &of)? {
            let Some(known) = left.get_mut(&partition) else { continue };
            if committed.is_some_and(|committed| committed >= known.end) {
                left.remove(&partition);
            } else if known.committed == committed {
                still.push((partition, committed.unwrap_or(0), known.end));
            } else {
                known.committed = committed;
            }
        }
        // Where nothing moves, nothing may be left but what ends transactions, and the gate never commits that.
        for (partition, committed, end) in still {
            if !is_empty(owners, &self.topic, partition, committed, end)? {
                break;
            }
            left.remove(&partition);
        }
        if !left.is_empty()
            && let Some(_held_back) = self.reminders.admit(Instant::now())
        {
            let partitions = left.len();
            tracing::info!(partitions, "not caught up yet with `{}`: {}", self.topic, in_words(left));
        }
        Ok(left.is_empty())
    }
}

/// The first of what is left: `partition 3 at 7 of 9`.
fn in_words(left: &BTreeMap<Partition, Left>) -> String {
    let place = |(partition, left): (&Partition, &Left)| {
        format!("partition {partition} at {} of {}", left.committed.unwrap_or(0), left.end)
    };
    let told = left.iter().take(TOLD_MAX).map(place).collect::<Vec<_>>().join(", ");
    if left.len() > TOLD_MAX { format!("{told}, and {} more", left.len() - TOLD_MAX) } else { told }
}

/// Where the partitions end now that hold anything.
fn ends(owners: &Owners, topic: &str) -> Result<BTreeMap<Partition, Left>, KafkaError> {
    let all: Vec<Partition> = (0..owners.partitions(topic)?).collect();
    if all.is_empty() {
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
    }
    let found = owners.ends(topic, &all)?;
    let held = found.into_iter().filter(|(_, ends)| ends.start < ends.high_watermark);
    Ok(held
        .map(|(partition, ends)| (partition, Left { end: ends.high_watermark, committed: None }))
        .collect())
}

/// Whether nothing can be read between what is committed and `end`, and nothing will be.
fn is_empty(
    owners: &Owners,
    topic: &str,
    partition: Partition,
    committed: Offset,
    end: Offset,
) -> Result<bool, KafkaError> {
    let ends = owners.ends(topic, &[partition])?;
    let Some(ends) = ends.get(&partition) else { return Ok(false) };
    if ends.last_stable < end {
        return Ok(false);
    }
    let from = committed.max(ends.start);
    Ok(from >= end || owners.peek(topic, partition, from)?.is_none_or(|(offset, _)| offset >= end))
}
