//! `tickgate sink schema`: what the tables are, and makes them.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::super::{Exit, Failure};
use crate::config::Config;
use crate::table::cassandra::{ConnectError, schema};

/// Pause after an attempt that may succeed later.
const PAUSE: Duration = Duration::from_secs(1);

/// Arguments of `tickgate sink schema`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Makes the keyspace and the tables that are missing, and ends when all nodes have them
    #[arg(long)]
    apply: bool,
    /// How long to wait for nodes and their answers before ending with 3
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Prints the statements; applies them if that is asked for.
pub(super) fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    for statement in schema::statements(&config.sink.cassandra) {
        writeln!(out, "{statement};").map_err(Failure::breach)?;
    }
    if args.apply {
        Handle::current().block_on(apply(args, config)).map_err(failure)?;
        let keyspace = &config.sink.cassandra.keyspace;
        writeln!(out, "-- applied: the keyspace `{keyspace}` has these tables on all nodes")
            .map_err(Failure::breach)?;
    }
    Ok(Exit::Whole)
}

/// What a cluster that rows can't be written to means for the run.
pub(in crate::roles) fn failure(error: ConnectError) -> Failure {
    if error.is_passing() { Failure::unreachable(error) } else { Failure::settings(error) }
}

async fn apply(args: &Args, config: &Config) -> Result<(), ConnectError> {
    let deadline = Instant::now() + args.timeout;
    loop {
        match schema::apply(&config.sink.cassandra).await {
            Err(error) if error.is_passing() && Instant::now() < deadline => {
                tracing::warn!("tries again: {error}");
            }
            ended => return ended,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
