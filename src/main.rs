//! The binary: one role a run.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use tickgate::{
    config::Config,
    roles::{Exit, Failure, Role},
    telemetry::logs,
};

/// An exactly-once quality gate for market data on Kafka.
///
/// Exit codes: 0 whole, 1 a breach found, 2 settings, 3 unreachable.
#[derive(Debug, Parser)]
#[command(version)]
struct Command {
    /// The settings file; every key can also be given as `TICKGATE_SECTION__KEY`, which wins.
    #[arg(long, global = true, env = "TICKGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    role: Role,
}

fn main() -> ExitCode {
    // Clap ends with 2 by itself when the arguments are wrong, and with 0 after help.
    let command = Command::parse();
    match run(command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("tickgate: {failure}");
            failure.exit.into()
        }
    }
}

fn run(command: Command) -> Result<Exit, Failure> {
    logs::start().map_err(Failure::settings)?;
    let config = Config::load(command.config.as_deref(), Config::environment()).map_err(Failure::settings)?;
    // Entered for the whole run: roles that are async block on the current runtime's handle.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::breach)?;
    let _entered = runtime.enter();
    command.role.run(&config)
}
