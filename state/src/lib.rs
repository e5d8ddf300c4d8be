//! The durable store: `RocksDB` with its position, and the codecs of what it and the changelog hold.
//!
//! - `rows`: the changelog's keys and values, one file per kind.
//!
//! Deliberately absent: Kafka, clocks and settings. Times are arguments; who may write when is the worker's business.

pub mod rows;

pub use rows::{CheckpointRow, ClassRow, Price, Reported, RowError, RowKey, SymbolRow};
