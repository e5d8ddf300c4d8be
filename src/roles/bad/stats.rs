//! `tickgate bad stats`.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use serde_json::json;

use super::super::audit::kafka::Kafka;
use super::super::{Exit, Failure, shown};
use super::choice::kind;
use super::{Choice, Entry, read};
use crate::config::Config;
use crate::model::{Kind, Rule, WallTime};

/// Arguments of `tickgate bad stats`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What is counted by; a rejection counts for each rule that it broke
    #[arg(long, value_enum, default_value_t = By::Rule)]
    by: By,
    #[command(flatten)]
    choice: Choice,
    /// Only of this kind; by rule there is only `rejected`
    #[arg(long = "kind", value_name = "KIND", value_parser = kind)]
    kinds: Vec<Kind>,
    /// At most so many rows: the largest, of hours the newest
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum By {
    Rule,
    Symbol,
    Kind,
    Hour,
}

impl By {
    fn name(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Symbol => "symbol",
            Self::Kind => "kind",
            Self::Hour => "hour",
        }
    }

    /// What a record counts for.
    fn names(self, entry: &Entry) -> Vec<String> {
        match self {
            Self::Rule => entry.rules.iter().map(|rule| Rule::name(*rule).to_owned()).collect(),
            Self::Symbol => vec![entry.symbol.clone()],
            Self::Kind => vec![entry.kind_name().to_owned()],
            Self::Hour => {
                let hour = entry.time_ms.map(|ms| WallTime(ms - ms.rem_euclid(3_600_000)).to_string());
                vec![hour.unwrap_or_else(|| "none".to_owned())]
            }
        }
    }
}

pub(super) fn run(args: &Args, kafka: &Kafka, config: &Config) -> Result<Exit, Failure> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut total: u64 = 0;
    read(kafka, config, &args.choice, |entry| {
        let by_rule = args.by == By::Rule;
        let is_meant = args.kinds.is_empty() || entry.kind.is_some_and(|kind| args.kinds.contains(&kind));
        if !is_meant || (by_rule && entry.kind != Some(Kind::Rejected)) {
            return;
        }
        total += 1;
        for name in args.by.names(&entry) {
            *counts.entry(name).or_default() += 1;
        }
    })?;
    print(args, total, rows(args, counts)).map_err(Failure::breach)?;
    Ok(Exit::Whole)
}

/// The rows to show: hours in their order, all else the most frequent first.
fn rows(args: &Args, counts: BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let mut rows: Vec<_> = counts.into_iter().collect();
    if args.by == By::Hour {
        let older = rows.len().saturating_sub(args.limit);
        return rows.split_off(older);
    }
    rows.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    rows.truncate(args.limit);
    rows
}

#[allow(clippy::cast_precision_loss)] // a share in percent, of counts far below 2^52
fn print(args: &Args, total: u64, rows: Vec<(String, u64)>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let share = |count: u64| count as f64 / total.max(1) as f64;
    if args.json {
        let by: Vec<_> = rows
            .into_iter()
            .map(|(name, count)| json!({ "name": name, "count": count, "share": share(count) }))
            .collect();
        writeln!(out, "{}", json!({ "records": total, "by": args.by.name(), "rows": by }))?;
        return out.flush();
    }
    writeln!(out, "{:<32}  {:>12}  {:>7}", args.by.name().to_uppercase(), "RECORDS", "SHARE")?;
    for (name, count) in rows {
        writeln!(out, "{:<32}  {count:>12}  {:>6.2}%", shown::cut(&name, 32), share(count) * 100.0)?;
    }
    writeln!(out, "{:<32}  {total:>12}", "all records")?;
    out.flush()
}
