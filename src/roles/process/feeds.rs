//! What the local store and staging say of whole feeds: the own partitions, and those that the replica follows.

use super::perform::key_partition;
use super::worker::Life;
use crate::core::input::{End, Failure, FeedPart};
use crate::model::{Offset, Partition, partition_of};

impl Life<'_> {
    /// Every partition's checkpoint and class rows, and before that its end where ends are asked for. Where the instance
    /// follows no replica of a partition that it does not own, the checkpoint stands still, and no feed is judged.
    pub(super) fn look_at_feeds(&self, staging: &str, ends: bool) -> Result<Vec<FeedPart>, Failure> {
        let partitions: Vec<Partition> = (0..self.shared.config.topics.partitions).collect();
        let mut found: Vec<End> = Vec::new();
        if ends {
            let committed: Result<Vec<(Partition, Offset)>, Failure> =
                partitions.iter().map(|partition| Ok((*partition, self.next_offset(*partition)?))).collect();
            found = self.look_at_ends(staging, &committed?);
        }
        let part = |partition: &Partition| {
            let end = found.iter().find(|end| end.partition == *partition).copied();
            let next_offset = self.next_offset(*partition)?;
            let classes = self.shared.store.class_rows(key_partition(*partition));
            let classes = classes.map_err(|error| self.store_failed(&error))?;
            Ok(FeedPart { partition: *partition, end, next_offset, classes })
        };
        partitions.iter().map(part).collect()
    }

    /// The classes whose home says that they are silent.
    pub(super) fn silent_feeds(&self) -> Result<Vec<Box<str>>, Failure> {
        let mut silent = Vec::new();
        for (_, class) in self.shared.settings.classes.feeds() {
            let home = partition_of(class.name.as_bytes(), self.shared.config.topics.partitions);
            let rows = self.shared.store.class_rows(key_partition(home));
            let rows = rows.map_err(|error| self.store_failed(&error))?;
            let is_it = |(name, row): &(Box<str>, _)| {
                let row: &tickgate_state::ClassRow = row;
                **name == *class.name && row.silent_from.is_some()
            };
            silent.extend(rows.into_iter().filter(is_it).map(|(name, _)| name));
        }
        Ok(silent)
    }

    fn next_offset(&self, partition: Partition) -> Result<Offset, Failure> {
        let row = self.shared.store.checkpoint(key_partition(partition));
        let row = row.map_err(|error| self.store_failed(&error))?;
        Ok(row.map_or(0, |row| row.next_offset))
    }
}
