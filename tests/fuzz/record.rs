//! Records that may be anything, through the core as a worker drives it, into messages as the shell builds
//! them, and past the auditor: each has exactly one output, byte for byte as promised.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use tickgate::{
    audit::{Count, Ends, Message, PartitionCheck, Scope},
    core::{
        Calendar, Class, Classes, Effect, Generation, Input, Now, Output, Processor, Record, Settings,
        effect::{Applied, Span, Writes},
        input::{Failure, Owner, Restored},
        output::describe_unsendable,
        rules::{RuleSettings, judge},
    },
    model::{CheckpointRow, EventTime, Partition, Source, SymbolRow, WallTime, headers, time::output_time},
};
use tickgate_state::RowKey;

use crate::bytes::Bytes;

const RECORDS_MAX: usize = 8;
const HEADERS_MAX: u8 = 7;
/// 2026-11-22T12:00:00Z.
const NOON_MS: i64 = 1_795_348_800_000;
const FINGERPRINT: u64 = 7;
const GENERATION: Generation = Generation(1);
const REFUSED: &str = "Broker: Message size too large";
const OWN_NAMES: [&str; 6] =
    [headers::SRC, headers::EPOCH, headers::SUSPECT, headers::KIND, headers::REJECTION, headers::REPLAY];

/// A record of staging, and whether Kafka refuses its output.
#[derive(Debug, Default)]
struct Given {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    time: Option<i64>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    refused: bool,
}

/// A record of an output topic.
#[derive(Debug)]
struct Made {
    at: Option<usize>,
    output: Output,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    time: Option<i64>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Kafka and the store, as far as the core sees them.
#[derive(Debug, Default)]
struct World {
    partition: Partition,
    given: Vec<Given>,
    /// Index of the current batch's first record.
    batch: usize,
    open: Vec<Made>,
    rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    stock_data: Vec<Made>,
    bad_data: Vec<Made>,
    changelog: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    store: BTreeMap<String, SymbolRow>,
    /// Next input that is to be read.
    next: usize,
}

/// Everything that must hold for any bytes.
pub fn run(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let options = bytes.u8();
    let mut world = World { partition: Partition::from(options >> 6), ..World::default() };
    let settings = settings(options & 1 != 0);
    let epoch = u32::from(options >> 1 & 1);
    let batch_records = usize::from(options >> 2 & 3) + 1;
    while !bytes.is_empty() && world.given.len() < RECORDS_MAX {
        let given = given(&mut bytes, world.given.last());
        world.given.push(given);
    }
    let mut core = Processor::new(settings.clone(), "me".to_owned(), at(0));
    core.handle(Input::Assigned { partitions: vec![world.partition], generation: GENERATION }, at(0));
    world.carry_out(&mut core, epoch, 0);
    let mut elapsed_ms = 0;
    while world.next < world.given.len() {
        elapsed_ms += settings.commit_interval_ms;
        world.read(&mut core, batch_records, epoch, elapsed_ms);
        core.handle(Input::Tick { generation: GENERATION }, at(elapsed_ms + settings.commit_interval_ms));
        world.carry_out(&mut core, epoch, elapsed_ms + settings.commit_interval_ms);
        assert!(elapsed_ms < 10_000, "the core makes no progress: {world:?}");
    }
    world.compare();
    world.audit(&settings);
}

fn settings(small: bool) -> Settings {
    let rules = RuleSettings { partitions: 3, ..RuleSettings::default() };
    let small_rules = RuleSettings {
        max_value_bytes: 96,
        max_symbol_bytes: 4,
        price_jump_permille: 1_001,
        repeated_price_after_ms: 1_000,
        rejects_wrong_partition: true,
        ..rules.clone()
    };
    Settings {
        staging: "staging".to_owned(),
        commit_interval_ms: 100,
        round_max_records: 3,
        classes: Arc::new(classes(small)),
        watchlist: Arc::default(),
        grace_ms: 50,
        renew_after_ms: i64::MAX / 2,
        hot_symbols: usize::from(!small),
        page_symbols: 1,
        scan_rows_max: 2,
        accept_loss: false,
        rules: if small { small_rules } else { rules },
        fingerprint: FINGERPRINT,
    }
}

/// With a level more and sessions of three seconds where `small`.
fn classes(small: bool) -> Classes {
    if !small {
        return Classes::of_one(None, Some(1_000));
    }
    let sessions = (0..100).map(|at| (NOON_MS + at * 7_000, NOON_MS + at * 7_000 + 3_000)).collect();
    let class = |name: &str, calendar| Class {
        name: name.into(),
        calendar,
        warn_after_ms: Some(500),
        error_after_ms: Some(1_000),
        feed_after_ms: Some(700),
    };
    let coins = (class("coins", Calendar::of_sessions("c", sessions)), vec!["B*".to_owned(), "A".to_owned()]);
    Classes::new(vec![coins], class(Class::DEFAULT, Calendar::always()))
}

fn at(ms: i64) -> Now {
    Now { wall: WallTime(NOON_MS + ms), monotonic_ms: ms }
}

fn given(bytes: &mut Bytes<'_>, last: Option<&Given>) -> Given {
    let shape = bytes.u8();
    let symbol = bytes.text();
    let value = match shape & 7 {
        0 => None,
        1 | 2 => Some(bytes.chunk().to_vec()),
        3 => last.and_then(|last| last.value.clone()),
        whole => Some(quote(&symbol, whole, bytes)),
    };
    let key = match shape >> 3 & 3 {
        0 => None,
        1 => Some(bytes.chunk().to_vec()),
        _ => Some(symbol.into_bytes()),
    };
    let time = match bytes.u8() {
        0 => None,
        1 => Some(-1),
        2 => Some(0),
        3 => Some(i64::MIN),
        4 => Some(i64::MAX),
        5..=40 => Some(bytes.i64()),
        _ => Some(NOON_MS),
    };
    let count = if shape & 32 == 0 { 0 } else { bytes.u8() % (HEADERS_MAX + 1) };
    let headers = (0..count).map(|_| header(bytes)).collect();
    Given { key, value, time, headers, refused: shape & 0xc0 == 0xc0 }
}

/// A value that is nearly a quote: its members' texts are the input's to choose.
fn quote(symbol: &str, shape: u8, bytes: &mut Bytes<'_>) -> Vec<u8> {
    let symbol = serde_json::to_string(symbol).expect("a string can always be written as JSON");
    let (price, volume) =
        if shape == 4 { ("1.5".to_owned(), "1".to_owned()) } else { (bytes.text(), bytes.text()) };
    let time = match bytes.u8() {
        0 => bytes.text(),
        1 => EventTime(bytes.i64()).to_string(),
        minutes => EventTime(NOON_MS - 60_000 * i64::from(minutes)).to_string(),
    };
    let rest = if shape == 7 { bytes.text() } else { String::new() };
    format!(r#"{{"symbol":{symbol},"last_price":{price},"volume":{volume},"timestamp":"{time}"{rest}}}"#)
        .into_bytes()
}

fn header(bytes: &mut Bytes<'_>) -> (String, Option<Vec<u8>>) {
    let which = bytes.u8();
    let name = match OWN_NAMES.get(usize::from(which & 7)) {
        Some(own) => (*own).to_owned(),
        None => bytes.text(),
    };
    (name, (which & 8 == 0).then(|| bytes.chunk().to_vec()))
}

impl World {
    fn source(&self, at: usize) -> Source {
        Source { partition: self.partition, offset: at.try_into().expect("few records") }
    }

    fn record(&self, at: usize) -> Record<'_> {
        let (given, Source { partition, offset }) = (&self.given[at], self.source(at));
        Record {
            partition,
            offset,
            kafka_time: real_time(given.time),
            key: given.key.as_deref(),
            value: given.value.as_deref(),
        }
    }

    /// Hands the next records over, one batch, until the core wants nothing more.
    fn read(&mut self, core: &mut Processor, number: usize, epoch: u32, ms: i64) {
        self.batch = self.next;
        self.next = (self.next + number).min(self.given.len());
        let records: Vec<Record<'_>> = (self.batch..self.next).map(|at| self.record(at)).collect();
        core.handle(Input::Arrivals { records: &records, generation: GENERATION }, at(ms));
        self.carry_out(core, epoch, ms);
    }

    fn carry_out(&mut self, core: &mut Processor, epoch: u32, ms: i64) {
        while let Some(effect) = core.poll_effect() {
            if !matches!(effect, Effect::Notice(_)) {
                core.handle(self.perform(effect, epoch), at(ms));
            }
        }
    }

    fn perform(&mut self, effect: Effect, epoch: u32) -> Input<'static> {
        let partition = self.partition;
        match effect {
            Effect::ReadOwners(_) => Input::Owners(vec![Owner { partition, claim: None }]),
            Effect::AwaitStable(_) => Input::Stable(vec![(partition, Some(0))]),
            Effect::ReadTargets(_) => Input::Targets(vec![(partition, 0)]),
            Effect::Restore(_) => Input::Restored(vec![Restored {
                partition,
                position: 0,
                checkpoint: Some(CheckpointRow {
                    next_offset: 0,
                    epoch,
                    fingerprint: FINGERPRINT,
                    input_time: None,
                }),
                classes: Vec::new(),
                log_start: 0,
                log_end: self.given.len().try_into().expect("few records"),
                time_below_checkpoint: None,
            }]),
            Effect::Lookup(symbols) => Input::LookedUp(
                symbols.iter().map(|(_, symbol)| self.store.get(&**symbol).cloned()).collect(),
            ),
            Effect::Scan { spans, limit } => {
                Input::Scanned(spans.iter().map(|span| self.span(span, limit)).collect())
            }
            Effect::Send(outputs) => self.send(outputs),
            Effect::Log(writes) => {
                self.rows.extend(writes.iter().flat_map(encoded));
                Input::Done
            }
            Effect::Commit => self.commit(),
            Effect::Abort => {
                self.open.clear();
                self.rows.clear();
                Input::Done
            }
            Effect::Rewind(offsets) => {
                for (_, offset) in offsets {
                    self.next = offset.try_into().expect("an offset of ours");
                }
                Input::Done
            }
            Effect::Apply(applied) => {
                for part in &applied {
                    self.apply(part);
                }
                Input::Done
            }
            Effect::Rejoin(reason) => panic!("the core starts over: {reason}"),
            Effect::Stop(stop) => panic!("the core stops: {stop:?}"),
            _ => Input::Done,
        }
    }

    fn span(&self, span: &Span, limit: usize) -> Vec<(Box<str>, SymbolRow)> {
        let until = span.until.as_deref();
        let rows = self.store.range::<str, _>((Bound::Included(&*span.from), Bound::Unbounded));
        rows.take_while(|(symbol, _)| until.is_none_or(|until| symbol.as_str() < until))
            .take(limit)
            .map(|(symbol, row)| (symbol.as_str().into(), row.clone()))
            .collect()
    }

    fn send(&mut self, outputs: Vec<Output>) -> Input<'static> {
        for output in outputs {
            let at = output.at().map(|at| self.batch + at);
            if let Some(at) = at
                && self.given[at].refused
                && !matches!(output, Output::Unsendable { .. })
            {
                let Source { partition, offset } = self.source(at);
                return Input::Failed(Failure::Unsendable { partition, offset, reason: REFUSED.to_owned() });
            }
            let made = self.made(at, output);
            self.open.push(made);
        }
        Input::Done
    }

    /// The output as a message, as the shell makes it.
    fn made(&self, at: Option<usize>, output: Output) -> Made {
        let input = at.map(|at| &self.given[at]);
        let kept = input.filter(|_| output.keeps_input());
        let mut headers: Vec<_> = kept.map(|kept| kept.headers.clone()).unwrap_or_default();
        let carries =
            |name: &str| input.is_some_and(|input| input.headers.iter().any(|(known, _)| known == name));
        output.own_headers(self.source(at.unwrap_or(0)), carries, |name, value| {
            headers.push((name.to_owned(), Some(value.to_vec())));
        });
        let (key, value) = match (&output, kept) {
            (_, Some(kept)) => (kept.key.clone(), kept.value.clone()),
            (Output::Event { symbol, value, .. }, _) => {
                (Some(symbol.as_bytes().to_vec()), Some(value.clone()))
            }
            (Output::Unsendable { reason, at: place, .. }, _) => {
                (None, Some(describe_unsendable(&self.record(self.batch + place), reason)))
            }
            _ => unreachable!("all others keep their input"),
        };
        Made {
            at,
            key,
            value,
            time: kept.map_or(Some(NOON_MS), |kept| output_time(real_time(kept.time))),
            headers,
            output,
        }
    }

    fn commit(&mut self) -> Input<'static> {
        for made in self.open.drain(..) {
            let topic = if made.output.kind().is_none() { &mut self.stock_data } else { &mut self.bad_data };
            topic.push(made);
        }
        self.changelog.append(&mut self.rows);
        Input::Committed(vec![(self.partition, self.changelog.len().try_into().expect("few rows"))])
    }

    fn apply(&mut self, applied: &Applied) {
        for (symbol, row) in &applied.writes[applied.index].rows {
            match row {
                Some(row) => drop(self.store.insert(symbol.to_string(), row.clone())),
                None => drop(self.store.remove(&**symbol)),
            }
        }
    }

    /// One output an input, of it or saying why not, and ours the last headers.
    fn compare(&self) {
        let mut outputs = vec![0; self.given.len()];
        for made in self.stock_data.iter().chain(&self.bad_data) {
            let last = |name: &str| made.headers.iter().rev().find(|(known, _)| known == name);
            let value = |name: &str| last(name).and_then(|(_, value)| value.as_deref());
            if let Some(kind) = made.output.kind() {
                assert_eq!(value(headers::KIND), Some(kind.name().as_bytes()), "{made:?}");
            }
            let Some(at) = made.at else { continue };
            outputs[at] += 1;
            assert_eq!(value(headers::SRC).and_then(Source::decode), Some(self.source(at)), "{made:?}");
            let given = &self.given[at];
            assert_eq!(matches!(made.output, Output::Unsendable { .. }), given.refused, "{made:?}");
            if !given.refused {
                assert_eq!((&made.key, &made.value), (&given.key, &given.value));
                assert_eq!(made.headers.get(..given.headers.len()), Some(&given.headers[..]));
            }
        }
        assert!(outputs.iter().all(|count| *count == 1), "{outputs:?} outputs: {self:?}");
    }

    /// The auditor reads it all back, and agrees.
    fn audit(&self, settings: &Settings) {
        let end = self.given.len().try_into().expect("few records");
        let mut check = PartitionCheck::new(Scope {
            partition: self.partition,
            cut: end,
            staging_end: end,
            staging: settings.staging.clone(),
            rules: settings.rules.clone(),
            classes: settings.classes.clone(),
            fingerprint: FINGERPRINT,
            shown_max: 20,
        });
        for ((key, value), offset) in self.changelog.iter().zip(0..) {
            check.row(&Message {
                offset,
                kafka_time: None,
                key: Some(key),
                value: value.as_deref(),
                headers: Vec::new(),
            });
        }
        for at in 0..self.given.len() {
            let (record, given) = (self.record(at), &self.given[at]);
            let message = Message {
                offset: record.offset,
                kafka_time: real_time(given.time),
                key: record.key,
                value: record.value,
                headers: borrowed(&given.headers),
            };
            check.input(&message, &judge(&record, &settings.rules));
        }
        check.inputs_read(0);
        for (made, offset) in self.stock_data.iter().zip(0..) {
            check.stock_data(&made.message(offset));
        }
        for (made, offset) in self.bad_data.iter().zip(0..) {
            check.bad_data(&made.message(offset));
        }
        let findings = check.finish(Ends { stock_data_start: 0, bad_data_start: 0, committed: Some(end) });
        assert!(findings.is_whole(), "{:#?}\n{self:#?}", findings.offenders());
        assert_eq!(findings.counted(Count::Inputs), self.given.len() as u64);
    }
}

impl Made {
    fn message(&self, offset: i64) -> Message<'_> {
        Message {
            offset,
            kafka_time: self.time,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: borrowed(&self.headers),
        }
    }
}

/// Kafka knows -1 as no time, and the shell is not told of one.
fn real_time(time: Option<i64>) -> Option<i64> {
    time.filter(|time| *time != -1)
}

fn borrowed(headers: &[(String, Option<Vec<u8>>)]) -> Vec<(&str, Option<&[u8]>)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect()
}

fn encoded(writes: &Writes) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let symbols = writes
        .rows
        .iter()
        .map(|(symbol, row)| (RowKey::Symbol(symbol).encode(), row.as_ref().map(SymbolRow::encode)));
    let classes = writes.classes.iter().map(|(name, row)| (RowKey::Class(name).encode(), Some(row.encode())));
    let checkpoint = (RowKey::Checkpoint.encode(), Some(writes.checkpoint.encode()));
    symbols.chain(classes).chain([checkpoint]).collect()
}
