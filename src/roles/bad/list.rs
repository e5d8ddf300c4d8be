//! `tickgate bad list`.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use super::super::audit::kafka::Kafka;
use super::super::{Exit, Failure, shown};
use super::choice::kind;
use super::{Choice, Entry, read};
use crate::config::Config;
use crate::model::Kind;

/// Arguments of `tickgate bad list`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Only of this kind
    #[arg(long = "kind", value_name = "KIND", value_parser = kind)]
    kinds: Vec<Kind>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Prints a JSON object a record
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, kafka: &Kafka, config: &Config) -> Result<Exit, Failure> {
    let mut newest = BTreeMap::new();
    let mut found: u64 = 0;
    read(kafka, config, &args.choice, |entry| {
        if !args.kinds.is_empty() && entry.kind.is_none_or(|kind| !args.kinds.contains(&kind)) {
            return;
        }
        found += 1;
        newest.insert((entry.time_ms, entry.partition, entry.offset), entry);
        if newest.len() > args.limit {
            newest.pop_first();
        }
    })?;
    print(args, found, newest.values()).map_err(Failure::breach)?;
    Ok(Exit::Whole)
}

fn print<'a>(args: &Args, found: u64, entries: impl ExactSizeIterator<Item = &'a Entry>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        for entry in entries {
            writeln!(out, "{}", entry.to_json())?;
        }
        return out.flush();
    }
    let listed = entries.len();
    writeln!(out, "{:<14}  {:<24}  {:<14}  {:<20}  WHAT", "PLACE", "TIME", "KIND", "SYMBOL")?;
    for entry in entries {
        let place = format!("{}:{}", entry.partition, entry.offset);
        let (time, symbol) = (entry.time().unwrap_or_default(), shown::cut(&entry.symbol, 20));
        writeln!(out, "{place:<14}  {time:<24}  {:<14}  {symbol:<20}  {}", entry.kind_name(), entry.what)?;
    }
    writeln!(out, "{listed} of {found} records")?;
    out.flush()
}
