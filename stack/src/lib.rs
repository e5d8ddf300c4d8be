//! Starts, breaks and stops the real servers that tickgate is developed and tested against.
//!
//! A [`Stack`] is one or three Kafka brokers (`KRaft`, each broker and controller at once) on this machine:
//! real ones, from Maven Central, pinned in `kafka/pom.xml`. A [`Cassandra`] is one real node of it. Any
//! number of them run side by side. Nothing here is mocked, and nothing but loopback is listened on.
//!
//! - [`Stack`]: all brokers of one folder; [`Builder`] says how many and where.
//! - [`Broker`]: one of them, with the faults: [`kill`](Broker::kill), [`pause`](Broker::pause) and so on.
//! - [`Cassandra`]: a node with the same faults; [`CassandraBuilder`] says where, and whether it asks for
//!   passwords or certificates.
//! - [`Proxy`]: what clients of a [proxied](Builder::proxied) stack or node reach it through; it cuts, stalls,
//!   delays, and swallows what goes to a broker or comes from it.
//! - [`Authority`]: signs certificates for servers and clients.
//! - [`Program`]: any program in a folder of its own, with the same faults; [`Guard`] ends programs whose
//!   owner died.
//! - [`MonitoringServer`]: a Prometheus or an Alertmanager; [`MonitoringTool`] finds their programs.
//! - [`jars`]: the servers' jars in the machine's cache.
//! - [`ports`]: free ports that stay free.
//! - [`process`]: processes that are told apart from later ones with the same id.
//!
//! No process outlives its owner: dropping a stack or a node stops them, and a guard does so when this process
//! dies without dropping anything. Only [`Stack::detach`] lets them live on.

mod authority;
mod broker;
mod cassandra;
mod error;
mod folder;
mod guard;
pub mod jars;
mod monitoring;
pub mod ports;
pub mod process;
mod program;
mod proxy;
mod settings;
mod stack;

pub use authority::{Authority, Identity};
pub use broker::Broker;
pub use cassandra::{Cassandra, CassandraBuilder};
pub use error::StackError;
pub use guard::Guard;
pub use monitoring::{MonitoringServer, MonitoringTool};
pub use program::Program;
pub use proxy::{Proxy, Request};
pub use stack::{Builder, Stack};
