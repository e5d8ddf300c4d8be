//! What the topics are to be.

use std::{collections::BTreeMap, time::Duration};

use crate::config::Config;

/// Kafka's largest number: no limit.
const UNLIMITED: &str = "9223372036854775807";

/// One topic as the settings want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// How many partitions; the same for all.
    pub partitions: i32,
    /// How many copies of each.
    pub replication: i32,
    /// The topic's own settings that tickgate depends on.
    pub settings: BTreeMap<&'static str, String>,
}

/// How many topics there are.
pub const TOPICS: usize = 5;

/// The topics: staging, `stock_data`, `bad_data`, changelog, dead letters.
pub fn layout(config: &Config) -> [Wanted; TOPICS] {
    let topics = &config.topics;
    let wanted = |name: &str, own: &[(&'static str, String)]| {
        // Two copies of each write, where there are enough to lose one and go on. Said in any case: a
        // broker's default of 2 would block a topic with a single copy.
        let in_sync = if topics.replication >= 3 { "2" } else { "1" };
        let common = [("min.insync.replicas", in_sync.to_owned())];
        let settings = own.iter().cloned().chain(common).collect();
        Wanted {
            name: name.to_owned(),
            partitions: topics.partitions,
            replication: topics.replication,
            settings,
        }
    };
    [
        wanted(&topics.staging, &staging(topics.staging_retention, topics.max_message_bytes)),
        wanted(&topics.stock_data, &output(topics.stock_data_retention, topics.max_output_bytes())),
        wanted(&topics.bad_data, &output(topics.bad_data_retention, topics.max_output_bytes())),
        wanted(&config.changelog(), &changelog(topics.max_output_bytes())),
        wanted(&config.sink.dead_letter, &output(topics.bad_data_retention, topics.max_dead_letter_bytes())),
    ]
}

fn staging(retention: Duration, max_bytes: u32) -> Vec<(&'static str, String)> {
    vec![
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", retention.as_millis().to_string()),
        // A record's Kafka time is the broker's: producers' clocks don't count.
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("max.message.bytes", max_bytes.to_string()),
    ]
}

/// Outputs carry their inputs' record times, which may be long past in a replay: no limit refuses them.
fn output(retention: Duration, max_bytes: u32) -> Vec<(&'static str, String)> {
    vec![
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", retention.as_millis().to_string()),
        ("message.timestamp.type", "CreateTime".to_owned()),
        ("message.timestamp.before.max.ms", UNLIMITED.to_owned()),
        ("message.timestamp.after.max.ms", UNLIMITED.to_owned()),
        ("max.message.bytes", max_bytes.to_string()),
    ]
}

fn changelog(max_bytes: u32) -> Vec<(&'static str, String)> {
    let days = |days: u64| Duration::from_hours(24 * days).as_millis().to_string();
    vec![
        ("cleanup.policy", "compact".to_owned()),
        // A store that was away for longer is rebuilt: it may have missed a tombstone.
        ("delete.retention.ms", days(7)),
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        // The active segment is never compacted, so it must not stay active for long.
        ("segment.ms", Duration::from_hours(1).as_millis().to_string()),
        ("segment.bytes", (64 * 1024 * 1024).to_string()),
        ("min.cleanable.dirty.ratio", "0.3".to_owned()),
        ("max.compaction.lag.ms", days(1)),
        // A symbol may be as long as a message of staging.
        ("max.message.bytes", max_bytes.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_have_room_and_copies_follow_replication() {
        let load = |replication: &str| {
            let variable = ("TICKGATE_TOPICS__REPLICATION".to_owned(), replication.to_owned());
            layout(&Config::load(None, [variable]).unwrap())
        };
        let topics = load("3");
        let names = topics.each_ref().map(|topic| topic.name.as_str());
        assert_eq!(names[..4], ["staging", "stock_data", "bad_data", "tickgate-last_seen-changelog"]);
        assert_eq!(names[4], "stock_data_dead");
        let bytes = |topic: &Wanted| topic.settings["max.message.bytes"].parse::<u32>().unwrap();
        assert_eq!(bytes(&topics[1]), bytes(&topics[0]) + 65_536);
        assert_eq!(topics[2].settings["retention.ms"], "2592000000");
        assert_eq!(topics[3].settings["delete.retention.ms"], "604800000");
        assert!(topics.iter().all(|topic| topic.settings["min.insync.replicas"] == "2"));
        assert!(load("2").iter().all(|topic| topic.settings["min.insync.replicas"] == "1"));
    }
}
