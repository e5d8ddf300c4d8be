//! `tickgate audit` on topics that were written by hand: whole ones, and ones that were damaged.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer},
};
use tickgate::{audit::Topic, config::Config};

use crate::cluster::{Settings, cluster};
use damage::DAMAGES;
use world::{Entry, World};

#[path = "../audit/damage.rs"]
mod damage;
#[path = "../audit/world.rs"]
mod world;

/// The damages that are also done to real topics; the checker's own tests do them all.
const REAL_DAMAGES: [&str; 10] = [
    "a lost output",
    "a doubled output",
    "a misrouted output",
    "an altered value",
    "an altered header of the input",
    "an output ahead of what is committed",
    "a stale twice",
    "a stale for a last-seen that never was",
    "a last-seen that is too high",
    "a checkpoint that lags",
];
const PARTITIONS: i32 = 2;
const WAIT: Duration = Duration::from_secs(30);

/// A world on its own topics, in partition 1 of two.
struct Stage {
    settings: Settings,
    world: World,
}

impl Stage {
    /// Topics without records, and the world that belongs on them. The rows carry the default settings'
    /// fingerprint, as the audit runs with these.
    fn new(name: &str) -> Self {
        let settings = Settings::of(name);
        let mut world = World::whole(1, PARTITIONS, &settings.topic("staging"), 2);
        // The world has one level, and no class that is judged as a whole.
        let chosen = [("FRESHNESS__WARN_AFTER", "off"), ("FRESHNESS__FEED_AFTER", "off")];
        let variables = chosen.map(|(name, value)| (format!("TICKGATE_{name}"), value.to_owned()));
        world.fingerprint = Config::load(None, variables).unwrap().fingerprint();
        world.fold();
        let settings =
            settings.with("TOPICS__PARTITIONS", &PARTITIONS.to_string()).with(chosen[0].0, chosen[0].1);
        Self { settings, world }
    }

    fn topic(&self, topic: Topic) -> String {
        match topic {
            Topic::Staging => self.settings.topic("staging"),
            Topic::StockData => self.settings.topic("stock_data"),
            Topic::BadData => self.settings.topic("bad_data"),
            Topic::Changelog => format!("{}-last_seen-changelog", self.group()),
            Topic::StockTable | Topic::LatestTable => unreachable!("no topic, and not damaged here"),
        }
    }

    fn group(&self) -> String {
        let topic = self.settings.topic("");
        topic.trim_end_matches('.').to_owned()
    }

    fn create(&self) {
        let admin: AdminClient<DefaultClientContext> = client("admin").create().unwrap();
        let names = TOPICS.map(|topic| self.topic(topic));
        let topics = names.each_ref().map(|name| {
            NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1))
                .set("message.timestamp.before.max.ms", "9223372036854775807")
                .set("message.timestamp.after.max.ms", "9223372036854775807")
                .set("retention.ms", "-1")
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let made = runtime.block_on(admin.create_topics(topics.iter(), &AdminOptions::new())).unwrap();
        for topic in made {
            topic.unwrap();
        }
    }

    /// Writes all four topics and commits the cut.
    fn write(&self) {
        let producer: BaseProducer = client("write").create().unwrap();
        self.send_all(&producer);
        producer.flush(WAIT).unwrap();
        self.commit();
    }

    fn send_all(&self, producer: &BaseProducer) {
        for (topic, entries) in self.entries() {
            for entry in entries {
                send(producer, &self.topic(topic), self.world.partition, entry);
            }
        }
    }

    fn entries(&self) -> [(Topic, &Vec<Entry>); 4] {
        let World { staging, stock_data, bad_data, changelog, .. } = &self.world;
        [
            (Topic::Staging, staging),
            (Topic::StockData, stock_data),
            (Topic::BadData, bad_data),
            (Topic::Changelog, changelog),
        ]
    }

    fn commit(&self) {
        let consumer: BaseConsumer = client("commit").set("group.id", self.group()).create().unwrap();
        let mut offsets = TopicPartitionList::new();
        let cut = Offset::Offset(self.world.cut);
        offsets.add_partition_offset(&self.topic(Topic::Staging), self.world.partition, cut).unwrap();
        let started = Instant::now();
        // Fresh brokers move the group's coordinator about at first.
        while let Err(error) = consumer.commit(&offsets, CommitMode::Sync) {
            assert!(started.elapsed() < WAIT, "{error}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The report of an audit that ends with `code`.
    fn audit(&self, code: i32) -> serde_json::Value {
        let run = self.settings.run(&["audit", "--json", "--timeout", "20s"]).ended(code);
        serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", run.out, run.err))
    }
}

const TOPICS: [Topic; 4] = [Topic::Staging, Topic::StockData, Topic::BadData, Topic::Changelog];

fn client(role: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", cluster().bootstrap())
        .set("client.id", format!("audit-test-{role}"))
        .set("linger.ms", "0");
    config
}

fn send(producer: &BaseProducer, topic: &str, partition: i32, entry: &Entry) {
    let headers = entry.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    });
    let mut record: BaseRecord<'_, [u8], [u8]> =
        BaseRecord::to(topic).partition(partition).timestamp(entry.time).headers(headers);
    record.key = entry.key.as_deref();
    record.payload = entry.value.as_deref();
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

fn transactional(stage: &Stage, name: &str) -> BaseProducer<DefaultProducerContext> {
    let id = format!("{}.{name}", stage.group());
    let producer: BaseProducer = client("transaction").set("transactional.id", id).create().unwrap();
    producer.init_transactions(WAIT).unwrap();
    producer.begin_transaction().unwrap();
    producer
}

#[test]
fn a_whole_world_is_whole() {
    let stage = Stage::new("audit_whole");
    stage.create();
    stage.write();
    let report = stage.audit(0);
    assert_eq!(report["whole"], true, "{report}");
    assert_eq!(report["counts"]["inputs"], 20, "{report}");
    assert_eq!(report["counts"]["accepted"], 14, "{report}");
    assert_eq!(report["counts"]["checkpoints_compared"], 1, "{report}");
    assert_eq!(report["counts"]["symbols_compared"], 3, "{report}");
    assert_eq!(report["counts"]["marks_compared"], 14, "{report}");
    assert_eq!(report["unjudged"].as_object().unwrap().len(), 0, "{report}");
    let table = stage.settings.run(&["audit"]).ended(0).out;
    assert!(table.trim_end().ends_with("whole: every input has exactly one output"), "{table}");
}

#[test]
fn damages_are_found_and_the_offender_named() {
    let stages: Vec<_> = DAMAGES
        .iter()
        .filter(|damage| REAL_DAMAGES.contains(&damage.name))
        .enumerate()
        .map(|(number, damage)| {
            let mut stage = Stage::new(&format!("audit_damage_{number}"));
            (damage.hurt)(&mut stage.world);
            stage.create();
            stage.write();
            (damage, stage)
        })
        .collect();
    assert_eq!(stages.len(), REAL_DAMAGES.len());
    for (damage, stage) in stages {
        let report = stage.audit(1);
        let kind = serde_json::to_value(damage.kind).unwrap();
        let named = report["offenders"].as_array().unwrap().iter().any(|offender| {
            offender["kind"] == kind
                && offender["topic"] == stage.topic(damage.topic)
                && offender["partition"] == stage.world.partition
                && damage.offset.is_none_or(|offset| offender["offset"] == offset)
        });
        assert!(named, "{}: {report}", damage.name);
    }
}

#[test]
fn markers_and_aborted_records_are_neither_outputs_nor_endless() {
    let stage = Stage::new("audit_markers");
    stage.create();
    // An aborted round first, with every output doubled; then the whole world; then an aborted one at the end.
    for (name, commits) in [("aborted", false), ("committed", true), ("aborted_too", false)] {
        let producer = transactional(&stage, name);
        if commits {
            stage.send_all(&producer);
        } else {
            for (topic, entries) in stage.entries().into_iter().filter(|(topic, _)| *topic != Topic::Staging)
            {
                for entry in entries {
                    send(&producer, &stage.topic(topic), 1, entry);
                }
            }
        }
        producer.flush(WAIT).unwrap();
        if commits {
            producer.commit_transaction(WAIT).unwrap();
        } else {
            producer.abort_transaction(WAIT).unwrap();
        }
    }
    stage.commit();
    let report = stage.audit(0);
    assert_eq!(report["counts"]["inputs"], 20, "{report}");
}

#[test]
fn an_open_transaction_is_waited_for() {
    let stage = Stage::new("audit_open");
    stage.create();
    let producer = transactional(&stage, "open");
    stage.send_all(&producer);
    producer.flush(WAIT).unwrap();
    stage.commit();
    let started = Instant::now();
    let run = stage.settings.run(&["audit", "--timeout", "2s"]).ended(3);
    assert!(run.err.contains("a transaction holds"), "{}", run.err);
    assert!(started.elapsed() >= Duration::from_secs(2));
    let (audited, committed) = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| stage.audit(0));
        std::thread::sleep(Duration::from_secs(2));
        let waited = !waiting.is_finished();
        producer.commit_transaction(WAIT).unwrap();
        (waiting.join().unwrap(), waited)
    });
    assert!(committed, "the audit did not wait");
    assert_eq!(audited["whole"], true, "{audited}");
}

#[test]
fn what_cannot_be_audited_is_said() {
    let stage = Stage::new("audit_nothing");
    let missing = stage.settings.run(&["audit"]).ended(2);
    assert!(missing.err.contains("does not exist"), "{}", missing.err);
    stage.create();
    assert_eq!(stage.audit(0)["whole"], true);
    let producer: BaseProducer = client("write").create().unwrap();
    stage.send_all(&producer);
    producer.flush(WAIT).unwrap();
    let uncommitted = stage.settings.run(&["audit"]).ended(2);
    assert!(uncommitted.err.contains("has committed nothing"), "{}", uncommitted.err);
    let away = stage.settings.with("KAFKA__BROKERS", "127.0.0.1:1");
    assert!(away.run(&["audit", "--timeout", "1s"]).ended(3).err.contains("answers"));
}
