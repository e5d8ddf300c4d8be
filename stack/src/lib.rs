//! Starts, breaks and stops the real servers that tickgate is developed and tested against.
//!
//! A [`Stack`] is one or three Kafka brokers (`KRaft`, each broker and controller at once) on this machine:
//! real ones, from Maven Central, pinned in `kafka/pom.xml`. Any number of stacks run side by side. Nothing
//! here is mocked, and nothing but loopback is listened on.
//!
//! - [`Stack`]: all brokers of one folder; [`Builder`] says how many and where.
//! - [`Broker`]: one of them, with the faults: [`kill`](Broker::kill), [`pause`](Broker::pause) and so on.
//! - [`jars`]: Kafka's jars in the machine's cache.
//! - [`process`]: processes that are told apart from later ones with the same id.
//!
//! No process outlives its stack: dropping the stack stops them, and a guard does so when this process
//! dies without dropping anything. Only [`Stack::detach`] lets them live on.

mod broker;
mod error;
pub mod jars;
mod ports;
pub mod process;
mod settings;
mod stack;

pub use broker::Broker;
pub use error::StackError;
pub use stack::{Builder, Stack};
