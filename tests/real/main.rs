//! Tests against real Kafka: three brokers, started once for all of them, on this machine.
//!
//! Each test has its own topics and its own group, so they run side by side. Faults in brokers need a
//! stack of their own.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod audit;
mod cluster;
mod draft;
mod exact;
mod feed;
mod fenced;
mod gate;
mod ingest;
mod offsets;
mod proof;
mod refusals;
mod silences;
mod startup;
mod topics;
