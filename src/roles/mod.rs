//! One function per role of the binary: wiring only. What a role does is in the other rooms.
//!
//! Roles are plain functions that run on the main thread, inside a tokio runtime: one that is async blocks
//! on `tokio::runtime::Handle::current()`.

pub mod audit;
pub mod bad;
mod caught_up;
mod classes;
pub mod config;
mod exit;
pub mod health;
pub mod ingest;
pub mod process;
pub mod record;
pub mod replay;
pub mod rules;
pub mod serve;
mod shown;
mod shutdown;
pub mod simulate;
pub mod sink;
pub mod state;
pub mod topics;
mod waiting;
pub mod watch;

pub use exit::{Exit, Failure};
pub use shutdown::Shutdown;

use std::time::{Duration, Instant};

use crate::config::{Config, KafkaConfig};
use crate::journal::kafka::client::{self, ClientError};

/// What the binary is to be in this run.
#[derive(Debug, clap::Subcommand)]
pub enum Role {
    /// Proves that every input has exactly one output, rightly routed
    Audit(audit::Args),
    /// Looks into `bad_data`: what is in it, by rule, symbol, kind and time
    Bad(bad::Args),
    /// Says what settings are in force and where each value came from
    Config(config::Args),
    /// Asks the roles on this host whether they are ready
    Health(health::Args),
    /// The gate: checks every record of staging, exactly once
    Process(process::Args),
    /// Looks after the state that the gate keeps
    State(state::Args),
    /// Brings the feed into staging
    Ingest(ingest::Args),
    /// Writes the feed into a file, which `ingest` can play
    Record(record::Args),
    /// Puts chosen rejections of `bad_data` back on staging, once each
    Replay(replay::Args),
    /// Lists the rules, or judges a file of records by them
    Rules(rules::Args),
    /// Shows markets, quality and the pipeline on a page
    Serve(serve::Args),
    /// Stands in for the feed, with faults on demand
    Simulate(Box<simulate::Args>),
    /// Loads good records into Cassandra, or makes the tables there
    Sink(sink::Args),
    /// Creates, changes or describes the topics
    Topics(topics::Args),
    /// Looks after the watch list
    Watch(watch::Args),
}

impl Role {
    /// Runs until the work is done or the role is told to stop. Roles that run on take a [`Shutdown`];
    /// the others leave signals to their default, which ends them.
    pub fn run(self, config: &Config) -> Result<Exit, Failure> {
        match self {
            Self::Audit(args) => audit::run(&args, config),
            Self::Bad(args) => bad::run(&args, config),
            Self::Config(args) => config::run(&args, config),
            Self::Health(args) => health::run(&args, config),
            Self::Process(args) => process::run(&args, config),
            Self::State(args) => state::run(&args, config),
            Self::Watch(args) => watch::run(&args, config),
            Self::Ingest(args) => ingest::run(&args, config),
            Self::Record(args) => record::run(&args, config),
            Self::Replay(args) => replay::run(&args, config),
            Self::Rules(args) => rules::run(&args, config),
            Self::Serve(args) => serve::run(&args, config),
            Self::Simulate(args) => simulate::run(*args, config),
            Self::Sink(args) => sink::run(&args, config),
            Self::Topics(args) => topics::run(&args, config),
        }
    }
}

/// For one-shot roles: waits until a broker answers, for at most `timeout`.
fn reach(kafka: &KafkaConfig, timeout: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + timeout;
    client::wait_for_brokers(kafka, |_| Instant::now() < deadline).map_err(|error| match error {
        ClientError::Settings(_) => Failure::settings(error),
        ClientError::Unreachable { .. } => Failure::unreachable(error),
    })
}
