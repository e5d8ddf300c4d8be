//! `tickgate topics`: what it makes, changes and refuses.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use serde_json::Value;

use crate::cluster::{Settings, cluster};

/// The machine may be busy with other tests.
const APPLY: [&str; 4] = ["topics", "apply", "--timeout", "2m"];
const CHANGELOG: &str = "last_seen-changelog";

fn create(name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", cluster().bootstrap()).create().unwrap();
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let topic = settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let created = runtime.block_on(admin.create_topics([&topic], &options)).unwrap();
    assert!(created.iter().all(Result::is_ok), "{created:?}");
}

fn commit(group: &str, topic: &str) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster().bootstrap())
        .set("group.id", group)
        .create()
        .unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, 1, Offset::Offset(0)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
}

fn describe(settings: &Settings, code: i32) -> Vec<Value> {
    let run = settings.run(&["topics", "describe", "--json", "--timeout", "2m"]).ended(code);
    serde_json::from_str(&run.out).unwrap()
}

fn lines(text: &str, ending: &str) -> usize {
    text.lines().filter(|line| line.ends_with(ending)).count()
}

#[test]
fn applying_twice_makes_the_topics_and_then_changes_nothing() {
    let settings = Settings::of("topics-twice").with("TOPICS__PARTITIONS", "3");
    assert!(describe(&settings, 1).iter().all(|topic| topic["partitions"].as_array().unwrap().is_empty()));
    let first = settings.run(&APPLY).ended(0);
    assert_eq!(lines(&first.out, ": created (3 partitions, 3 replicas)"), 5, "{}", first.out);
    let second = settings.run(&APPLY).ended(0);
    assert_eq!(lines(&second.out, ": unchanged"), 5, "{}", second.out);

    let topics = describe(&settings, 0);
    assert_eq!(topics[0]["settings"]["message.timestamp.type"], "LogAppendTime");
    assert_eq!(topics[1]["settings"]["message.timestamp.before.max.ms"], i64::MAX.to_string());
    assert_eq!(topics[3]["topic"], format!("topics-twice-{CHANGELOG}"));
    assert_eq!(topics[3]["settings"]["cleanup.policy"], "compact");
    for topic in &topics {
        assert_eq!(topic["settings"]["min.insync.replicas"], "2");
        for partition in topic["partitions"].as_array().unwrap() {
            assert_eq!(partition["replicas"].as_array().unwrap().len(), 3);
            assert!(partition["leader"].is_i64(), "{partition}");
        }
    }
    let table = settings.run(&["topics", "describe", "--partitions"]).ended(0);
    assert_eq!(table.out.matches(": leader ").count(), 15, "{}", table.out);
}

#[test]
fn a_changed_setting_is_changed_and_those_of_others_stay() {
    let settings =
        Settings::of("topics-alter").with("TOPICS__PARTITIONS", "2").with("TOPICS__REPLICATION", "1");
    let staging = settings.topic("staging");
    create(&staging, 2, &[("retention.ms", "1000000"), ("segment.ms", "7654321")]);
    let first = settings.run(&APPLY).ended(0);
    assert!(first.out.contains(&format!("{staging}: retention.ms 1000000 -> 259200000\n")), "{}", first.out);
    let second = settings.clone().with("TOPICS__STAGING_RETENTION", "1h").run(&APPLY).ended(0);
    assert!(
        second.out.contains(&format!("{staging}: retention.ms 259200000 -> 3600000\n")),
        "{}",
        second.out
    );
    assert_eq!(lines(&second.out, ": unchanged"), 4, "{}", second.out);

    let topics = describe(&settings.clone().with("TOPICS__STAGING_RETENTION", "1h"), 0);
    assert_eq!(topics[0]["settings"]["segment.ms"], "7654321");
    assert_eq!(topics[0]["settings"]["message.timestamp.type"], "LogAppendTime");
    // Replicas are told, and left.
    let other = settings.with("TOPICS__STAGING_RETENTION", "1h").with("TOPICS__REPLICATION", "2");
    let told = other.run(&APPLY).ended(0);
    assert!(told.out.contains("left as it is: 2 partitions have other than 2 replicas"), "{}", told.out);
}

#[test]
fn partitions_grow_until_the_group_has_committed_and_never_shrink() {
    let settings = Settings::of("topics-grow").with("TOPICS__REPLICATION", "1");
    let with_partitions = |count| settings.clone().with("TOPICS__PARTITIONS", count);
    with_partitions("2").run(&APPLY).ended(0);
    let grown = with_partitions("4").run(&APPLY).ended(0);
    assert_eq!(lines(&grown.out, ": partitions 2 -> 4"), 5, "{}", grown.out);
    let fewer = with_partitions("3").run(&APPLY).ended(2);
    assert!(fewer.err.contains("can't be taken away"), "{}", fewer.err);

    commit("topics-grow", &settings.topic("staging"));
    let more = with_partitions("5").run(&APPLY).ended(2);
    assert!(more.err.contains("the group `topics-grow` has committed"), "{}", more.err);
    with_partitions("4").run(&APPLY).ended(0);
    let topics = describe(&with_partitions("4"), 0);
    assert!(topics.iter().all(|topic| topic["partitions"].as_array().unwrap().len() == 4));
}

#[test]
fn counts_that_differ_are_refused_before_anything_is_made() {
    let settings =
        Settings::of("topics-uneven").with("TOPICS__PARTITIONS", "3").with("TOPICS__REPLICATION", "1");
    create(&settings.topic("staging"), 3, &[]);
    create(&settings.topic("bad_data"), 2, &[]);
    let refused = settings.run(&APPLY).ended(2);
    let counts = "`topics-uneven.staging` 3, `topics-uneven.bad_data` 2";
    assert!(refused.err.contains(counts), "{}", refused.err);
    let missing = describe(&settings, 1);
    assert!(missing[1]["partitions"].as_array().unwrap().is_empty());
}

#[test]
fn what_brokers_refuse_is_a_matter_of_settings_and_absent_ones_are_unreachable() {
    let refused = Settings::of("topics-refused").with("TOPICS__REPLICATION", "4").run(&APPLY).ended(2);
    assert!(refused.err.contains("`topics-refused.staging`"), "{}", refused.err);

    let started = Instant::now();
    // Port 9 (discard) of the loopback: nothing listens there.
    let absent = Settings::of("topics-absent").with("KAFKA__BROKERS", "127.0.0.1:9");
    let absent = absent.run(&["topics", "apply", "--timeout", "3s"]).ended(3);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(absent.err.contains("127.0.0.1:9"), "{}", absent.err);
}
