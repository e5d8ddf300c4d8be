//! Tests against real Kafka: three brokers, started once for all of them, on this machine.
//!
//! Each test has its own topics and its own group, so they run side by side. Tests that break brokers or the
//! network share three others, behind proxies, and take turns on them (`rig.rs`).

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod access;
mod agreement;
mod airflow;
mod alerts;
mod audit;
mod bad_data;
mod batches;
mod brokers;
mod cluster;
mod composed;
#[cfg(feature = "fault-points")]
mod defects;
#[cfg(feature = "fault-points")]
mod disk;
mod draft;
mod edges;
mod events;
mod exact;
#[cfg(feature = "fault-points")]
mod faults;
mod feed;
mod fenced;
mod gate;
mod held_up;
mod ingest;
#[cfg(feature = "fault-points")]
mod killed;
mod lag;
mod lease;
#[cfg(feature = "fault-points")]
mod market_day;
#[cfg(feature = "fault-points")]
mod membership;
mod network;
mod offsets;
mod page;
mod poll;
mod proof;
mod raw;
#[cfg(feature = "fault-points")]
mod rebalances;
mod recording;
mod refusals;
mod replicas;
mod rig;
mod role;
mod rules;
#[path = "../scenario/mod.rs"]
mod scenario;
mod secrecy;
mod silences;
mod sink;
#[cfg(feature = "fault-points")]
mod soak;
mod startup;
#[cfg(feature = "fault-points")]
mod state;
mod stores;
mod topics;
mod upstream;
mod watched;
#[cfg(feature = "fault-points")]
mod zombies;

#[cfg(not(feature = "fault-points"))]
#[test]
#[ignore = "the tests that break the gate at an instant need `--features fault-points`, as in `./check`"]
fn fault_points() {
    panic!("built without `--features fault-points`");
}
