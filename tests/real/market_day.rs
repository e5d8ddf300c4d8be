//! A day of the market in half a minute: 50 symbols of two classes, outages placed by hand, and a clock that the test
//! holds. The gate is killed twice, once with its store, and must tell exactly what the outages call for.

use std::{collections::BTreeSet, fs, path::Path};

use tickgate::model::{EventTime, WallTime};

use crate::{
    cluster::Settings,
    events::{BadData, Told},
    feed::{Producer, Sent, quote},
    gate::{Gate, PATIENCE},
    offsets::wait_caught_up,
    proof::Proof,
};

const MINUTE: i64 = 60_000;
/// A quote of each symbol comes so often.
const STEP: i64 = 10 * MINUTE;
const PARTITIONS: i32 = 3;

/// A Friday on which New York closes at 13:00, which is 18:00 in UTC.
const OPEN: &str = "2025-11-28T14:30:00Z";
const CLOSE: &str = "2025-11-28T18:00:00Z";
const BEGIN: &str = "2025-11-28T12:00:00Z";
const END: &str = "2025-11-29T12:00:00Z";

/// A symbol that has no quote between two times of day, the first of which still has one; `None`: not any more.
struct Outage {
    symbol: &'static str,
    last: &'static str,
    back: Option<&'static str>,
    /// The levels that it passes: 30 and 60 minutes for shares, 60 and 120 for coins.
    levels: &'static [&'static str],
}

const OUTAGES: [Outage; 10] = [
    Outage {
        symbol: "S01",
        last: "2025-11-28T15:00:00Z",
        back: Some("2025-11-28T15:40:00Z"),
        levels: &["warn"],
    },
    Outage {
        symbol: "S02",
        last: "2025-11-28T15:00:00Z",
        back: Some("2025-11-28T16:20:00Z"),
        levels: &["warn", "error"],
    },
    Outage { symbol: "S03", last: "2025-11-28T16:00:00Z", back: Some("2025-11-28T16:30:00Z"), levels: &[] },
    // Forty minutes of the session are left, and then it is closed until Monday.
    Outage { symbol: "S04", last: "2025-11-28T17:20:00Z", back: None, levels: &["warn"] },
    Outage { symbol: "S05", last: "2025-11-28T15:10:00Z", back: None, levels: &["warn", "error"] },
    Outage {
        symbol: "C01",
        last: "2025-11-28T20:00:00Z",
        back: Some("2025-11-28T21:10:00Z"),
        levels: &["warn"],
    },
    // Over midnight.
    Outage {
        symbol: "C02",
        last: "2025-11-28T22:00:00Z",
        back: Some("2025-11-29T00:30:00Z"),
        levels: &["warn", "error"],
    },
    Outage { symbol: "C03", last: "2025-11-29T03:00:00Z", back: Some("2025-11-29T04:00:00Z"), levels: &[] },
    Outage { symbol: "C04", last: "2025-11-29T10:20:00Z", back: None, levels: &["warn"] },
    Outage { symbol: "C05", last: "2025-11-29T05:00:00Z", back: None, levels: &["warn", "error"] },
];
/// Its watch is ended within its outage, before it is too long.
const REMOVED: (&str, &str, &str) = ("C06", "2025-11-29T06:00:00Z", "2025-11-29T06:40:00Z");

fn ms(text: &str) -> i64 {
    WallTime::parse(text).unwrap().0
}

fn settings(clock: &Path) -> Settings {
    let settings = Settings::of("market-day")
        .with("TOPICS__PARTITIONS", &PARTITIONS.to_string())
        .with("FRESHNESS__WARN_AFTER", "off")
        .with("FRESHNESS__EXEMPT", "true")
        .with("FRESHNESS__FEED_AFTER", "off")
        .with("FRESHNESS__CLASS__0__NAME", "shares")
        .with("FRESHNESS__CLASS__0__SYMBOLS", "S*")
        .with("FRESHNESS__CLASS__0__CALENDAR", "nyse")
        .with("FRESHNESS__CLASS__0__WARN_AFTER", "30m")
        .with("FRESHNESS__CLASS__0__ERROR_AFTER", "1h")
        .with("FRESHNESS__CLASS__1__NAME", "coins")
        .with("FRESHNESS__CLASS__1__SYMBOLS", "C*")
        .with("FRESHNESS__CLASS__1__WARN_AFTER", "1h")
        .with("FRESHNESS__CLASS__1__ERROR_AFTER", "2h");
    let settings = settings.with_plain("CLOCK_FILE", clock.to_str().unwrap());
    settings.run(&["topics", "apply"]).ended(0);
    settings
}

fn symbols() -> Vec<String> {
    let shares = (1..=30).map(|number| format!("S{number:02}"));
    shares.chain((1..=20).map(|number| format!("C{number:02}"))).collect()
}

/// Whether a symbol has a quote at that time.
fn quotes(symbol: &str, at_ms: i64) -> bool {
    if symbol.starts_with('S') && !(ms(OPEN)..ms(CLOSE)).contains(&at_ms) {
        return false;
    }
    if symbol == REMOVED.0 {
        return at_ms <= ms(REMOVED.1);
    }
    let outage = OUTAGES.iter().find(|outage| outage.symbol == symbol);
    outage.is_none_or(|outage| at_ms <= ms(outage.last) || outage.back.is_some_and(|back| at_ms >= ms(back)))
}

/// What must be told: kind, symbol, level, last-seen, and of an end how long the silence was.
fn expected() -> BTreeSet<(String, String, String, String, Option<i64>)> {
    let mut expected = BTreeSet::new();
    for outage in &OUTAGES {
        let last_seen = EventTime(ms(outage.last)).to_string();
        let event = |kind: &str, level: &str, silence_ms| {
            (kind.to_owned(), outage.symbol.to_owned(), level.to_owned(), last_seen.clone(), silence_ms)
        };
        for level in outage.levels {
            expected.insert(event("stale", level, None));
        }
        if let (Some(level), Some(back)) = (outage.levels.last(), outage.back) {
            // Within the session, or without any, all time counts.
            expected.insert(event("recovered", level, Some(ms(back) - ms(outage.last))));
        }
    }
    expected
}

fn found(told: &[Told]) -> Vec<(String, String, String, String, Option<i64>)> {
    let text = |told: &Told, name: &str| told.value[name].as_str().unwrap().to_owned();
    let event = |told: &Told| {
        let silence_ms = (told.kind == "recovered").then(|| told.value["silence_ms"].as_i64().unwrap());
        assert!(told.value.get("late_delivery").is_none(), "{told:?}");
        (told.kind.clone(), told.symbol.clone(), text(told, "level"), text(told, "last_seen"), silence_ms)
    };
    told.iter().map(event).collect()
}

#[test]
fn a_day_of_the_market_tells_exactly_its_outages_across_two_kills() {
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    let set_clock = |at_ms: i64| {
        // In one piece: the gate reads it at any time.
        let new = folder.path().join("new");
        fs::write(&new, at_ms.to_string()).unwrap();
        fs::rename(&new, &clock).unwrap();
    };
    set_clock(ms(BEGIN));
    let settings = settings(&clock);
    let mut bad_data = BadData::of_partitions(&settings, PARTITIONS);
    let mut gate = Gate::start(&settings);
    gate.wait_ready();
    let producer = Producer::new(&settings);
    let expected = expected();
    let mut at_ms = ms(BEGIN);
    while at_ms <= ms(END) {
        for symbol in symbols().iter().filter(|symbol| quotes(symbol, at_ms)) {
            producer.send(&quote(symbol, at_ms));
        }
        if at_ms == ms(REMOVED.2) {
            let key = Some(REMOVED.0.as_bytes().to_vec());
            producer.send(&Sent { key, ..Sent::default() });
        }
        // The clock never comes before the quotes that it should find.
        producer.flush();
        set_clock(at_ms);
        match EventTime(at_ms).to_string().as_str() {
            "2025-11-28T15:50:00.000Z" => {
                bad_data.wait_told("S02", 1);
                gate.kill();
                gate.start_again(&[]);
            }
            "2025-11-28T23:20:00.000Z" => {
                bad_data.wait_told("C02", 1);
                gate.kill();
                gate.lose_store();
                gate.start_again(&[]);
            }
            _ => {}
        }
        at_ms += STEP;
    }
    bad_data.wait_all(expected.len(), |_| true);
    wait_caught_up(&settings, PATIENCE);
    // Another hour without anything: nothing is due on a Saturday but C04's second level, which comes in 20 minutes.
    set_clock(ms(END) + 30 * MINUTE);
    let last = bad_data.wait_all(expected.len() + 1, |_| true);
    let told = found(&last);
    let distinct: BTreeSet<_> = told.iter().cloned().collect();
    assert_eq!(told.len(), distinct.len(), "nothing is told twice: {told:#?}");
    let mut all = expected;
    let last_seen = EventTime(ms("2025-11-29T10:20:00Z")).to_string();
    all.insert(("stale".to_owned(), "C04".to_owned(), "error".to_owned(), last_seen, None));
    assert_eq!(distinct, all);
    drop(gate);
    let proof = Proof::of(&settings);
    let stale = all.iter().filter(|event| event.0 == "stale").count();
    assert_eq!(proof.count("silences_compared"), u64::try_from(stale).unwrap());
}
