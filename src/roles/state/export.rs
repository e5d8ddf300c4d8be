//! `tickgate state export`: every row of every kind, an object or a line each.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use tickgate_state::{ClassRow, RowError, RowKey};

use super::source::Source;
use super::{At, Exit, Failure, table};
use crate::config::Config;
use crate::model::{CheckpointRow, EventTime, Offset, Partition, SymbolRow};
use crate::query::{RawQuestion, RawRow};

/// Arguments of `tickgate state export`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How the rows are written
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// The file that is written, once all of it is there; standard output where none is named
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A JSON object a line
    Jsonl,
    /// A line with names, then a line for each row
    Csv,
}

/// A row; what its kind does not have is null or empty.
#[derive(Debug, Default, Serialize)]
struct Exported<'a> {
    partition: Partition,
    /// `symbol`, `class` or `checkpoint`.
    kind: &'static str,
    /// The symbol's or the class's.
    name: &'a str,
    /// The symbol's, or when a quote of the class was last accepted.
    last_seen: Option<EventTime>,
    /// Every digit, as text.
    last_price: Option<String>,
    price_since: Option<EventTime>,
    /// What a silence that was reported counts from.
    silence_from: Option<EventTime>,
    reported_warn: Option<bool>,
    reported_error: Option<bool>,
    listed_at: Option<EventTime>,
    next_offset: Option<Offset>,
    epoch: Option<u32>,
    /// Of the settings; in hex.
    fingerprint: Option<String>,
    input_time: Option<EventTime>,
    /// The changelog offset that the row stands for.
    changelog_next: Offset,
}

pub(super) fn run(args: &Args, config: &Config, timeout: Duration) -> Result<Exit, Failure> {
    let source = Source::open(&args.at, config, timeout)?;
    match &args.output {
        None => write(&source, args.format, io::stdout().lock())?,
        Some(path) => {
            let named = |error: io::Error| {
                Failure::settings(anyhow!("cannot write `{}`: {error}; name another file", path.display()))
            };
            let aside = aside(path);
            write(&source, args.format, File::create(&aside).map_err(named)?)?;
            fs::rename(&aside, path).map_err(named)?;
        }
    }
    Ok(Exit::Whole)
}

/// In the same folder, so that it can be renamed.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

fn write(source: &Source, format: Format, to: impl Write) -> Result<(), Failure> {
    let mut sink = match format {
        Format::Jsonl => Sink::Jsonl(BufWriter::new(to)),
        Format::Csv => Sink::Csv(Box::new(csv::Writer::from_writer(to))),
    };
    for state in source.partitions()? {
        let mut question = RawQuestion { limit: usize::MAX, after: None };
        loop {
            let page = source.rows(state.partition, &question)?;
            for row in &page.rows {
                let exported = read(state.partition, page.at.changelog_next, row)
                    .with_context(|| format!("partition {}: a row cannot be read", state.partition))
                    .map_err(Failure::breach)?;
                sink.put(&exported).map_err(Failure::breach)?;
            }
            question.after = page.rows.into_iter().next_back().map(|row| row.key).or(question.after);
            if !page.has_more {
                break;
            }
        }
    }
    sink.flush().map_err(Failure::breach)
}

enum Sink<W: Write> {
    Jsonl(BufWriter<W>),
    Csv(Box<csv::Writer<W>>),
}

impl<W: Write> Sink<W> {
    fn put(&mut self, row: &Exported<'_>) -> io::Result<()> {
        match self {
            Self::Jsonl(out) => table::line(row, out),
            Self::Csv(out) => out.serialize(row).map_err(io::Error::from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Jsonl(out) => out.flush(),
            Self::Csv(out) => out.flush(),
        }
    }
}

fn read(partition: Partition, changelog_next: Offset, row: &RawRow) -> Result<Exported<'_>, RowError> {
    let exported = Exported { partition, changelog_next, ..Exported::default() };
    Ok(match RowKey::decode(&row.key)? {
        RowKey::Symbol(name) => {
            let row = SymbolRow::decode(&row.value)?;
            Exported {
                kind: "symbol",
                name,
                last_seen: row.last_seen.map(EventTime),
                last_price: row.price.map(|price| price.to_string()),
                price_since: row.price_since.map(EventTime),
                silence_from: row.reported.map(|reported| EventTime(reported.silence_from)),
                reported_warn: row.reported.map(|reported| reported.warn),
                reported_error: row.reported.map(|reported| reported.error),
                listed_at: row.listed_at.map(EventTime),
                ..exported
            }
        }
        RowKey::Class(name) => {
            let row = ClassRow::decode(&row.value)?;
            Exported {
                kind: "class",
                name,
                last_seen: row.last_accepted.map(EventTime),
                silence_from: row.silent_from.map(EventTime),
                ..exported
            }
        }
        RowKey::Checkpoint => {
            let row = CheckpointRow::decode(&row.value)?;
            Exported {
                kind: "checkpoint",
                next_offset: Some(row.next_offset),
                epoch: Some(row.epoch),
                fingerprint: Some(format!("{:016x}", row.fingerprint)),
                input_time: row.input_time.map(EventTime),
                ..exported
            }
        }
    })
}
