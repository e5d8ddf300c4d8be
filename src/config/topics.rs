//! `[topics]`

use std::time::Duration;

use super::{legal, reader::Section};

/// How much larger than staging's largest message an output may be: room for the headers that tickgate adds.
pub const OUTPUT_ROOM_BYTES: u32 = 64 * 1024;

/// Names and shape of the topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicsConfig {
    /// `staging`: the topic that is checked. Default: `staging`.
    pub staging: String,
    /// `stock_data`: where good records go. Default: `stock_data`.
    pub stock_data: String,
    /// `bad_data`: where all others go, and the events. Default: `bad_data`.
    pub bad_data: String,
    /// `partitions` of each of the topics: 1 to 10000. Default: 12.
    pub partitions: i32,
    /// `replication`: copies of each partition. From 3 on, writes wait for 2 of them. Default: 3.
    pub replication: i32,
    /// `staging_retention`. Default: `3d`.
    pub staging_retention: Duration,
    /// `stock_data_retention`. Default: `3d`.
    pub stock_data_retention: Duration,
    /// `bad_data_retention`. Default: `30d`.
    pub bad_data_retention: Duration,
    /// `max_message_bytes`: the largest message of staging; outputs may have 64 KiB more. Default: 1048588,
    /// Kafka's own.
    pub max_message_bytes: u32,
}

impl TopicsConfig {
    /// The largest message of `bad_data`, `stock_data` and of producers to them, in bytes.
    pub fn max_output_bytes(&self) -> u32 {
        self.max_message_bytes + OUTPUT_ROOM_BYTES
    }

    /// The largest message of the sink's dead letters, in bytes: a record of `stock_data` and why it is there.
    pub fn max_dead_letter_bytes(&self) -> u32 {
        self.max_output_bytes() + OUTPUT_ROOM_BYTES
    }

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let retentions = Duration::from_mins(1)..=Duration::from_hours(24) * 3650;
        let topics = Self {
            staging: section.legal_text("staging", "staging", legal::TOPIC, legal::is_topic),
            stock_data: section.legal_text("stock_data", "stock_data", legal::TOPIC, legal::is_topic),
            bad_data: section.legal_text("bad_data", "bad_data", legal::TOPIC, legal::is_topic),
            partitions: section.number("partitions", 12, 1..=10_000),
            replication: section.number("replication", 3, 1..=100),
            staging_retention: section.duration("staging_retention", "3d", retentions.clone()),
            stock_data_retention: section.duration("stock_data_retention", "3d", retentions.clone()),
            bad_data_retention: section.duration("bad_data_retention", "30d", retentions),
            max_message_bytes: section.number("max_message_bytes", 1_048_588, 10_000..=100_000_000),
        };
        let others = [("stock_data", &topics.stock_data), ("bad_data", &topics.bad_data)];
        for (index, (name, topic)) in others.into_iter().enumerate() {
            if *topic == topics.staging || others[..index].iter().any(|(_, other)| *other == topic) {
                section.reject_together(
                    name,
                    format!("`{topic}`"),
                    "a topic that isn't another's name already",
                );
            }
        }
        topics
    }
}
