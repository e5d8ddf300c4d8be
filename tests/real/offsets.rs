//! How far a group has come on staging.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

use crate::{
    cluster::Settings,
    gate::{PATIENCE, wait_for},
};

const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// A consumer of the group that never joins it.
pub fn observer(settings: &Settings) -> BaseConsumer {
    reader(settings, "read_uncommitted")
}

/// Another that waits for what is on its way: a transaction's offsets come after its commit is answered.
#[cfg(feature = "fault-points")]
pub fn patient_observer(settings: &Settings) -> BaseConsumer {
    reader(settings, "read_committed")
}

fn reader(settings: &Settings, isolation: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", settings.direct())
        .set("group.id", settings.group())
        .set("enable.auto.commit", "false")
        .set("isolation.level", isolation)
        .create()
        .unwrap()
}

/// The partitions of `topic`, each with the end of its log.
pub fn ends(consumer: &BaseConsumer, topic: &str) -> BTreeMap<i32, i64> {
    // A partition's leader may be moving.
    wait_for("ends of a topic", PATIENCE, || {
        let metadata = consumer.fetch_metadata(Some(topic), ASK_TIMEOUT).ok()?;
        let partitions = metadata.topics()[0].partitions();
        let ids = partitions.iter().map(rdkafka::metadata::MetadataPartition::id);
        let end = |id| Some((id, consumer.fetch_watermarks(topic, id, ASK_TIMEOUT).ok()?.1));
        ids.map(end).collect::<Option<BTreeMap<_, _>>>().filter(|ends| !ends.is_empty())
    })
}

/// The group's committed offsets; partitions without one are left out.
pub fn committed(consumer: &BaseConsumer, topic: &str, partitions: &[i32]) -> BTreeMap<i32, i64> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, *partition);
    }
    // The group's coordinator may be moving, or still reading its log.
    let ask = || consumer.committed_offsets(list.clone(), ASK_TIMEOUT).ok();
    let found = wait_for("answer of the group's coordinator", PATIENCE, ask);
    let elements = found.elements();
    let offsets = elements.iter().filter_map(|element| match element.offset() {
        Offset::Offset(offset) => Some((element.partition(), offset)),
        _ => None,
    });
    offsets.collect()
}

/// The ids in the metadata of the group's committed offsets.
pub fn claims(settings: &Settings, partitions: i32) -> Vec<String> {
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition(&settings.topic("staging"), partition);
    }
    let consumer = observer(settings);
    let ask = || consumer.committed_offsets(list.clone(), ASK_TIMEOUT).ok();
    let found = wait_for("answer of the group's coordinator", PATIENCE, ask);
    found.elements().iter().map(|element| element.metadata().to_owned()).collect()
}

/// Waits until the group has committed all that is on staging now.
pub fn wait_caught_up(settings: &Settings, patience: Duration) {
    let consumer = observer(settings);
    let staging = settings.topic("staging");
    let wanted = ends(&consumer, &staging);
    let partitions: Vec<i32> = wanted.keys().copied().collect();
    wait_for("group that has caught up", patience, || {
        let committed = committed(&consumer, &staging, &partitions);
        let reached =
            wanted.iter().all(|(partition, end)| committed.get(partition).copied().unwrap_or(0) >= *end);
        reached.then_some(())
    });
}
