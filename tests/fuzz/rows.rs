//! Everything that is read from a store, a topic, the feed or a settings file: any bytes are what an encoder
//! writes and come back the same, or an error that says why.

use std::{cell::RefCell, fs};

use serde_json::value::RawValue;
use tempfile::TempDir;
use tickgate::{
    config::{Config, Setting},
    core::rules::Suspects,
    finnhub::Message,
    model::{CheckpointRow, Claim, Event, EventTime, Kind, Rejection, Source, SymbolRow, number},
};
use tickgate_state::{ClassRow, RowError, RowKey};

/// The version of every row's value.
const VERSION: u8 = 1;

/// Everything that must hold for any bytes; the first says whose decoder gets the others.
pub fn run(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 12 {
        0 => row(bytes, SymbolRow::decode, SymbolRow::encode),
        1 => row(bytes, ClassRow::decode, ClassRow::encode),
        2 => row(bytes, CheckpointRow::decode, CheckpointRow::encode),
        3 => key(bytes),
        4 => source(bytes),
        5 => claim(bytes),
        6 => rejection(bytes),
        7 => event(bytes),
        8 => suspects(bytes),
        9 => texts(bytes),
        10 => feed(bytes),
        _ => settings(bytes),
    }
}

fn row<R>(bytes: &[u8], decode: fn(&[u8]) -> Result<R, RowError>, encode: fn(&R) -> Vec<u8>) {
    match decode(bytes) {
        Ok(row) => assert_eq!(encode(&row), bytes),
        Err(RowError::UnknownVersion { found, known }) => {
            assert_eq!((Some(&found), known), (bytes.first(), VERSION));
            assert_ne!(found, VERSION);
        }
        Err(_) => {
            assert!(bytes.first().is_none_or(|version| *version == VERSION), "an unknown version is read");
        }
    }
}

fn key(bytes: &[u8]) {
    match RowKey::decode(bytes) {
        Ok(key) => assert_eq!(key.encode(), bytes),
        Err(error) => assert!(matches!(error, RowError::BadKey { .. })),
    }
}

fn source(bytes: &[u8]) {
    match Source::decode(bytes) {
        Some(source) => assert_eq!(source.encode(), bytes),
        None => assert!(bytes.len() != 12 || bytes[0] >= 0x80 || bytes[4] >= 0x80),
    }
}

fn claim(bytes: &[u8]) {
    let Ok(metadata) = str::from_utf8(bytes) else { return };
    match Claim::decode(metadata) {
        Some(claim) => assert_eq!(claim.encode(), metadata),
        None => assert!(["", ";rel"].contains(&metadata)),
    }
}

fn rejection(bytes: &[u8]) {
    let Ok(evidence) = Rejection::from_header(bytes) else { return };
    let bounded = evidence.rejection.to_header(&evidence.topic, evidence.source);
    let read = Rejection::from_header(&bounded).expect("just written");
    assert_eq!(read.source, evidence.source);
    assert_eq!(read.rejection.broken.len() + read.truncated, evidence.rejection.broken.len());
    assert!(read.rejection.to_header(&read.topic, read.source).len() <= bounded.len());
}

fn event(bytes: &[u8]) {
    for kind in Kind::ALL {
        if let Some(Ok(event)) = Event::from_json(*kind, bytes) {
            let read = Event::from_json(*kind, &event.to_json()).expect("an event's kind");
            assert_eq!(read.expect("just written"), event);
        }
    }
}

fn suspects(bytes: &[u8]) {
    if let Some(suspects) = Suspects::from_header(bytes) {
        assert_eq!(Suspects::from_header(suspects.to_header().as_bytes()), Some(suspects));
    }
}

fn texts(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Some(time) = EventTime::parse(text) {
        assert_eq!(EventTime::parse(&time.to_string()), Some(time));
    }
    if let Ok(decimal) = number::parse(text) {
        assert_eq!(number::parse(&decimal.to_string()), Ok(decimal));
        assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "a number that is no JSON");
    }
}

fn feed(bytes: &[u8]) {
    let Message::Trades(trades) = Message::read(bytes) else { return };
    for trade in trades.into_iter().flatten() {
        assert!(!trade.symbol().is_empty());
        let value = trade.staging_value();
        assert!(serde_json::from_slice::<&RawValue>(&value).is_ok(), "a value that is no JSON");
    }
}

/// Settings that are right mean the same when what they are shown as is read.
fn settings(bytes: &[u8]) {
    thread_local! {
        static FOLDER: RefCell<TempDir> = RefCell::new(tempfile::tempdir().expect("a folder"));
    }
    // A secret's file may be any on the machine.
    if bytes.to_ascii_lowercase().windows(4).any(|part| part == b"file") {
        return;
    }
    FOLDER.with_borrow(|folder| {
        let path = folder.path().join("tickgate.toml");
        let load = |text: &[u8]| {
            fs::write(&path, text).expect("written");
            Config::load(Some(&path), [])
        };
        let Ok(config) = load(bytes) else { return };
        let line = |setting: &Setting| format!("{} = {}", setting.key, setting.value);
        let shown = config.settings().iter().map(line).collect::<Vec<_>>().join("\n");
        let again = load(shown.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{shown}"));
        let values = |config: &Config| -> Vec<(String, String)> {
            config.settings().iter().map(|setting| (setting.key.clone(), setting.value.clone())).collect()
        };
        assert_eq!(values(&again), values(&config));
        assert_eq!(again.fingerprint(), config.fingerprint());
    });
}
