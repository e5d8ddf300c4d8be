//! `tickgate state list`

use std::io::{self, Write};
use std::time::Duration;

use super::source::Source;
use super::{At, Exit, Failure, table};
use crate::config::Config;
use crate::model::{Level, Partition};
use crate::query::{Cursor, Question};

/// Rows asked for at once.
const PAGE_ROWS: usize = 1_000;

/// Arguments of `tickgate state list`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Names that begin so
    #[arg(long, default_value = "")]
    prefix: String,
    /// Symbols whose present silence has been reported at this level, and no higher one
    #[arg(long, value_enum)]
    level: Option<AtLevel>,
    /// Of this partition alone
    #[arg(long)]
    partition: Option<Partition>,
    /// How many at most; all where none is named
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// As JSON, an object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum AtLevel {
    Warn,
    Error,
}

pub(super) fn run(args: &Args, config: &Config, timeout: Duration) -> Result<Exit, Failure> {
    let source = Source::open(&args.at, config, timeout)?;
    let mut question = Question {
        prefix: args.prefix.clone(),
        level: args.level.map(|level| match level {
            AtLevel::Warn => Level::Warn,
            AtLevel::Error => Level::Error,
        }),
        partition: args.partition,
        ..Question::default()
    };
    let mut left = args.limit.unwrap_or(usize::MAX);
    let mut out = io::stdout().lock();
    while left > 0 {
        question.limit = left.min(PAGE_ROWS);
        let page = source.symbols(&question)?;
        left -= page.symbols.len().min(left);
        if args.json || !page.symbols.is_empty() {
            table::symbols(&page.symbols, &page.partitions, args.json, &mut out).map_err(Failure::breach)?;
        }
        let Some(next) = page.next else { break };
        question.after = Some(Cursor::read(&next).map_err(Failure::breach)?);
    }
    out.flush().map_err(Failure::breach)?;
    Ok(Exit::Whole)
}
