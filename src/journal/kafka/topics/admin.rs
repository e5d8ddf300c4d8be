//! Asks the brokers, with one deadline for all requests of a command.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{
        AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewPartitions, NewTopic,
        ResourceSpecifier, TopicReplication, TopicResult,
    },
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    metadata::MetadataTopic,
    types::RDKafkaErrorCode,
};

use super::{
    TopicsError,
    layout::{TOPICS, Wanted},
    plan::{Found, FoundPartition, FoundSetting, Step},
};
use crate::{
    config::KafkaConfig,
    journal::kafka::client::{ClientError, Logged, base_config, wait_for_brokers},
};

/// How often the brokers are asked whether topics are there.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A client for one command.
pub(super) struct Admin<'a> {
    kafka: &'a KafkaConfig,
    client: AdminClient<Logged>,
    deadline: Instant,
}

impl<'a> Admin<'a> {
    pub(super) fn connect(kafka: &'a KafkaConfig, timeout: Duration) -> Result<Self, TopicsError> {
        let deadline = Instant::now() + timeout;
        wait_for_brokers(kafka, |_| Instant::now() < deadline)?;
        let client =
            base_config(kafka, "topics").create_with_context(Logged).map_err(ClientError::Settings)?;
        Ok(Self { kafka, client, deadline })
    }

    /// What each topic is; `None` where there is none.
    pub(super) async fn find(
        &self,
        wanted: &[Wanted; TOPICS],
    ) -> Result<[Option<Found>; TOPICS], TopicsError> {
        let mut partitions = self.partitions(wanted)?;
        let existing = wanted.iter().filter(|wanted| partitions.contains_key(&wanted.name));
        let specifiers = existing.map(|wanted| ResourceSpecifier::Topic(&wanted.name)).collect::<Vec<_>>();
        if specifiers.is_empty() {
            return Ok([const { None }; TOPICS]);
        }
        let doing = || "read the topics' settings".to_owned();
        let answers = self.client.describe_configs(&specifiers, &self.options()).await;
        let answers = answers.map_err(|cause| TopicsError::Request { doing: doing(), cause })?;
        let mut settings = HashMap::new();
        for (specifier, answer) in specifiers.iter().zip(answers) {
            let ResourceSpecifier::Topic(name) = specifier else { continue };
            let resource = answer.map_err(|code| TopicsError::Broker { doing: doing(), code })?;
            settings.insert((*name).to_owned(), settings_of(resource));
        }
        Ok(wanted.each_ref().map(|wanted| {
            let (partitions, settings) = (partitions.remove(&wanted.name)?, settings.remove(&wanted.name)?);
            Some(Found { partitions, settings })
        }))
    }

    /// Whether the group has committed an offset of any of the topic's partitions.
    pub(super) async fn has_committed(
        &self,
        group: &str,
        topic: &str,
        partitions: i32,
    ) -> Result<bool, TopicsError> {
        // Read uncommitted: an offset that waits for its transaction's end counts, and doesn't block.
        let consumer: BaseConsumer<Logged> = base_config(self.kafka, "topics")
            .set("group.id", group)
            .set("isolation.level", "read_uncommitted")
            .create_with_context(Logged)
            .map_err(ClientError::Settings)?;
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, partitions - 1);
        loop {
            let cause = match consumer.committed_offsets(asked.clone(), self.remaining()) {
                Ok(committed) => {
                    let is_committed = |offset| matches!(offset, Offset::Offset(_));
                    return Ok(committed.elements().iter().any(|element| is_committed(element.offset())));
                }
                Err(cause) => cause,
            };
            if !has_no_coordinator_yet(&cause) {
                let doing = format!("ask what the group `{group}` has committed");
                return Err(TopicsError::Request { doing, cause });
            }
            if Instant::now() >= self.deadline {
                return Err(TopicsError::NotInTime {
                    of: group.to_owned(),
                    awaited: "a coordinator".to_owned(),
                });
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Makes the missing topics; `false` when one of them was there already.
    pub(super) async fn create(
        &self,
        wanted: &[Wanted; TOPICS],
        steps: &[Step],
    ) -> Result<bool, TopicsError> {
        let created = wanted.iter().zip(steps).filter(|(_, step)| step.creates).map(|(wanted, _)| wanted);
        let topics = created.map(|wanted| {
            let topic =
                NewTopic::new(&wanted.name, wanted.partitions, TopicReplication::Fixed(wanted.replication));
            wanted.settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
        });
        let topics = topics.collect::<Vec<_>>();
        if topics.is_empty() {
            return Ok(true);
        }
        let answers = self.client.create_topics(&topics, &self.options()).await;
        is_all_done("create", answers, RDKafkaErrorCode::TopicAlreadyExists)
    }

    /// Adds partitions, to all topics in one request: they are to stay even. `false` when one of them had
    /// them already.
    pub(super) async fn add_partitions(&self, steps: &[Step]) -> Result<bool, TopicsError> {
        let grown = steps.iter().filter_map(|step| {
            let (_, to) = step.partitions?;
            Some(NewPartitions::new(&step.topic, usize::try_from(to).ok()?))
        });
        let grown = grown.collect::<Vec<_>>();
        if grown.is_empty() {
            return Ok(true);
        }
        let answers = self.client.create_partitions(&grown, &self.options()).await;
        is_all_done("add partitions to", answers, RDKafkaErrorCode::InvalidPartitions)
    }

    /// rdkafka has only the request that replaces all of a topic's own settings: those that aren't ours are
    /// sent along as they were.
    pub(super) async fn alter(
        &self,
        wanted: &[Wanted; TOPICS],
        found: &[Option<Found>; TOPICS],
        steps: &[Step],
    ) -> Result<(), TopicsError> {
        let mut altered = Vec::new();
        for ((wanted, found), step) in wanted.iter().zip(found).zip(steps) {
            let Some(found) = found.as_ref().filter(|_| !step.settings.is_empty()) else { continue };
            let others = found.settings.iter().filter(|(_, setting)| setting.is_own);
            let mut all =
                others.map(|(name, own)| (name.as_str(), own.value.as_str())).collect::<BTreeMap<_, _>>();
            all.extend(wanted.settings.iter().map(|(name, value)| (*name, value.as_str())));
            let config = AlterConfig::new(ResourceSpecifier::Topic(&wanted.name));
            altered.push(all.into_iter().fold(config, |config, (name, value)| config.set(name, value)));
        }
        if altered.is_empty() {
            return Ok(());
        }
        let doing = || "change the topics' settings".to_owned();
        let answers = self.client.alter_configs(&altered, &self.options()).await;
        for answer in answers.map_err(|cause| TopicsError::Request { doing: doing(), cause })? {
            answer.map_err(|(_, code)| TopicsError::Broker { doing: doing(), code })?;
        }
        Ok(())
    }

    /// Waits until what was made or enlarged can be used.
    pub(super) async fn wait_for_leaders(
        &self,
        wanted: &[Wanted; TOPICS],
        steps: &[Step],
    ) -> Result<(), TopicsError> {
        for (wanted_one, step) in wanted.iter().zip(steps) {
            if !step.creates && step.partitions.is_none() {
                continue;
            }
            let expected = usize::try_from(wanted_one.partitions).unwrap_or(usize::MAX);
            let is_led = |found: &Vec<FoundPartition>| {
                found.len() == expected && found.iter().all(|partition| partition.leader.is_some())
            };
            while !self.partitions(wanted)?.get(&wanted_one.name).is_some_and(is_led) {
                if Instant::now() >= self.deadline {
                    let awaited = format!("{expected} partitions with leaders");
                    return Err(TopicsError::NotInTime { of: wanted_one.name.clone(), awaited });
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
        Ok(())
    }

    /// The partitions of the wanted topics that exist. All topics are asked for: asking for one by name
    /// would create it where brokers do that.
    fn partitions(
        &self,
        wanted: &[Wanted; TOPICS],
    ) -> Result<HashMap<String, Vec<FoundPartition>>, TopicsError> {
        let metadata = self.client.inner().fetch_metadata(None, self.remaining());
        let metadata = metadata
            .map_err(|cause| TopicsError::Request { doing: "ask for the topics".to_owned(), cause })?;
        let is_wanted = |topic: &&MetadataTopic| wanted.iter().any(|wanted| wanted.name == topic.name());
        let topics = metadata.topics().iter().filter(is_wanted);
        Ok(topics.map(|topic| (topic.name().to_owned(), partitions_of(topic))).collect())
    }

    fn options(&self) -> AdminOptions {
        let remaining = self.remaining();
        AdminOptions::new().request_timeout(Some(remaining)).operation_timeout(Some(remaining))
    }

    /// Never zero: a request that is late still gets the chance to say so.
    fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(100))
    }
}

/// Brokers that were just started, or that lost one of them, settle who coordinates a group.
fn has_no_coordinator_yet(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    error.rdkafka_error_code().is_some_and(|code| {
        matches!(code, Code::NotCoordinator | Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress)
    })
}

fn partitions_of(topic: &MetadataTopic) -> Vec<FoundPartition> {
    let partition = |found: &rdkafka::metadata::MetadataPartition| FoundPartition {
        id: found.id(),
        leader: Some(found.leader()).filter(|leader| *leader >= 0),
        replicas: found.replicas().to_vec(),
        in_sync: found.isr().to_vec(),
    };
    let mut partitions = topic.partitions().iter().map(partition).collect::<Vec<_>>();
    partitions.sort_by_key(|partition| partition.id);
    partitions
}

fn settings_of(resource: ConfigResource) -> BTreeMap<String, FoundSetting> {
    let setting = |entry: rdkafka::admin::ConfigEntry| {
        let is_own = entry.source == ConfigSource::DynamicTopic;
        Some((entry.name, FoundSetting { value: entry.value?, is_own }))
    };
    resource.entries.into_iter().filter_map(setting).collect()
}

/// Whether all was done by this request; `already` is the answer where it was done before.
fn is_all_done(
    verb: &str,
    answers: KafkaResult<Vec<TopicResult>>,
    already: RDKafkaErrorCode,
) -> Result<bool, TopicsError> {
    let answers = answers.map_err(|cause| TopicsError::Request { doing: format!("{verb} topics"), cause })?;
    let mut is_all = true;
    for answer in answers {
        match answer {
            Ok(_) => {}
            Err((_, code)) if code == already => is_all = false,
            Err((topic, code)) => {
                return Err(TopicsError::Broker { doing: format!("{verb} `{topic}`"), code });
            }
        }
    }
    Ok(is_all)
}
