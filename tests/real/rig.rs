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
    metadata::MetadataTopic,
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
