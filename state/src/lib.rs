//! The durable store: `RocksDB` with its position, and the codecs of what it and the changelog hold.
//!
//! - `rows`: the changelog's keys and values, one file per kind.
//! - `store`: the folder, the one database in it, reads, and writes that carry the position they stand for.
//!
//! Promises: a value and the position it stands for are written together or not at all; the stored position may
//! lag behind the changelog, never lead; what cannot be trusted is an error, never a guess.
//!
//! Deliberately absent: Kafka, clocks and settings. Times are arguments; when to write is the worker's business.

pub mod rows;
pub mod store;

pub use rows::{CheckpointRow, ClassRow, Price, Reported, RowError, RowKey, SymbolRow};
pub use store::{
    ApplyError, Batch, OpenError, PartitionWriter, Place, Position, RawPage, Row, Snapshot, StoppedStore,
    Store, StoreError, StoreIdentity, StoreOptions, StoreStats, WriterTaken,
};
