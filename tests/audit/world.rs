//! A small whole world of one partition, as the gate would leave it.
//!
//! The outputs come from a plain fold over the inputs that shares only the rules with the gate.

use std::collections::BTreeMap;

use tickgate::core::record::Record;
use tickgate::core::rules::{RuleSettings, Verdict, judge};
use tickgate::model::{
    ClassRow, Event, EventTime, FeedSilence, Freshness, Kind, Level, NoticedBy, Rule, Source, WallTime,
    headers, partition_of,
};
use tickgate_state::{CheckpointRow, Reported, RowKey, SymbolRow};

/// Kafka time of the first input, in ms since 1970: 2026-11-22T00:00:00Z.
pub const START_MS: i64 = 1_795_305_600_000;
pub const THRESHOLD_MS: i64 = 4 * 3_600_000;
/// A price that is the same for longer is suspect, where nothing is set.
const REPEATED_MS: i64 = 3_600_000;

/// What the checkpoint rows say of the settings, unless told otherwise.
pub const FINGERPRINT: u64 = 7;

/// One record of any topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub offset: i64,
    pub time: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// One partition of all four topics, and what the group has committed.
#[derive(Debug, Clone)]
pub struct World {
    pub partition: i32,
    pub staging_name: String,
    pub rules: RuleSettings,
    pub staging: Vec<Entry>,
    pub stock_data: Vec<Entry>,
    pub bad_data: Vec<Entry>,
    pub changelog: Vec<Entry>,
    pub cut: i64,
    /// What the checkpoint rows say of the settings.
    pub fingerprint: u64,
}

/// The state of a symbol in the fold.
#[derive(Debug, Clone, Default)]
struct Symbol {
    last_seen: Option<i64>,
    /// Since when it has had its price, which is the same in all of its quotes.
    since: i64,
    reported: Option<Reported>,
}

impl World {
    /// A world in which every kind of output and event occurs, `repeats` times over.
    pub fn whole(partition: i32, partitions: i32, staging_name: &str, repeats: i64) -> Self {
        let rules = RuleSettings { partitions, ..RuleSettings::default() };
        let mut symbols = (0..).map(|number| format!("SYM:{number}"));
        let mut next = || symbols.find(|symbol| partition_of(symbol.as_bytes(), partitions) == partition);
        let (apple, other) = (next().unwrap(), next().unwrap());
        let astray = (0..1_000)
            .map(|number| format!("ASTRAY:{number}"))
            .find(|symbol| partitions == 1 || partition_of(symbol.as_bytes(), partitions) != partition)
            .unwrap();
        let mut staging = Vec::new();
        for repeat in 0..repeats {
            let at = repeat * 3 * THRESHOLD_MS;
            staging.extend([
                quote(&apple, at),
                quote(&other, at + 10),
                Entry { value: Some(b"{\"symbol\":1}".to_vec()), ..quote(&apple, at + 20) },
                Entry {
                    headers: vec![
                        ("trace".to_owned(), b"42".to_vec()),
                        (headers::SRC.to_owned(), Source { partition, offset: 0 }.encode().to_vec()),
                        (headers::KIND.to_owned(), b"stale".to_vec()),
                    ],
                    ..quote(&apple, at + 1_000)
                },
                Entry { value: None, ..quote(&other, at + 1_010) },
                Entry { value: None, key: None, ..quote(&other, at + 1_020) },
                // Late: it passes, and moves nothing.
                Entry { time: START_MS + at + 2_000, ..quote(&apple, at + 500) },
                quote(&astray, at + 2_010),
                // A silence, reported and ended.
                quote(&apple, at + 2_000 + THRESHOLD_MS),
                quote(&other, at + 2_010 + THRESHOLD_MS),
            ]);
        }
        for (entry, offset) in staging.iter_mut().zip(0..) {
            entry.offset = offset;
        }
        let cut = i64::try_from(staging.len()).unwrap();
        let staging_name = staging_name.to_owned();
        let mut world = Self {
            partition,
            staging_name,
            rules,
            staging,
            stock_data: Vec::new(),
            bad_data: Vec::new(),
            changelog: Vec::new(),
            cut,
            fingerprint: FINGERPRINT,
        };
        world.fold();
        world
    }

    /// The gate's outputs for all inputs, three of them a round, in place of what is there.
    pub fn fold(&mut self) {
        (self.stock_data, self.bad_data, self.changelog) = Default::default();
        let mut symbols: BTreeMap<String, Symbol> = BTreeMap::new();
        let staging = std::mem::take(&mut self.staging);
        for round in staging.chunks(3) {
            for input in round {
                self.fold_one(input, &mut symbols);
            }
            let rows: Vec<_> = symbols
                .iter()
                .map(|(name, symbol)| {
                    let row = SymbolRow {
                        last_seen: symbol.last_seen,
                        reported: symbol.reported,
                        ..SymbolRow::default()
                    };
                    let value = symbol.last_seen.map(|_| row.encode());
                    row_entry(RowKey::Symbol(name), value)
                })
                .collect();
            self.changelog.extend(rows);
            let next_offset = round.last().unwrap().offset + 1;
            let row =
                CheckpointRow { next_offset, epoch: 0, fingerprint: self.fingerprint, input_time: None };
            self.changelog.push(row_entry(RowKey::Checkpoint, Some(row.encode())));
        }
        self.staging = staging;
        self.renumber();
    }

    /// Gives outputs and rows the offsets that their places have.
    pub fn renumber(&mut self) {
        for topic in [&mut self.stock_data, &mut self.bad_data, &mut self.changelog] {
            for (entry, offset) in topic.iter_mut().zip(0..) {
                entry.offset = offset;
            }
        }
    }

    fn fold_one(&mut self, input: &Entry, symbols: &mut BTreeMap<String, Symbol>) {
        let record = Record {
            partition: self.partition,
            offset: input.offset,
            kafka_time: Some(input.time),
            key: input.key.as_deref(),
            value: input.value.as_deref(),
        };
        let source = Source { partition: self.partition, offset: input.offset };
        let mut output = input.clone();
        let mut add = |name: &str, value: Vec<u8>| output.headers.push((name.to_owned(), value));
        add(headers::SRC, source.encode().to_vec());
        match judge(&record, &self.rules) {
            Verdict::Rejected(rejection) => {
                add(headers::KIND, Kind::Rejected.name().into());
                add(headers::REJECTION, rejection.to_header(&self.staging_name, source));
                self.bad_data.push(output);
            }
            Verdict::Removed { symbol } => {
                add(headers::KIND, Kind::Removed.name().into());
                self.bad_data.push(output);
                symbols.insert(symbol.to_owned(), Symbol::default());
            }
            Verdict::Accepted { quote, mut suspects } => {
                let symbol = symbols.entry(quote.symbol.to_string()).or_default();
                let time = quote.event_time.0;
                if symbol.last_seen.is_some_and(|last_seen| time < last_seen) {
                    suspects.insert(Rule::Late);
                } else if symbol.last_seen.is_some() && time - symbol.since > REPEATED_MS {
                    suspects.insert(Rule::RepeatedPrice);
                }
                if !suspects.is_empty() {
                    add(headers::SUSPECT, suspects.to_header().into_bytes());
                }
                if let Some(last_seen) = symbol.last_seen.filter(|last_seen| time - last_seen > THRESHOLD_MS)
                {
                    for kind in [Kind::Stale, Kind::Recovered] {
                        self.bad_data.push(event(kind, &quote.symbol, last_seen, time));
                    }
                }
                if symbol.last_seen.is_none_or(|last_seen| time > last_seen) {
                    let since = if symbol.last_seen.is_some() { symbol.since } else { time };
                    *symbol = Symbol { last_seen: Some(time), since, reported: None };
                }
                self.stock_data.push(output);
            }
        }
    }
}

/// A reported silence, as an event.
pub fn event(kind: Kind, symbol: &str, last_seen: i64, now: i64) -> Entry {
    let said = Freshness {
        symbol: symbol.to_owned(),
        class: "default".to_owned(),
        last_seen: EventTime(last_seen),
        level: Level::Error,
        threshold_ms: Some(THRESHOLD_MS),
        calendar: "24x7".to_owned(),
        detected_at: WallTime(now),
        noticed_by: NoticedBy::NextRecord,
        silence_ms: Some(now - last_seen),
        late_delivery: false,
        never_seen: false,
        feed_silent: false,
    };
    let event = if kind == Kind::Stale { Event::Stale(said) } else { Event::Recovered(said) };
    Entry {
        offset: 0,
        time: now,
        key: Some(symbol.as_bytes().to_vec()),
        value: Some(event.to_json()),
        headers: vec![(headers::KIND.to_owned(), kind.name().into())],
    }
}

fn quote(symbol: &str, after_ms: i64) -> Entry {
    let time = START_MS + after_ms;
    let value = format!(
        r#"{{"symbol":"{symbol}","last_price":189.12,"volume":0,"timestamp":"{}"}}"#,
        EventTime(time)
    );
    Entry {
        offset: 0,
        time,
        key: Some(symbol.as_bytes().to_vec()),
        value: Some(value.into_bytes()),
        headers: Vec::new(),
    }
}

fn row_entry(key: RowKey<'_>, value: Option<Vec<u8>>) -> Entry {
    Entry { offset: 0, time: START_MS, key: Some(key.encode()), value, headers: Vec::new() }
}

/// The silence of a whole class, as an event.
pub fn feed_event(kind: Kind, class: &str, last_seen: i64, now: i64) -> Entry {
    let said = FeedSilence {
        class: class.to_owned(),
        last_seen: EventTime(last_seen),
        threshold_ms: 600_000,
        calendar: "24x7".to_owned(),
        detected_at: WallTime(now),
        noticed_by: NoticedBy::Clock,
        silence_ms: now - last_seen,
    };
    let event = if kind == Kind::FeedSilent { Event::FeedSilent(said) } else { Event::FeedRecovered(said) };
    Entry {
        offset: 0,
        time: now,
        key: Some(class.as_bytes().to_vec()),
        value: Some(event.to_json()),
        headers: vec![(headers::KIND.to_owned(), kind.name().into())],
    }
}

/// A class's row.
pub fn class_row(class: &str, row: &ClassRow) -> Entry {
    row_entry(RowKey::Class(class), Some(row.encode()))
}
