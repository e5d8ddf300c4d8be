//! `tickgate watch`: who is on the watch list, and how a symbol's watch ends.
//!
//! `remove` puts a tombstone on staging, where the gate finds it in its place among the symbol's records: it answers
//! with `removed`, and forgets the symbol in the same transaction.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::anyhow;
use tokio::runtime::Handle;

use super::{Exit, Failure, reach, state};
use crate::config::Config;
use crate::journal::kafka::appender::{Addition, Appender, TopicError, check_topic};

/// Arguments of `tickgate watch`.
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
    /// Lists the symbols that are watched from when they were first listed
    List {
        /// As JSON, an object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: state::At,
    },
    /// Ends the watch of symbols: a tombstone on staging for each, on which the gate forgets it
    Remove {
        /// Which symbols
        #[arg(required = true, value_name = "SYMBOL")]
        symbols: Vec<String>,
    },
}

/// Runs to the end.
pub fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    match &args.action {
        Action::List { json, at } => state::list_watched(at, *json, config, args.timeout),
        Action::Remove { symbols } => remove(symbols, config, args.timeout),
    }
}

fn remove(symbols: &[String], config: &Config, timeout: Duration) -> Result<Exit, Failure> {
    reach(&config.kafka, timeout)?;
    let topic = config.topics.staging.as_str();
    check_topic(config, topic).map_err(|error| match error {
        TopicError::Unknown { .. } => Failure::unreachable(error),
        other => Failure::settings(other),
    })?;
    let records_max = u32::try_from(symbols.len()).unwrap_or(u32::MAX).max(1);
    let appender = Appender::new(config, "watch", records_max).map_err(Failure::settings)?;
    for symbol in symbols {
        let tombstone = Addition { topic, key: Some(symbol.as_bytes()), value: None, header: None };
        Handle::current().block_on(appender.append(tombstone)).map_err(Failure::breach)?;
    }
    let in_flight = appender.flush(timeout);
    let failed = appender.reports().failed();
    if failed > 0 {
        return Err(Failure::breach(anyhow!("{failed} of {} tombstones were refused", symbols.len())));
    }
    if in_flight > 0 {
        let words = "are not acknowledged; run the command again, a second tombstone does no harm";
        return Err(Failure::unreachable(anyhow!("{in_flight} of {} tombstones {words}", symbols.len())));
    }
    let mut out = io::stdout().lock();
    for symbol in symbols {
        let is_listed = config.freshness.watchlist.contains(symbol);
        let but =
            "; the settings list it: without that it is listed anew when its partition is taken over next";
        let rest = if is_listed { but } else { "" };
        writeln!(out, "`{}`: removed{rest}", symbol.escape_debug()).map_err(Failure::breach)?;
    }
    Ok(Exit::Whole)
}
