//! Tables and lines for people and programs.

use std::io::{self, Write};

use serde::Serialize;

use crate::model::Level;
use crate::query::{Holder, PartitionState, SymbolState};

/// A symbol's row and where its partition stands.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    symbol: &'a SymbolState,
    source: Holder,
    changelog_next: i64,
    next_offset: Option<i64>,
    epoch: Option<u32>,
}

const HEAD: [&str; 10] = [
    "PARTITION",
    "SYMBOL",
    "LAST SEEN",
    "LAST PRICE",
    "PRICE SINCE",
    "REPORTED",
    "LISTED",
    "SOURCE",
    "CHANGELOG",
    "INPUT",
];

/// Symbols as a table, or as JSON, an object a line.
pub(super) fn symbols(
    symbols: &[SymbolState],
    partitions: &[PartitionState],
    json: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let place =
        |symbol: &SymbolState| partitions.iter().find(|place| place.partition == symbol.partition).cloned();
    // An answer has the place of each row that it has.
    let placed = symbols.iter().filter_map(|symbol| Some((symbol, place(symbol)?)));
    if json {
        for (symbol, PartitionState { source, changelog_next, next_offset, epoch, .. }) in placed {
            line(&Line { symbol, source, changelog_next, next_offset, epoch }, out)?;
        }
        return Ok(());
    }
    let rows: Vec<_> = placed.map(|(symbol, place)| cells(symbol, &place)).collect();
    table(&HEAD, &rows, out)
}

fn cells(symbol: &SymbolState, place: &PartitionState) -> Vec<String> {
    let reported: Vec<String> = symbol.reported.iter().map(|level| text(Some(level_name(*level)))).collect();
    vec![
        symbol.partition.to_string(),
        // It may hold anything, also what moves a terminal's cursor.
        symbol.symbol.escape_debug().to_string(),
        text(symbol.last_seen),
        text(symbol.last_price.as_ref()),
        text(symbol.price_since),
        text(Some(reported.join(",")).filter(|reported| !reported.is_empty())),
        text(symbol.listed_at),
        source_name(place.source).to_owned(),
        place.changelog_next.to_string(),
        text(place.next_offset),
    ]
}

/// One object on one line.
pub(super) fn line(value: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Columns as wide as they must be.
pub(super) fn table(head: &[&str], rows: &[Vec<String>], out: &mut impl Write) -> io::Result<()> {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([head[at].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut put = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    put(&mut head.iter().copied())?;
    rows.iter().try_for_each(|row| put(&mut row.iter().map(String::as_str)))
}

/// `-` where there is nothing.
pub(super) fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

pub(super) fn source_name(source: Holder) -> &'static str {
    match source {
        Holder::Owner => "owner",
        Holder::Replica => "replica",
        Holder::Stopped => "stopped",
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Warn => "warn",
        Level::Error => "error",
    }
}
