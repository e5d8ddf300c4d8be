//! Quotes into staging: each once, within the plan's limits, whatever the REST interface answers.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use tickgate::finnhub::simulator::{
    CallLimits, Change, Control, RestFault, RestFaults, Settings as Feed, Simulator, synthetic_symbols,
};
use tokio::runtime::Runtime;

use crate::{
    cluster::Settings,
    gate::{PATIENCE, wait_for},
    ingest::read,
    role::Role,
};

struct Site {
    settings: Settings,
    simulator: Simulator,
    _runtime: Runtime,
}

/// A simulated REST interface for so many symbols, and an ingest that asks for them and for `NOPE`.
fn site(test: &str, symbols: usize, limits: CallLimits, quote_every: Duration) -> Site {
    let runtime = Runtime::new().unwrap();
    let symbols = synthetic_symbols(symbols);
    let feed = Feed { symbols: symbols.clone(), call_limits: limits, quote_every, ..Feed::default() };
    let mut simulator = runtime.block_on(Simulator::start("127.0.0.1:0", feed)).unwrap();
    let rest = runtime.block_on(simulator.serve_rest("127.0.0.1:0")).unwrap();
    let settings = Settings::of(test)
        .with("TOPICS__PARTITIONS", &crate::ingest::PARTITIONS.to_string())
        .with("FINNHUB__MODE", "poll")
        .with("FINNHUB__REST_URL", &format!("http://{rest}/api/v1"))
        .with("FINNHUB__SYMBOLS", &format!("{},NOPE", symbols.join(",")))
        .with("FINNHUB__CALLS_PER_MINUTE", &limits.per_minute.to_string())
        .with("FINNHUB__CALLS_PER_SECOND", &limits.per_second.to_string())
        .with("FINNHUB__ANSWER_TIMEOUT", "1s")
        .with("INGEST__HTTP", "127.0.0.1:0");
    settings.run(&["topics", "apply", "--timeout", "3m"]).ended(0);
    Site { settings, simulator, _runtime: runtime }
}

fn befall(control: &Control, fault: RestFault, calls: u64) {
    let rest = vec![RestFaults { fault, calls }];
    control.change(&Change { rest, ..Change::default() }).unwrap();
}

/// Waits until so many faults have befallen calls.
fn wait_faulty(control: &Control, faulty: u64) {
    wait_for("faulty calls", PATIENCE, || (control.counts().rest.faulty >= faulty).then_some(()));
}

#[test]
fn every_quote_arrives_once_and_the_limits_are_kept() {
    let limits = CallLimits { per_minute: 400, per_second: 6 };
    let site = site("poll-whole", 5, limits, Duration::from_secs(3));
    let control = site.simulator.control();
    let mut ingest = Role::start(&site.settings, &["ingest"]);
    ingest.wait_ready();
    wait_for("six rounds", PATIENCE, || (control.counts().rest.calls >= 36).then_some(()));
    assert!(ingest.counter("tickgate_ingest_calls_total{outcome=\"unknown\"}") >= 2);
    assert!(ingest.counter("tickgate_ingest_calls_total{outcome=\"unchanged\"}") > 0);
    assert_eq!(ingest.terminate().0, Some(0));
    assert_eq!(ingest.logged("does not know `NOPE`").len(), 1);

    let seen = control.counts().rest;
    assert_eq!(seen.limited, 0, "{seen:?}");
    assert!(seen.busiest_second <= 6, "{seen:?}");
    let mut times: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let records = read(&site.settings.topic("staging"));
    for record in &records {
        let value: serde_json::Value = serde_json::from_str(&record.value).unwrap();
        assert_eq!(value["volume"], 0);
        assert_eq!(value["symbol"].as_str().map(str::as_bytes), record.key.as_deref());
        let time = value["timestamp"].as_str().unwrap().to_owned();
        times.entry(value["symbol"].as_str().unwrap().to_owned()).or_default().push(time);
    }
    assert_eq!(times.len(), 5);
    for times in times.values() {
        assert!(times.len() >= 2 && times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    }
    // Calls under way when it stopped were answered to nobody.
    let answered: u64 = seen.quotes.values().sum();
    assert!((answered.saturating_sub(8)..=answered).contains(&(records.len() as u64)), "{seen:?}");
    let stopped = &ingest.logged("everything received was delivered")[0];
    assert_eq!(stopped["delivered"], records.len());
}

#[test]
fn a_minute_s_calls_are_spread_over_it() {
    const WATCHED: Duration = Duration::from_secs(6);
    // A second has room for 30, the minute for one in half a second.
    let limits = CallLimits { per_minute: 120, per_second: 30 };
    let site = site("poll-minute", 40, limits, Duration::from_hours(24));
    let control = site.simulator.control();
    let mut ingest = Role::start(&site.settings, &["ingest"]);
    wait_for("first call", PATIENCE, || (control.counts().rest.calls > 0).then_some(()));
    let began = Instant::now();
    thread::sleep(WATCHED);
    let (seen, elapsed) = (control.counts().rest, began.elapsed());
    assert_eq!(ingest.terminate().0, Some(0));
    // The first one, those whose time has come, and one that makes up for a late one.
    let most = 2 + u64::try_from(elapsed.as_millis() / 500).unwrap();
    assert!((most / 2..=most).contains(&seen.calls), "{seen:?} within {elapsed:?}");
    assert_eq!((seen.limited, seen.busiest_minute), (0, seen.calls), "{seen:?}");
}

#[test]
fn limits_errors_stalls_and_nonsense_are_sat_out_by_all_symbols() {
    // Long enough to be seen on a slow machine; a date has whole seconds.
    const PAUSE_S: u64 = 8;
    let limits = CallLimits { per_minute: 1_200, per_second: 20 };
    let site = site("poll-faults", 5, limits, Duration::from_hours(24));
    let control = site.simulator.control();
    let mut ingest = Role::start(&site.settings, &["ingest"]);
    ingest.wait_ready();
    for as_date in [false, true] {
        let before = control.counts().rest.faulty;
        befall(&control, RestFault::Limited { retry_after: Some(PAUSE_S), as_date }, 1);
        wait_faulty(&control, before + 1);
        let asked = Instant::now();
        ingest.wait_unready("limit of calls");
        // Calls under way had started before.
        thread::sleep(Duration::from_millis(200));
        let calls = control.counts().rest.calls;
        thread::sleep(Duration::from_secs(1));
        assert_eq!(control.counts().rest.calls, calls, "asked within the pause");
        ingest.wait_ready();
        assert!(
            asked.elapsed() >= Duration::from_secs(PAUSE_S - u64::from(as_date)),
            "{:?}",
            asked.elapsed()
        );
    }
    befall(&control, RestFault::Status { code: 500 }, 2);
    befall(&control, RestFault::Malformed, 2);
    befall(&control, RestFault::Slow { ms: 300 }, 2);
    befall(&control, RestFault::Stall, 1);
    befall(&control, RestFault::Status { code: 403 }, 1);
    befall(&control, RestFault::Status { code: 302 }, 1);
    wait_faulty(&control, 2 + 9);
    for said in ["http status 500", "did not answer within `1s`", "http status 403", "http status 302"] {
        ingest.wait_logged(said);
    }
    ingest.wait_ready();
    befall(&control, RestFault::Status { code: 401 }, 1);
    ingest.wait_unready("refuses the token");
    assert_eq!(ingest.terminate().0, Some(0));

    assert_eq!(control.counts().rest.limited, 0);
    // The quotes of the day, each once, and the two answers that were cut.
    assert_eq!(read(&site.settings.topic("staging")).len(), 5);
    let bad = read(&site.settings.topic("bad_data"));
    assert_eq!(bad.len(), 2);
    assert!(bad.iter().all(|record| record.kind.as_deref() == Some(b"not_a_trade")));
    assert!(bad.iter().all(|record| record.value.starts_with("{\"c\":")));
}
