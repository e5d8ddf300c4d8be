//! A record of `bad_data`, as far as it is listed, counted and chosen by.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::shown;
use crate::audit::Message;
use crate::model::rejection::Evidence;
use crate::model::{Event, Kind, Offset, Partition, Rejection, Rule, WallTime, headers};

/// What is shown of a value whose kind has no words of its own, in characters.
const SHOWN_CHARS: usize = 100;

/// One record.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its partition.
    pub partition: Partition,
    /// Its offset.
    pub offset: Offset,
    /// Its time, in ms since 1970.
    pub time_ms: Option<i64>,
    /// `None` where `tg-kind` is no kind that this version knows.
    pub kind: Option<Kind>,
    /// Its key as a text, or what its value calls the symbol; empty where neither is there.
    pub symbol: String,
    /// The rules that it broke, each once.
    pub rules: Vec<Rule>,
    /// What `tg-rejection` says.
    pub evidence: Option<Evidence>,
    /// The rest in a few words, on one line.
    pub what: String,
}

#[derive(Deserialize)]
struct SymbolAlone {
    symbol: String,
}

impl Entry {
    /// Reads a record as the gate writes them; anything else is shown as it is.
    pub fn read(partition: Partition, message: &Message<'_>) -> Self {
        let name = message.last(headers::KIND).and_then(|name| std::str::from_utf8(name).ok());
        let kind = name.and_then(Kind::from_name);
        let rejection = message.last(headers::REJECTION).filter(|_| kind == Some(Kind::Rejected));
        let evidence = rejection.map(Rejection::from_header);
        let mut rules: Vec<_> =
            evidence.iter().flatten().flat_map(|told| &told.rejection.broken).map(|one| one.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        let what = match (&evidence, kind) {
            (Some(Ok(evidence)), _) => broken(evidence),
            (Some(Err(error)), _) => shown::text(&error.to_string()).into_owned(),
            (None, Some(kind)) => describe(kind, message.value.unwrap_or_default()),
            (None, None) => format!("tg-kind is {}", name.map_or("missing".into(), shown::text)),
        };
        Self {
            partition,
            offset: message.offset,
            time_ms: message.kafka_time,
            kind,
            symbol: symbol(message),
            rules,
            evidence: evidence.and_then(Result::ok),
            what,
        }
    }

    /// Its time as people and programs read it.
    pub fn time(&self) -> Option<String> {
        self.time_ms.map(|ms| WallTime(ms).to_string())
    }

    /// Its kind's name.
    pub fn kind_name(&self) -> &'static str {
        self.kind.map_or("unknown", Kind::name)
    }

    /// The record as JSON, without its bytes.
    pub fn to_json(&self) -> Value {
        let rules: Vec<_> = self.rules.iter().map(|rule| rule.name()).collect();
        let source = self.evidence.as_ref().map(|evidence| {
            let source = evidence.source;
            json!({ "topic": evidence.topic, "partition": source.partition, "offset": source.offset })
        });
        json!({
            "partition": self.partition,
            "offset": self.offset,
            "time": self.time(),
            "kind": self.kind_name(),
            "symbol": self.symbol,
            "rules": rules,
            "source": source,
            "what": self.what,
        })
    }
}

fn symbol(message: &Message<'_>) -> String {
    match message.key {
        Some(key) if !key.is_empty() => String::from_utf8_lossy(key).into_owned(),
        _ => {
            let value = message.value.unwrap_or_default();
            serde_json::from_slice::<SymbolAlone>(value).map(|alone| alone.symbol).unwrap_or_default()
        }
    }
}

fn broken(evidence: &Evidence) -> String {
    let told = evidence
        .rejection
        .broken
        .iter()
        .map(|one| format!("{}({}): {}", one.rule.name(), one.field, shown::cut(&one.found, 40)));
    let mut told: Vec<_> = told.collect();
    if evidence.truncated > 0 {
        told.push(format!("{} more", evidence.truncated));
    }
    told.join("; ")
}

fn describe(kind: Kind, value: &[u8]) -> String {
    match Event::from_json(kind, value) {
        Some(Ok(Event::FeedSilent(said) | Event::FeedRecovered(said))) => {
            let (class, ms) = (shown::text(&said.class), said.silence_ms);
            format!("class {class}, last accepted {}, silent for {ms} ms", said.last_seen)
        }
        Some(Ok(Event::Stale(said) | Event::Recovered(said))) => {
            let silence = said.silence_ms.map_or(String::new(), |ms| format!(", silent for {ms} ms"));
            format!("class {}, last seen {}{silence}", shown::text(&said.class), said.last_seen)
        }
        _ => shown::cut(&String::from_utf8_lossy(value), SHOWN_CHARS),
    }
}
