//! Between the socket and Kafka nothing is lost: brokers that are away hold the feed up, and what can't be
//! delivered at a stop is counted.

use std::{collections::BTreeMap, thread, time::Duration};

use tickgate::finnhub::simulator::{Change, Settings as Feed, Simulator, Walk, synthetic_symbols};
use tickgate_stack::Proxy;
use tokio::runtime::Runtime;

use crate::{
    cluster::Settings,
    gate::{PATIENCE, wait_for},
    ingest::{PARTITIONS, read_from},
    rig::Rig,
    role::Role,
};

const SYMBOLS: usize = 20;

/// A feed that waits for its rate, and an ingest that is subscribed to it.
fn start(settings: &Settings, trades: u64, in_flight: u32) -> (Runtime, Simulator, Role) {
    let runtime = Runtime::new().unwrap();
    let symbols = synthetic_symbols(SYMBOLS);
    let feed = Feed { symbols: symbols.clone(), rate: 0.0, trades: Some(trades), ..Feed::default() };
    let simulator = runtime.block_on(Simulator::start("127.0.0.1:0", feed)).unwrap();
    let settings = settings
        .clone()
        .with("FINNHUB__URL", &format!("ws://{}", simulator.address()))
        .with("FINNHUB__SYMBOLS", &symbols.join(","))
        .with("INGEST__MAX_IN_FLIGHT", &in_flight.to_string())
        // Alone: with a lease, the feed is let go while brokers are away.
        .with("INGEST__LEASE", "none")
        .with("INGEST__HTTP", "127.0.0.1:0");
    let ingest = Role::start(&settings, &["ingest"]);
    let control = simulator.control();
    wait_for("subscription", PATIENCE, || (control.counts().subscriptions == SYMBOLS as u64).then_some(()));
    (runtime, simulator, ingest)
}

fn open_market(simulator: &Simulator, rate: f64) {
    simulator.control().change(&Change { rate: Some(rate), ..Change::default() }).unwrap();
}

fn delivered(ingest: &Role) -> u64 {
    ingest.counter("tickgate_ingest_delivered_total")
}

#[test]
fn brokers_that_are_away_hold_the_feed_up_and_nothing_is_lost_or_doubled() {
    const TRADES: u64 = 20_000;
    let rig = Rig::take();
    let settings = rig.settings("held-up", PARTITIONS);
    let (_runtime, simulator, mut ingest) = start(&settings, TRADES, 500);
    open_market(&simulator, 4_000.0);
    wait_for("first deliveries", PATIENCE, || (delivered(&ingest) > 1_000).then_some(()));
    rig.proxies().for_each(Proxy::cut);
    wait_for("a feed that is held up", PATIENCE, || {
        (ingest.counter("tickgate_ingest_in_flight_records") >= 500).then_some(())
    });
    thread::sleep(Duration::from_secs(2));
    let waiting = delivered(&ingest);
    assert!(waiting < TRADES, "the feed was over before the brokers were away");
    ingest.wait_unready("kafka");
    rig.mend();
    wait_for("all deliveries", PATIENCE, || (delivered(&ingest) >= TRADES).then_some(()));
    ingest.wait_ready();
    assert_eq!(ingest.terminate().0, Some(0));

    let symbols = synthetic_symbols(SYMBOLS);
    let mut walk = Walk::new(Feed::default().seed, &symbols);
    let mut expected: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for tick in (0..TRADES).map(|_| walk.next_tick()) {
        let (symbol, price, volume) = (&symbols[tick.symbol], tick.price_text(), tick.volume_text());
        let start = format!("{{\"symbol\":\"{symbol}\",\"last_price\":{price},\"volume\":{volume},");
        expected.entry(symbol).or_default().push(start);
    }
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for held in read_from(settings.direct(), &settings.topic("staging")) {
        found.entry(String::from_utf8(held.key.unwrap()).unwrap()).or_default().push(held.value);
    }
    for (symbol, starts) in expected {
        let values = &found[symbol];
        assert_eq!(values.len(), starts.len(), "{symbol}");
        assert!(values.iter().zip(&starts).all(|(value, start)| value.starts_with(start)), "{symbol}");
    }
}

#[test]
fn a_stop_while_brokers_are_away_says_what_it_could_not_deliver() {
    let rig = Rig::take();
    let settings = rig.settings("held-up-stop", PARTITIONS);
    let (_runtime, simulator, mut ingest) = start(&settings, 3_000, 500);
    open_market(&simulator, 500.0);
    wait_for("first deliveries", PATIENCE, || (delivered(&ingest) > 200).then_some(()));
    rig.proxies().for_each(Proxy::stall);
    wait_for("a feed that is held up", PATIENCE, || {
        (ingest.counter("tickgate_ingest_in_flight_records") >= 500).then_some(())
    });
    // So that messages wait behind the records in flight, too.
    thread::sleep(Duration::from_millis(500));
    let (code, took) = ingest.terminate();
    assert_eq!(code, Some(1));
    assert!(took < Duration::from_secs(5), "{took:?}");
    let line = &ingest.logged("could not be delivered")[0];
    let number = |name: &str| line[name].as_u64().unwrap();
    let (trades, delivered, undelivered) = (number("trades"), number("delivered"), number("undelivered"));
    assert_eq!(trades, delivered + undelivered, "{line}");
    // More than was in flight: what waited for room counts, too.
    assert!(undelivered > 500, "{line}");
    rig.mend();
    // What is not counted as delivered may be there all the same, and nothing else.
    let held = read_from(settings.direct(), &settings.topic("staging")).len() as u64;
    assert!((delivered..=trades).contains(&held), "{held} are there: {line}");
}
