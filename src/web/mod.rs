//! The page: what it shows (`market`, `quality`, `pipeline`), its API and its assets.
//!
//! Promises: what is shown is bounded in memory, however many symbols, records or visitors there are; nobody is
//! answered who should be asked first who they are; a part that is away is named, and the rest goes on; whatever a
//! symbol or a value holds is data, in the API and on the page. Deliberately absent: Kafka (it is fed), writes of any
//! kind, and the decisions of the gate: what is stale is what the gate has said is stale.

mod assets;
mod bars;
mod board;
mod guard;
mod history;
mod market;
mod opens;
mod pages;
mod pipeline;
mod quality;
mod samples;
mod server;
mod stream;
mod watch;

pub use bars::Range;
pub use board::{Board, Shown};
pub use market::{Market, Trade};
pub use opens::watch_opens;
pub use pipeline::Pipeline;
pub use quality::{BadRecord, Quality};
pub use server::{ServeError, serve};
pub use watch::watch_instances;

#[cfg(test)]
mod tests;
