//! `tickgate bad show`.

use std::fmt::Write as _;
use std::io::{self, Write};

use anyhow::anyhow;
use serde_json::{Value, json};

use super::super::audit::kafka::{Kafka, Range};
use super::super::{Exit, Failure, shown};
use super::Entry;
use super::choice::Place;
use crate::audit::Message;
use crate::config::Config;
use crate::model::{Source, headers};

/// Arguments of `tickgate bad show`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where it is, as `tickgate bad list` says
    #[arg(value_name = "PARTITION:OFFSET")]
    place: Place,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, kafka: &Kafka, config: &Config) -> Result<Exit, Failure> {
    let (topic, Place { partition, offset }) = (&config.topics.bad_data, args.place);
    let partitions = kafka.partitions(&[topic])?;
    if partition >= partitions {
        let last = partitions - 1;
        return Err(Failure::settings(anyhow!("partition {partition}: expected one from 0 to {last}")));
    }
    let retained = kafka.settled(topic, &[partition])?;
    let range = retained.iter().map(|range| Range {
        start: offset.max(range.start),
        end: offset.saturating_add(1).min(range.end),
        ..*range
    });
    let mut told = None;
    kafka.read(topic, &range.collect::<Vec<_>>(), |partition, message| {
        if message.offset == offset {
            let entry = Entry::read(partition, message);
            told =
                Some(if args.json { to_json(&entry, message).to_string() } else { to_text(&entry, message) });
        }
    })?;
    let Some(told) = told else {
        let (start, end) = retained.first().map_or((0, 0), |range| (range.start, range.end));
        return Err(Failure::settings(anyhow!(
            "`{topic}` has no record at {partition}:{offset}; it retains {start} to {end}, and some offsets are \
             markers of transactions; `tickgate bad list` says where records are"
        )));
    };
    writeln!(io::stdout().lock(), "{}", told.trim_end()).map_err(Failure::breach)?;
    Ok(Exit::Whole)
}

fn to_text(entry: &Entry, message: &Message<'_>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, said: &str| {
        let _ = writeln!(text, "{name:<12}{said}");
    };
    line("place", &format!("{}:{}", entry.partition, entry.offset));
    line("time", &entry.time().unwrap_or_else(|| "none".to_owned()));
    line("kind", entry.kind_name());
    if let Some(Source { partition, offset }) = message.source() {
        let topic = entry.evidence.as_ref().map_or("staging", |evidence| &evidence.topic);
        line("source", &format!("{topic} {partition}:{offset}"));
    }
    let bytes = |bytes: Option<&[u8]>| bytes.map_or("null".to_owned(), shown::bytes);
    line("key", &bytes(message.key));
    line("value", &bytes(message.value));
    for (name, value) in message.headers.iter().filter(|(name, _)| *name != headers::REJECTION) {
        let value = match (*name, value) {
            (headers::SRC | headers::EPOCH, Some(value)) => value.escape_ascii().to_string(),
            (_, value) => bytes(*value),
        };
        line("header", &format!("{} = {value}", shown::text(name)));
    }
    match &entry.evidence {
        None => line("what", &entry.what),
        Some(evidence) => {
            for one in &evidence.rejection.broken {
                line("broken", &format!("{}({})", one.rule.name(), shown::text(&one.field)));
                line("    found", &shown::text(&one.found));
                line("    expected", &shown::text(&one.expected));
            }
            if evidence.truncated > 0 {
                line("broken", &format!("{} more, for which there was no room", evidence.truncated));
            }
        }
    }
    text
}

fn to_json(entry: &Entry, message: &Message<'_>) -> Value {
    let mut told = entry.to_json();
    let broken: Vec<_> = entry.evidence.iter().flat_map(|evidence| &evidence.rejection.broken).collect();
    told["broken"] = json!(broken);
    put_bytes(&mut told, "key", message.key);
    put_bytes(&mut told, "value", message.value);
    let all = message.headers.iter().map(|(name, value)| {
        let mut header = json!({ "name": name });
        put_bytes(&mut header, "value", *value);
        header
    });
    told["headers"] = all.collect::<Vec<_>>().into();
    told
}

/// Bytes that are no text come in hex, under `<name>_hex`.
fn put_bytes(told: &mut Value, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => told[name] = Value::Null,
        Some(Ok(text)) => told[name] = text.into(),
        Some(Err(bytes)) => {
            let hex: String = bytes.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            told[format!("{name}_hex")] = hex.into();
        }
    }
}
