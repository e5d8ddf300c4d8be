//! Three brokers behind proxies, for tests that break brokers or the network: such tests take turns, and each
//! finds all of it whole.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
    metadata::{Metadata, MetadataPartition, MetadataTopic},
};
use tickgate_stack::{Broker, Proxy, Stack};

use crate::{
    cluster::Settings,
    gate::{PATIENCE, wait_for},
};

const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// The brokers, to break for as long as this is held. Dropping it mends everything, also after a failure.
pub struct Rig {
    stack: &'static Stack,
    _turn: MutexGuard<'static, ()>,
}

impl Rig {
    /// Waits for its turn, and until every replica of every partition is in sync.
    pub fn take() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        static STACK: OnceLock<Stack> = OnceLock::new();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // Leaders stay where a fault has put them, so that a test knows which broker does what. Never dropped:
        // the stack's guard ends it with this process.
        let start =
            || Stack::builder().brokers(3).proxied().property("auto.leader.rebalance.enable", "false");
        let stack = STACK.get_or_init(|| start().start().expect("three brokers start"));
        let rig = Self { stack, _turn: turn };
        rig.heal();
        rig
    }

    /// Topics with that many partitions, and a group, that carry the test's name.
    pub fn settings(&self, test: &str, partitions: i32) -> Settings {
        let settings = Settings::on(self.stack, test).with("TOPICS__PARTITIONS", &partitions.to_string());
        settings.run(&["topics", "apply", "--timeout", "3m"]).ended(0);
        settings
    }

    /// All brokers.
    pub fn brokers(&self) -> &[Broker] {
        self.stack.brokers()
    }

    /// The broker with this id.
    pub fn broker(&self, id: i32) -> &Broker {
        self.stack.broker(usize::try_from(id).unwrap())
    }

    /// All proxies.
    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.brokers().iter().map(Broker::proxy)
    }

    /// How many requests or replies the proxies have swallowed since they were told to.
    pub fn lost(&self) -> usize {
        self.proxies().map(Proxy::lost).sum()
    }

    /// Ends the proxies' faults.
    pub fn mend(&self) {
        self.proxies().for_each(Proxy::mend);
    }

    /// Mends everything that a test may break, and waits until it is whole.
    pub fn heal(&self) {
        self.mend();
        for broker in self.brokers() {
            match broker.pid() {
                Some(_) => broker.resume().unwrap(),
                None => broker.start().unwrap(),
            }
        }
        self.stack.wait_ready().unwrap();
        self.wait_in_sync();
    }

    /// Waits until every replica of every partition is in sync.
    pub fn wait_in_sync(&self) {
        let client = self.client();
        wait_for("stack with all replicas in sync", PATIENCE, || {
            let metadata = client.fetch_metadata(None, ASK_TIMEOUT).ok()?;
            let mut partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
            partitions.all(|partition| partition.isr().len() == partition.replicas().len()).then_some(())
        });
    }

    /// The broker that leads a partition.
    pub fn leader(&self, topic: &str, partition: i32) -> i32 {
        let client = self.client();
        wait_for("leader of a partition", PATIENCE, || {
            let metadata = client.fetch_metadata(Some(topic), ASK_TIMEOUT).ok()?;
            leader(&metadata, partition)
        })
    }

    /// The broker that coordinates a group.
    pub fn group_coordinator(&self, group: &str) -> i32 {
        self.coordinator("__consumer_offsets", group)
    }

    /// The broker that coordinates a transactional id.
    pub fn transaction_coordinator(&self, id: &str) -> i32 {
        self.coordinator("__transaction_state", id)
    }

    /// The broker whose controller is the active one.
    pub fn controller(&self) -> i32 {
        let mut tool = self.stack.tool("org.apache.kafka.tools.MetadataQuorumCommand");
        tool.args(["--bootstrap-server", &self.stack.direct(), "describe", "--status"]);
        let output = tool.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let leader = text.lines().find_map(|line| line.strip_prefix("LeaderId:"));
        leader.unwrap_or_else(|| panic!("no leader in `{text}`")).trim().parse().unwrap()
    }

    /// The leader of the internal topic's partition that a name belongs to, as Kafka places it.
    fn coordinator(&self, topic: &str, name: &str) -> i32 {
        let client = self.client();
        wait_for("coordinator", PATIENCE, || {
            let metadata = client.fetch_metadata(Some(topic), ASK_TIMEOUT).ok()?;
            let partitions = i32::try_from(metadata.topics()[0].partitions().len()).ok()?;
            let partition = java_hash(name).checked_abs().unwrap_or(0).checked_rem(partitions)?;
            leader(&metadata, partition)
        })
    }

    fn client(&self) -> BaseConsumer {
        ClientConfig::new().set("bootstrap.servers", self.stack.direct()).create().unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.mend();
        if !thread::panicking() {
            self.heal();
        }
        // Else the next one to take it heals it, and may panic.
    }
}

fn leader(metadata: &Metadata, partition: i32) -> Option<i32> {
    let mut partitions = metadata.topics()[0].partitions().iter();
    partitions
        .find(|found| found.id() == partition)
        .map(MetadataPartition::leader)
        .filter(|leader| *leader > 0)
}

/// `String.hashCode` of Java.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[test]
fn names_hash_as_in_java() {
    assert_eq!(
        java_hash("tickgate"),
        "tickgate".bytes().fold(0_i32, |h, b| h.wrapping_mul(31) + i32::from(b))
    );
    assert_eq!(java_hash("hello"), 99_162_322);
}
