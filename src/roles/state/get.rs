//! `tickgate state get SYMBOL`

use std::io;
use std::time::Duration;

use anyhow::anyhow;

use super::source::Source;
use super::{At, Exit, Failure, table};
use crate::config::Config;
use crate::query::Question;

/// Arguments of `tickgate state get`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As the feed spells it
    symbol: String,
    /// As JSON, an object for each partition that has a row
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(super) fn run(args: &Args, config: &Config, timeout: Duration) -> Result<Exit, Failure> {
    let source = Source::open(&args.at, config, timeout)?;
    let found = source.symbols(&Question::of(&args.symbol))?;
    if found.symbols.is_empty() {
        return Err(Failure::breach(anyhow!(
            "`{}` has no row in any of the {} partitions with state here, expected a symbol that has been accepted",
            args.symbol.escape_debug(),
            found.partitions.len()
        )));
    }
    table::symbols(&found.symbols, &found.partitions, args.json, &mut io::stdout().lock())
        .map_err(Failure::breach)?;
    Ok(Exit::Whole)
}
