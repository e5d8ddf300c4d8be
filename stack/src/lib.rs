//! Starts, breaks and stops the real servers that tickgate is developed and tested against.
//!
//! A [`Stack`] is one or three Kafka brokers (`KRaft`, each broker and controller at once) on this machine:
//! real ones, from Maven Central, pinned in `kafka/pom.xml`. Any number of stacks run side by side. Nothing
//! here is mocked, and nothing but loopback is listened on.
//!
//! - [`Stack`]: all brokers of one folder; [`Builder`] says how many and where.
//! - [`Broker`]: one of them, with the faults: [`kill`](Broker::kill), [`pause`](Broker::pause) and so on.
//! - [`Proxy`]: what clients of a [proxied](Builder::proxied) stack reach a broker through; it cuts, stalls,
//!   delays and swallows.
//! - [`Program`]: any program in a folder of its own, with the same faults; [`Guard`] ends programs whose
//!   owner died.
//! - [`jars`]: Kafka's jars in the machine's cache.
//! - [`ports`]: free ports that stay free.
//! - [`process`]: processes that are told apart from later ones with the same id.
//!
//! No process outlives its stack: dropping the stack stops them, and a guard does so when this process
//! dies without dropping anything. Only [`Stack::detach`] lets them live on.

mod broker;
mod error;
mod guard;
pub mod jars;
pub mod ports;
pub mod process;
mod program;
mod proxy;
mod settings;
mod stack;

pub use broker::Broker;
pub use error::StackError;
pub use guard::Guard;
pub use program::Program;
pub use proxy::{Proxy, Request};
pub use stack::{Builder, Stack};
