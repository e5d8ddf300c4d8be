//! `tickgate rules`: what the rules are, and what a file of records would get. Neither needs a broker.

mod offline;
mod table;

use std::io::{self, Write};

use super::{Exit, Failure};
use crate::config::Config;

/// Arguments of `tickgate rules`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Judges a file of records; ends with 1 if any is rejected
    Test(offline::Args),
    /// Prints the table of all rules, as `docs/rules.md` has it
    List,
}

/// Runs to the end.
pub fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    match &args.action {
        Action::Test(args) => offline::run(args, config),
        Action::List => {
            io::stdout().lock().write_all(table::markdown().as_bytes()).map_err(Failure::breach)?;
            Ok(Exit::Whole)
        }
    }
}
