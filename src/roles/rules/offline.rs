//! `tickgate rules test`: what each record of a file would get, the suspect rules included, as records of a symbol
//! follow each other.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use serde_json::value::RawValue;

use super::super::process::rule_settings;
use super::super::{Exit, Failure, shown};
use crate::config::Config;
use crate::core::Record;
use crate::core::rules::{History, RuleSettings, Suspects, Verdict, judge};
use crate::model::{EventTime, Partition, Rejection, partition_of};

/// A key that nothing is compared with: of a value without a readable symbol.
const UNKNOWN_KEY: &[u8] = b"?";

/// Arguments of `tickgate rules test`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 all records are accepted (suspect ones too) or removed, 1 some are rejected, \
    2 the file or the settings cannot be read."
)]
pub(super) struct Args {
    /// A record a line, `-` for standard input. A line is the record's value, as on staging; its key is taken
    /// to be its symbol, its partition its key's, and `future_time` is not judged. Empty lines are skipped
    file: PathBuf,
    /// Each line is `{"key":"AAPL","value":{…},"time":"2026-11-22T14:00:00Z","partition":0,"headers":{}}`: a value that
    /// is a string stands for the text in it, null or none for a tombstone; `time` is the record's Kafka time, RFC 3339 or
    /// ms since 1970; without it `future_time` is not judged; `partition` is the key's where it is not said;
    /// headers are not judged
    #[arg(long)]
    envelope: bool,
    /// Prints a JSON object a record, then one with the summary
    #[arg(long)]
    json: bool,
}

/// A record as the file says it.
#[derive(Debug, Default)]
struct Given<'a> {
    key: Option<Cow<'a, [u8]>>,
    value: Option<Cow<'a, [u8]>>,
    kafka_time: Option<i64>,
    partition: Option<Partition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    key: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    partition: Option<Partition>,
    #[serde(rename = "headers")]
    _headers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct SymbolAlone<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
}

/// What all records came to.
#[derive(Debug, Default, serde::Serialize)]
struct Summary {
    records: u64,
    accepted: u64,
    suspect: u64,
    rejected: u64,
    removed: u64,
    /// Records by rule.
    rules: BTreeMap<&'static str, u64>,
}

/// What has been judged so far.
#[derive(Debug)]
struct Judge {
    settings: RuleSettings,
    histories: HashMap<(Partition, String), History>,
    summary: Summary,
}

/// What one record got.
#[derive(Debug)]
struct Told {
    symbol: String,
    verdict: &'static str,
    suspects: Suspects,
    rejection: Option<Rejection>,
}

pub(super) fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    let reader: Box<dyn BufRead> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(&args.file)
            .with_context(|| format!("`{}` can't be read", args.file.display()))
            .map_err(failed)?;
        Box::new(BufReader::new(file))
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let summary = judge_all(reader, args, rule_settings(config), &mut out)?;
    out.flush().map_err(Failure::breach)?;
    Ok(if summary.rejected > 0 { Exit::Breach } else { Exit::Whole })
}

fn judge_all(
    reader: impl BufRead,
    args: &Args,
    settings: RuleSettings,
    out: &mut impl Write,
) -> Result<Summary, Failure> {
    let mut judge = Judge { settings, histories: HashMap::new(), summary: Summary::default() };
    if !args.json {
        writeln!(out, "{:>6}  {:<20}  {:<8}  RULES", "LINE", "SYMBOL", "VERDICT").map_err(Failure::breach)?;
    }
    for (line, number) in reader.split(b'\n').zip(1_i64..) {
        let line =
            line.with_context(|| format!("`{}` can't be read", args.file.display())).map_err(failed)?;
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if line.is_empty() {
            continue;
        }
        let given = if args.envelope {
            enveloped(line).map_err(|error| failed(error.context(format!("line {number}"))))?
        } else {
            bare(line)
        };
        let told = judge.next(&given, number);
        let written = if args.json { told.write_json(number, out) } else { told.write_row(number, out) };
        written.map_err(Failure::breach)?;
    }
    let summary = judge.summary;
    let written = if args.json {
        writeln!(out, "{}", json!({ "summary": summary }))
    } else {
        write!(out, "{}", summary.to_table())
    };
    written.map_err(Failure::breach)?;
    Ok(summary)
}

/// A line that is a record's value.
fn bare(line: &[u8]) -> Given<'_> {
    let symbol = serde_json::from_slice::<SymbolAlone<'_>>(line).ok().map(|alone| alone.symbol);
    let key = match symbol.filter(|symbol| !symbol.is_empty()) {
        Some(symbol) => Cow::Owned(symbol.as_bytes().to_vec()),
        None => Cow::Borrowed(UNKNOWN_KEY),
    };
    Given { key: Some(key), value: Some(Cow::Borrowed(line)), ..Given::default() }
}

fn enveloped(line: &[u8]) -> anyhow::Result<Given<'_>> {
    let envelope: Envelope<'_> = serde_json::from_slice(line)
        .context("expected an envelope, as `tickgate rules test --help` shows it")?;
    let value = match envelope.value.map(RawValue::get) {
        None => None,
        Some(text) if text.starts_with('"') => {
            let text: String = serde_json::from_str(text).context("`value`")?;
            Some(Cow::Owned(text.into_bytes()))
        }
        Some(text) => Some(Cow::Borrowed(text.as_bytes())),
    };
    let kafka_time = match envelope.time.map(RawValue::get) {
        None => None,
        Some(text) => {
            let said = serde_json::from_str::<String>(text).ok();
            let time =
                said.map_or_else(|| text.parse().ok(), |said| EventTime::parse(&said).map(|time| time.0));
            Some(time.ok_or_else(|| anyhow!("`time` is `{text}`, expected RFC 3339 or ms since 1970"))?)
        }
    };
    let key = envelope.key.map(|key| Cow::Owned(key.into_bytes()));
    Ok(Given { key, value, kafka_time, partition: envelope.partition })
}

impl Judge {
    fn next(&mut self, given: &Given<'_>, number: i64) -> Told {
        let home = given.key.as_deref().map_or(0, |key| partition_of(key, self.settings.partitions));
        let record = Record {
            partition: given.partition.unwrap_or(home),
            offset: number,
            kafka_time: given.kafka_time,
            key: given.key.as_deref(),
            value: given.value.as_deref(),
        };
        let key_text = || shown::bytes(given.key.as_deref().unwrap_or_default());
        let told = match judge(&record, &self.settings) {
            Verdict::Accepted { quote, suspects } => {
                let (symbol, time, price) = (quote.symbol.to_string(), quote.event_time.0, quote.price());
                let place = (record.partition, symbol.clone());
                let before = self.histories.get(&place).copied();
                let by_history = before.map(|history| history.judge(time, price, &self.settings));
                let after = before.map_or(History::begin(time, price), |history| history.accept(time, price));
                self.histories.insert(place, after);
                let suspects = suspects.or(by_history.unwrap_or_default());
                let verdict = if suspects.is_empty() { "accepted" } else { "suspect" };
                Told { symbol, verdict, suspects, rejection: None }
            }
            Verdict::Removed { symbol } => {
                self.histories.remove(&(record.partition, symbol.to_owned()));
                Told {
                    symbol: symbol.to_owned(),
                    verdict: "removed",
                    suspects: Suspects::default(),
                    rejection: None,
                }
            }
            Verdict::Rejected(rejection) => Told {
                symbol: key_text(),
                verdict: "rejected",
                suspects: Suspects::default(),
                rejection: Some(rejection),
            },
        };
        self.summary.count(&told);
        told
    }
}

impl Summary {
    fn count(&mut self, told: &Told) {
        self.records += 1;
        match told.verdict {
            "rejected" => self.rejected += 1,
            "removed" => self.removed += 1,
            verdict => {
                self.accepted += 1;
                self.suspect += u64::from(verdict == "suspect");
            }
        }
        let broken = told.rejection.iter().flat_map(|rejection| &rejection.broken).map(|one| one.rule.name());
        let mut names: Vec<_> = told.suspects.iter().map(crate::model::Rule::name).chain(broken).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            *self.rules.entry(name).or_default() += 1;
        }
    }

    fn to_table(&self) -> String {
        let mut text = format!(
            "{} records: {} accepted ({} of them suspect), {} rejected, {} removed\n",
            self.records, self.accepted, self.suspect, self.rejected, self.removed
        );
        for (rule, count) in &self.rules {
            let _ = writeln!(text, "    {rule:<20}{count:>8}");
        }
        text
    }
}

impl Told {
    fn write_row(&self, number: i64, out: &mut impl Write) -> io::Result<()> {
        let why = match &self.rejection {
            None => self.suspects.to_header(),
            Some(rejection) => {
                let told = rejection.broken.iter().map(|one| {
                    let (rule, found) = (one.rule.name(), shown::cut(&one.found, 60));
                    format!("{rule}({}): found {found}, expected {}", one.field, shown::text(&one.expected))
                });
                told.collect::<Vec<_>>().join("; ")
            }
        };
        writeln!(out, "{number:>6}  {:<20}  {:<8}  {why}", shown::cut(&self.symbol, 20), self.verdict)
    }

    fn write_json(&self, number: i64, out: &mut impl Write) -> io::Result<()> {
        let rules: Vec<_> = self.rejection.iter().flat_map(|rejection| &rejection.broken).collect();
        let suspects: Vec<_> = self.suspects.iter().map(crate::model::Rule::name).collect();
        let told = json!({
            "line": number,
            "symbol": self.symbol,
            "verdict": self.verdict,
            "rules": rules,
            "suspects": suspects,
        });
        writeln!(out, "{told}")
    }
}

fn failed(cause: anyhow::Error) -> Failure {
    Failure::settings(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(lines: &str, envelope: bool) -> (Vec<serde_json::Value>, Summary) {
        let args = Args { file: "-".into(), envelope, json: true };
        let settings = RuleSettings { partitions: 3, ..RuleSettings::DEFAULT };
        let mut out = Vec::new();
        let summary = judge_all(lines.as_bytes(), &args, settings, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        (out.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), summary)
    }

    fn quote(symbol: &str, price: &str, minute: u32) -> String {
        format!(
            r#"{{"symbol":"{symbol}","last_price":{price},"volume":1,"timestamp":"2026-11-22T{:02}:{:02}:00Z"}}"#,
            minute / 60,
            minute % 60
        )
    }

    #[test]
    fn records_of_a_symbol_follow_each_other() {
        let lines = [
            quote("A", "10", 0),
            quote("B", "99", 1),
            quote("A", "10.0", 61),
            quote("A", "21", 60),
            quote("A", "21", 62),
            "{".to_owned(),
            String::new(),
            quote("A", "-1", 63),
        ];
        let (told, summary) = judged(&lines.join("\n"), false);
        let verdicts: Vec<_> = told.iter().filter_map(|one| one["verdict"].as_str()).collect();
        assert_eq!(
            verdicts,
            ["accepted", "accepted", "suspect", "suspect", "suspect", "rejected", "rejected"]
        );
        assert_eq!(told[2]["suspects"], json!(["repeated_price"]));
        assert_eq!(told[3]["suspects"], json!(["price_jump", "late"]));
        assert_eq!(told[4]["suspects"], json!(["price_jump"]));
        assert_eq!(told[6]["line"], 8);
        assert_eq!(told[6]["rules"][0]["rule"], "price_not_positive");
        assert_eq!((summary.accepted, summary.suspect, summary.rejected), (5, 3, 2));
        assert_eq!(told[7]["summary"]["rules"]["price_jump"], 2);
    }

    #[test]
    fn an_envelope_says_the_rest() {
        let value = quote("A", "10", 0);
        let text = serde_json::to_string(&value).unwrap();
        let lines = [
            format!(r#"{{"key":"A","value":{value},"time":"2026-11-22T00:00:00Z"}}"#),
            format!(r#"{{"key":"B","value":{text},"time":1795305594000,"headers":{{"a":1}}}}"#),
            r#"{"key":"A","value":null}"#.to_owned(),
            format!(r#"{{"value":{value}}}"#),
            format!(r#"{{"key":"A","value":{value},"partition":{}}}"#, (partition_of(b"A", 3) + 1) % 3),
        ];
        let (told, summary) = judged(&lines.join("\n"), true);
        let rules = |at: usize| -> Vec<_> {
            told[at]["rules"].as_array().unwrap().iter().map(|one| one["rule"].as_str().unwrap()).collect()
        };
        assert_eq!(told[0]["verdict"], "accepted");
        assert_eq!(rules(1), ["future_time", "key_mismatch"]);
        assert_eq!(told[2]["verdict"], "removed");
        assert_eq!(rules(3), ["missing_key"]);
        assert_eq!(told[4]["suspects"], json!(["wrong_partition"]));
        assert_eq!(summary.removed, 1);
        for line in ["{}}", r#"{"value":1,"time":"noon"}"#, r#"{"vaule":1}"#] {
            assert!(enveloped(line.as_bytes()).is_err(), "{line}");
        }
    }
}
