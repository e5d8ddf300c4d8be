//! Symbols of the watch list, as the store has them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

use super::source::Source;
use super::{At, Exit, Failure, table};
use crate::config::Config;
use crate::query::{Cursor, Question};

/// Rows asked for at once.
const PAGE_ROWS: usize = 10_000;

/// Prints every symbol with a listing, and on standard error what the settings list and the store does not have.
pub(in crate::roles) fn list(
    at: &At,
    json: bool,
    config: &Config,
    timeout: Duration,
) -> Result<Exit, Failure> {
    let source = Source::open(at, config, timeout)?;
    let mut question = Question { limit: PAGE_ROWS, ..Question::default() };
    let mut missing: BTreeSet<&str> = config.freshness.watchlist.iter().map(String::as_str).collect();
    let (mut listed, mut places) = (Vec::new(), BTreeMap::new());
    loop {
        let page = source.symbols(&question)?;
        listed.extend(page.symbols.into_iter().filter(|symbol| symbol.listed_at.is_some()));
        places.extend(page.partitions.into_iter().map(|place| (place.partition, place)));
        let Some(next) = page.next else { break };
        question.after = Some(Cursor::read(&next).map_err(Failure::breach)?);
    }
    for symbol in &listed {
        missing.remove(symbol.symbol.as_str());
    }
    let places: Vec<_> = places.into_values().collect();
    let mut out = io::stdout().lock();
    table::symbols(&listed, &places, json, &mut out).map_err(Failure::breach)?;
    out.flush().map_err(Failure::breach)?;
    if !missing.is_empty() {
        let names: Vec<&str> = missing.into_iter().collect();
        let words = "on the settings' watch list and not listed yet, which the owner of their partition does";
        writeln!(io::stderr().lock(), "{words}: {}", names.join(", ")).map_err(Failure::breach)?;
    }
    Ok(Exit::Whole)
}
