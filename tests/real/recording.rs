//! The feed into a file, and the file into staging.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use tickgate::finnhub::simulator::{Change, Settings as Feed, Simulator, Walk, synthetic_symbols};
use tokio::runtime::Runtime;

use crate::{
    cluster::Settings,
    gate::{PATIENCE, wait_for},
    ingest::{PARTITIONS, read},
    role::Role,
};

const TRADES: u64 = 3_000;
const SYMBOLS: usize = 20;

fn settings(test: &str) -> Settings {
    Settings::of(test)
        .with("TOPICS__PARTITIONS", &PARTITIONS.to_string())
        .with("FINNHUB__URL", "ws://127.0.0.1:1")
        .with("INGEST__HTTP", "127.0.0.1:0")
        .with("RECORD__HTTP", "127.0.0.1:0")
}

/// Records [`TRADES`] of a simulated feed into `path`, and ends the recording so.
fn record(settings: &Settings, path: &Path, end: impl FnOnce(&mut Role)) {
    let runtime = Runtime::new().unwrap();
    let symbols = synthetic_symbols(SYMBOLS);
    let feed = Feed { symbols: symbols.clone(), rate: 0.0, trades: Some(TRADES), ..Feed::default() };
    let simulator = runtime.block_on(Simulator::start("127.0.0.1:0", feed)).unwrap();
    let control = simulator.control();
    let settings = settings
        .clone()
        .with("FINNHUB__URL", &format!("ws://{}", simulator.address()))
        .with("FINNHUB__SYMBOLS", &symbols.join(","));
    let mut recorder = Role::start(&settings, &["record", "--out", path.to_str().unwrap()]);
    wait_for("subscription", PATIENCE, || (control.counts().subscriptions == SYMBOLS as u64).then_some(()));
    control.change(&Change { rate: Some(2_000.0), ..Change::default() }).unwrap();
    wait_for("feed", PATIENCE, || (control.counts().sent == TRADES).then_some(()));
    wait_for("last message", PATIENCE, || {
        let before = recorder.counter("tickgate_record_messages_total");
        std::thread::sleep(Duration::from_millis(300));
        (recorder.counter("tickgate_record_messages_total") == before).then_some(())
    });
    end(&mut recorder);
}

/// Plays a file as fast as it goes; the exit code and what was logged.
fn play(settings: &Settings, path: &Path) -> (Option<i32>, String) {
    let settings = settings
        .clone()
        .with("FINNHUB__MODE", "file")
        .with("FINNHUB__FILE", path.to_str().unwrap())
        .with("FINNHUB__SPEED", "0");
    let mut ingest = Role::start(&settings, &["ingest"]);
    (ingest.wait_end(), ingest.log())
}

#[test]
fn a_recording_is_played_trade_by_trade() {
    let settings = settings("recording-whole");
    settings.run(&["topics", "apply", "--timeout", "3m"]).ended(0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.jsonl.zst");
    record(&settings, &path, |recorder| {
        let (code, took) = recorder.terminate();
        assert_eq!(code, Some(0));
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
    let (code, log) = play(&settings, &path);
    assert_eq!(code, Some(0), "{log}");

    let symbols = synthetic_symbols(SYMBOLS);
    let mut walk = Walk::new(Feed::default().seed, &symbols);
    let mut expected: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for tick in (0..TRADES).map(|_| walk.next_tick()) {
        let (symbol, price, volume) = (&symbols[tick.symbol], tick.price_text(), tick.volume_text());
        let start = format!("{{\"symbol\":\"{symbol}\",\"last_price\":{price},\"volume\":{volume},");
        expected.entry(symbol).or_default().push(start);
    }
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for held in read(&settings.topic("staging")) {
        found.entry(String::from_utf8(held.key.unwrap()).unwrap()).or_default().push(held.value);
    }
    for (symbol, starts) in expected {
        let values = &found[symbol];
        assert_eq!(values.len(), starts.len(), "{symbol}");
        assert!(values.iter().zip(&starts).all(|(value, start)| value.starts_with(start)), "{symbol}");
    }
    // Half of the file: said, and no success.
    let half = folder.path().join("half.zst");
    let bytes = fs::read(&path).unwrap();
    fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
    let (code, log) = play(&settings, &half);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("breaks off"), "{log}");
}

#[test]
fn a_killed_recording_keeps_what_came_and_damage_is_kept_as_evidence() {
    let settings = settings("recording-killed");
    settings.run(&["topics", "apply", "--timeout", "3m"]).ended(0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.jsonl");
    record(&settings, &path, |recorder| {
        // A second later, all that came is on the disk.
        std::thread::sleep(Duration::from_millis(1_500));
        recorder.kill();
    });
    let refused = settings.run(&["record", "--out", path.to_str().unwrap()]).ended(2);
    assert!(refused.err.contains("feed.jsonl"), "{}", refused.err);

    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.len() / 2;
    let damaged = [&lines[..at], &["{\"at\":17,\"mess"], &lines[at..]].concat().join("\n");
    fs::write(&path, damaged).unwrap();
    let (code, log) = play(&settings, &path);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(read(&settings.topic("staging")).len() as u64, TRADES);
    let bad = read(&settings.topic("bad_data"));
    assert_eq!(bad.len(), 1);
    assert_eq!(bad[0].value, "{\"at\":17,\"mess");
    assert_eq!(bad[0].kind.as_deref(), Some(b"not_a_trade".as_slice()));
    assert_eq!(play(&settings, &folder.path().join("none.jsonl")).0, Some(2));
}
