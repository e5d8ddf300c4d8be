//! The topics of one broker.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// The topic that everybody reads.
pub(crate) const STAGING: &str = "staging";

const TIMEOUT: Duration = Duration::from_secs(30);

/// Creates staging, and the topics that are written to.
pub(crate) fn create(brokers: &str, outputs: &[&str], partitions: i32) -> anyhow::Result<()> {
    create_with(brokers, &[STAGING], &[("message.timestamp.type", "LogAppendTime")], partitions)?;
    create_with(brokers, outputs, &[], partitions)
}

/// The changelog of a group, as tickgate and Kafka Streams both name it.
pub(crate) fn changelog(group: &str) -> String {
    format!("{group}-last_seen-changelog")
}

/// Creates the changelog of a group, and waits until the broker leads all of it.
pub(crate) fn create_changelog(brokers: &str, group: &str, partitions: i32) -> anyhow::Result<()> {
    let name = changelog(group);
    create_with(brokers, &[&name], &[("cleanup.policy", "compact")], partitions)?;
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let give_up = Instant::now() + TIMEOUT;
    for partition in 0..partitions {
        while let Err(error) = consumer.fetch_watermarks(&name, partition, TIMEOUT) {
            anyhow::ensure!(Instant::now() < give_up, "waiting for `{name}`: {error}");
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

fn create_with(
    brokers: &str,
    names: &[&str],
    settings: &[(&'static str, &'static str)],
    partitions: i32,
) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let topics: Vec<NewTopic<'_>> = names
        .iter()
        .map(|name| {
            let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
            settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let created = runtime.block_on(admin.create_topics(&topics, &AdminOptions::new()))?;
    for result in created {
        result.map_err(|(topic, code)| anyhow::anyhow!("creating `{topic}`: {code}"))?;
    }
    Ok(())
}
