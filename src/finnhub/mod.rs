//! The feed: Finnhub's messages, its websocket, and a simulator that speaks its wire format.
//!
//! Knows nothing of Kafka, of settings files or of metrics: what happens is handed on as values, and
//! `roles` decides what it means.

pub mod message;
pub mod request;
pub mod simulator;
pub mod stream;
#[cfg(test)]
mod tests;

pub use message::{Message, NotATrade, Trade};
pub use request::Request;
