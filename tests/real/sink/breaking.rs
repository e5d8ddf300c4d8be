//! Another node, behind a proxy, for tests that break Cassandra: they take turns, and each finds it whole.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tickgate_stack::Cassandra;

/// The node, to break for as long as this is held. Dropping it mends everything, also after a failure.
pub struct Breakable {
    node: &'static Cassandra,
    _turn: MutexGuard<'static, ()>,
}

impl Breakable {
    /// Waits for its turn.
    pub fn take() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        static NODE: OnceLock<Cassandra> = OnceLock::new();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || Cassandra::builder().proxied().start().expect("a Cassandra node starts");
        let breakable = Self { node: NODE.get_or_init(start), _turn: turn };
        breakable.heal();
        breakable
    }

    /// The node.
    pub fn node(&self) -> &'static Cassandra {
        self.node
    }

    /// Ends every fault, and waits until the node serves.
    pub fn heal(&self) {
        self.node.proxy().expect("it is behind one").mend();
        if self.node.pid().is_none() {
            self.node.start().unwrap();
        }
        self.node.wait_ready().unwrap();
    }
}
