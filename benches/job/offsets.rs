//! How far a group has come: its committed offsets beside staging's ends.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::topics::STAGING;

/// How often committed offsets are asked for: the clock's resolution.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks for the offsets of one group on staging.
pub(crate) struct Offsets {
    client: BaseConsumer,
    partitions: i32,
}

impl Offsets {
    /// Belongs to the group's name only: it never joins.
    pub(crate) fn new(brokers: &str, group: &str, partitions: i32) -> anyhow::Result<Self> {
        // Read uncommitted: an answer never waits for a commit that is under way.
        let client = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", group)
            .set("isolation.level", "read_uncommitted")
            .create()?;
        Ok(Self { client, partitions })
    }

    /// What the group has committed, by partition, 0 where nothing is; `None` while the broker makes the group's
    /// coordinator.
    pub(crate) fn committed(&self) -> anyhow::Result<Option<Vec<i64>>> {
        match self.client.committed_offsets(self.list(Offset::Invalid)?, REQUEST_TIMEOUT) {
            Err(error) if is_passing(&error) => Ok(None),
            committed => Ok(Some(self.by_partition(&committed?))),
        }
    }

    /// Staging's high watermarks, by partition.
    pub(crate) fn ends(&self) -> anyhow::Result<Vec<i64>> {
        let ends = self.client.offsets_for_times(self.list(Offset::End)?, REQUEST_TIMEOUT)?;
        Ok(self.by_partition(&ends))
    }

    fn list(&self, offset: Offset) -> anyhow::Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition_offset(STAGING, partition, offset)?;
        }
        Ok(list)
    }

    fn by_partition(&self, list: &TopicPartitionList) -> Vec<i64> {
        let offset = |partition| match list.find_partition(STAGING, partition).map(|found| found.offset()) {
            Some(Offset::Offset(offset)) => offset,
            _ => 0,
        };
        (0..self.partitions).map(offset).collect()
    }
}

fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    error.rdkafka_error_code().is_some_and(|code| {
        matches!(code, NotCoordinator | CoordinatorNotAvailable | CoordinatorLoadInProgress)
    })
}
