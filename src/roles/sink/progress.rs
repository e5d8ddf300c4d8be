//! The partitions that this member reads: how far each is taken, done and committed. Pure.

use std::collections::BTreeMap;

use super::offsets::Standing;
use super::prefix::Prefix;
use crate::model::{Offset, Partition};

/// All partitions that are assigned.
#[derive(Debug, Default)]
pub(super) struct Progress {
    parts: BTreeMap<Partition, Part>,
}

#[derive(Debug)]
struct Part {
    prefix: Prefix,
    /// What the group has committed, as far as is known here.
    committed: Option<Offset>,
    /// The last stable offset when it was last asked for.
    end: Offset,
    /// Nothing was read since the end was met.
    is_at_end: bool,
}

/// Where reading can't begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoStart {
    /// Records went before they were loaded.
    #[error(
        "partition {partition} of `{topic}` begins at {start}, and the group `{group}` has committed {committed}: \
         up to {lost} records are gone that were never loaded; `--accept-loss` goes on without them"
    )]
    Lost { topic: String, group: String, partition: Partition, start: Offset, committed: Offset, lost: i64 },
    /// The offset belongs to another log.
    #[error(
        "partition {partition} of `{topic}` ends at {end}, and the group `{group}` has committed {committed}: \
         the topic is not the one that was loaded; name another `sink.group`"
    )]
    Beyond { topic: String, group: String, partition: Partition, end: Offset, committed: Offset },
}

impl Progress {
    /// Where to begin, for each partition.
    pub(super) fn starts(
        found: &[Standing],
        topic: &str,
        group: &str,
        accepts_loss: bool,
    ) -> Result<Vec<(Partition, Offset)>, NoStart> {
        let start = |standing: &Standing| {
            let Standing { partition, committed, start, high_watermark: end, .. } = *standing;
            let (topic, group) = (topic.to_owned(), group.to_owned());
            match committed {
                None => Ok((partition, start)),
                Some(committed) if committed > end => {
                    Err(NoStart::Beyond { topic, group, partition, end, committed })
                }
                Some(committed) if committed < start && !accepts_loss => {
                    let lost = start - committed;
                    Err(NoStart::Lost { topic, group, partition, start, committed, lost })
                }
                Some(committed) => Ok((partition, committed.max(start))),
            }
        };
        found.iter().map(start).collect()
    }

    /// Takes the place of whatever was assigned before.
    pub(super) fn begin(&mut self, starts: &[(Partition, Offset)], found: &[Standing]) {
        let part = |(partition, start): &(Partition, Offset)| {
            let standing = found.iter().find(|standing| standing.partition == *partition);
            let part = Part {
                prefix: Prefix::from(*start),
                committed: standing.and_then(|standing| standing.committed),
                end: standing.map_or(0, |standing| standing.last_stable),
                is_at_end: false,
            };
            (*partition, part)
        };
        self.parts = starts.iter().map(part).collect();
    }

    /// Nothing is assigned any more.
    pub(super) fn clear(&mut self) {
        self.parts.clear();
    }

    /// How many partitions are assigned.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// Takes a record in; `false` when it is nobody's work here.
    pub(super) fn take(&mut self, partition: Partition, offset: Offset) -> bool {
        self.parts.get_mut(&partition).is_some_and(|part| {
            part.is_at_end = false;
            part.prefix.take(offset)
        })
    }

    /// A record needs nothing more.
    pub(super) fn done(&mut self, partition: Partition, offset: Offset) {
        if let Some(part) = self.parts.get_mut(&partition) {
            part.prefix.done(offset);
        }
    }

    /// A partition was read to its end, which lies at or beyond every end that was known before.
    pub(super) fn met_end(&mut self, partition: Partition) {
        if let Some(part) = self.parts.get_mut(&partition) {
            part.is_at_end = true;
            part.prefix.reach(part.end);
        }
    }

    /// Takes in the last stable offsets, and says from where partitions are to be read again to meet their ends
    /// once more: what ends a transaction is no record, so without that the last one would never count as read.
    pub(super) fn know_ends(&mut self, ends: &BTreeMap<Partition, Offset>) -> Vec<(Partition, Offset)> {
        let mut again = Vec::new();
        for (partition, end) in ends {
            let Some(part) = self.parts.get_mut(partition) else { continue };
            part.end = part.end.max(*end);
            if part.is_at_end && part.prefix.is_done() && part.prefix.position() < part.end {
                part.is_at_end = false;
                again.push((*partition, part.prefix.position()));
            }
        }
        again
    }

    /// What is done and not committed.
    pub(super) fn to_commit(&self) -> Vec<(Partition, Offset)> {
        let moved = |(partition, part): (&Partition, &Part)| {
            let position = part.prefix.position();
            part.committed.is_none_or(|committed| committed < position).then_some((*partition, position))
        };
        self.parts.iter().filter_map(moved).collect()
    }

    /// These offsets were committed.
    pub(super) fn committed(&mut self, offsets: &[(Partition, Offset)]) {
        for (partition, offset) in offsets {
            if let Some(part) = self.parts.get_mut(partition) {
                part.committed = Some(*offset);
            }
        }
    }

    /// Whether all that was taken is done.
    pub(super) fn is_done(&self) -> bool {
        self.parts.values().all(|part| part.prefix.is_done())
    }

    /// Records that are not committed, over all partitions; markers among them count.
    pub(super) fn lag(&self) -> i64 {
        let lag = |part: &Part| (part.end - part.committed.unwrap_or(0)).max(0);
        self.parts.values().map(lag).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(committed: Option<Offset>) -> Standing {
        Standing { partition: 3, committed, start: 10, last_stable: 20, high_watermark: 22 }
    }

    fn starts(committed: Option<Offset>, accepts_loss: bool) -> Result<Vec<(Partition, Offset)>, NoStart> {
        Progress::starts(&[standing(committed)], "stock_data", "group", accepts_loss)
    }

    #[test]
    fn reading_begins_where_the_group_stands_and_never_passes_over_records_silently() {
        assert_eq!(starts(None, false), Ok(vec![(3, 10)]));
        assert_eq!(starts(Some(15), false), Ok(vec![(3, 15)]));
        assert_eq!(starts(Some(22), false), Ok(vec![(3, 22)]));
        assert!(matches!(starts(Some(7), false), Err(NoStart::Lost { lost: 3, .. })));
        assert_eq!(starts(Some(7), true), Ok(vec![(3, 10)]));
        assert!(matches!(starts(Some(23), true), Err(NoStart::Beyond { .. })));
    }

    #[test]
    fn a_marker_at_the_end_is_read_again_until_it_counts() {
        let (mut progress, found) = (Progress::default(), [standing(Some(18))]);
        progress.begin(&[(3, 18)], &found);
        assert!(progress.take(3, 18) && !progress.take(3, 18) && !progress.take(4, 0));
        progress.done(3, 18);
        assert_eq!(progress.to_commit(), [(3, 19)]);
        progress.met_end(3);
        assert_eq!(progress.to_commit(), [(3, 20)]);
        progress.committed(&[(3, 20)]);
        assert_eq!((progress.to_commit(), progress.lag()), (vec![], 0));
        // A round that had nothing for this partition but its marker.
        let ends = BTreeMap::from([(3, 21)]);
        assert_eq!(progress.know_ends(&ends), [(3, 20)]);
        assert_eq!(progress.know_ends(&ends), []);
        assert_eq!(progress.to_commit(), []);
        progress.met_end(3);
        assert_eq!(progress.to_commit(), [(3, 21)]);
    }

    #[test]
    fn an_end_that_was_asked_for_late_proves_nothing() {
        let (mut progress, found) = (Progress::default(), [standing(Some(18))]);
        progress.begin(&[(3, 18)], &found);
        assert!(progress.take(3, 18));
        assert_eq!(progress.know_ends(&BTreeMap::from([(3, 30)])), []);
        progress.done(3, 18);
        assert_eq!(progress.to_commit(), [(3, 19)]);
    }
}
