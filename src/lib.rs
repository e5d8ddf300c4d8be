//! tickgate: an exactly-once quality gate for market data on Kafka.
//!
//! The map, a line per room:
//! - [`model`]: values and their wire forms; no room of ours is below it.
//! - [`core`]: the gate's decisions, pure: no IO, clock, chance or async. Sees `model` only.
//! - [`journal`]: where topics live (Kafka).
//! - [`finnhub`]: the feed: its messages, its websocket, and a simulator that speaks its wire format.
//! - [`audit`]: the pure proof that every input has exactly one output.
//! - [`config`]: settings, one struct per concern.
//! - [`table`]: where rows live (Cassandra).
//! - [`query`]: questions about the state and their answers, of a running instance over HTTP too.
//! - [`telemetry`]: the table of metrics, logs, the health endpoints.
//! - [`web`]: the page, its API and its assets.
//! - [`roles`]: one function per role of the binary; the only room that sees core and effects together.
//!
//! The durable store is a crate of its own, `tickgate-state`.

pub mod audit;
pub mod config;
pub mod core;
pub mod finnhub;
pub mod journal;
pub mod model;
pub mod query;
pub mod roles;
pub mod table;
pub mod telemetry;
pub mod web;
