//! `tickgate state`: looks into the state that the gate keeps, proves it, and chooses where the gate goes on.
//!
//! All but `reset` only look, at the store of an instance that is stopped or, through its pages, of a running one
//! (`source`).

mod export;
mod fold;
mod get;
mod list;
mod positions;
mod reset;
mod row;
mod source;
mod table;
mod verify;
mod watched;

pub(super) use watched::list as list_watched;

use std::path::PathBuf;
use std::time::Duration;

use super::{Exit, Failure, reach};
use crate::config::Config;

/// Arguments of `tickgate state`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// How long to wait for brokers or the instance, and their answers, before ending with 3
    #[arg(long, global = true, default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Shows what is remembered of a symbol; ends with 1 where nothing is
    Get(get::Args),
    /// Lists symbols
    List(list::Args),
    /// Shows where each partition's state stands, and how far the topics go on from there
    Positions(positions::Args),
    /// Proves that the store holds what the changelog says; ends with 1 where it does not
    Verify(verify::Args),
    /// Writes every row out
    Export(export::Args),
    /// Chooses where the gate goes on; every instance must have been stopped
    Reset(reset::Args),
}

/// Whose state is looked at.
#[derive(Debug, clap::Args)]
pub(super) struct At {
    /// The state directory; a running instance is found by it and asked. Default: `process.state_dir`
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Asks the running instance whose pages are at this address, such as `127.0.0.1:9464`
    #[arg(long, value_name = "ADDRESS", conflicts_with = "state_dir")]
    http: Option<String>,
}

/// Runs to the end.
pub fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    match &args.action {
        Action::Get(own) => get::run(own, config, args.timeout),
        Action::List(own) => list::run(own, config, args.timeout),
        Action::Positions(own) => positions::run(own, config, args.timeout),
        Action::Verify(own) => verify::run(own, config, args.timeout),
        Action::Export(own) => export::run(own, config, args.timeout),
        Action::Reset(own) => reset::run(own, config, args.timeout),
    }
}
