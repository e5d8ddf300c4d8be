//! Alerts reach people, and their end does: Prometheus and Alertmanager scrape a running pipeline with the very
//! rules and settings of `prometheus/`, only faster, while things go wrong.

pub mod monitoring;
mod table;
mod webhook;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use tickgate::model::partition_of;

use crate::{
    cluster::Settings,
    feed::{Producer, Sent, now_ms, quote},
    gate::Gate,
};
use monitoring::Monitoring;

const PARTITIONS: i32 = 4;
const SYMBOLS: usize = 12;
/// The symbol that falls silent.
const THIN: &str = "THIN";

/// What the feed does meanwhile.
#[derive(Default)]
struct Market {
    closed: AtomicBool,
    poisoned: AtomicBool,
    /// Whether the thin symbol has quotes too.
    thin_quoted: AtomicBool,
}

impl Market {
    /// Some 200 records a second until closed.
    fn run(&self, settings: &Settings) {
        let (producer, symbols) = (Producer::new(settings), busy_symbols());
        while !self.closed.load(Ordering::Relaxed) {
            for (number, symbol) in symbols.iter().enumerate() {
                producer.send(&quote(symbol, now_ms()));
                if self.poisoned.load(Ordering::Relaxed) && number % 2 == 0 {
                    let (key, value) = (Some(symbol.clone().into_bytes()), Some(b"poison".to_vec()));
                    producer.send(&Sent { key, value, ..Sent::default() });
                }
            }
            if self.thin_quoted.load(Ordering::Relaxed) {
                producer.send(&quote(THIN, now_ms()));
            }
            thread::sleep(Duration::from_millis(60));
        }
        producer.flush();
    }
}

/// Symbols of other partitions than the thin one's: where records never cease, the clock notices no silence, as there
/// is always something that is not committed.
fn busy_symbols() -> Vec<String> {
    let home = |symbol: &str| partition_of(symbol.as_bytes(), PARTITIONS);
    let names = (0..).map(|number| format!("SYM{number}"));
    names.filter(|name| home(name) != home(THIN)).take(SYMBOLS).collect()
}

/// Closes the market, also when an assertion fails: its thread would keep the test from ending.
struct Closes<'a>(&'a Market);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_goes_wrong_reaches_people_and_so_does_its_end() {
    let settings = Settings::of("alerts")
        .with("TOPICS__PARTITIONS", &PARTITIONS.to_string())
        .with("FRESHNESS__ERROR_AFTER", "5s")
        .with("FRESHNESS__GRACE", "200ms");
    settings.run(&["topics", "apply"]).ended(0);
    let market = Market { thin_quoted: AtomicBool::new(true), ..Market::default() };
    let mut gates = [Gate::start(&settings), Gate::start(&settings)];
    thread::scope(|scope| {
        scope.spawn(|| market.run(&settings));
        let _closes = Closes(&market);
        gates.iter().for_each(Gate::wait_ready);
        let monitoring = Monitoring::start();
        let addresses = || gates.iter().map(Gate::address).collect::<Vec<_>>();
        monitoring.scrape("process", &addresses());
        monitoring.wait_value("sum(up{job=\"tickgate-process\"})", 2.0);
        for name in ["TickgateInstanceDown", "TickgateBadDataRatio", "TickgateSymbolStale"] {
            assert_eq!(monitoring.webhook.heard(name), [], "nothing has gone wrong yet");
        }

        market.poisoned.store(true, Ordering::Relaxed);
        market.thin_quoted.store(false, Ordering::Relaxed);
        let killed = gates[1].address();
        gates[1].kill();
        let down = monitoring.webhook.wait_firing("TickgateInstanceDown");
        assert_eq!((down.label("instance"), down.label("severity")), (&*killed, "warning"));
        let stale = monitoring.webhook.wait_firing("TickgateSymbolStale");
        assert_eq!((stale.label("level"), stale.summary()), ("error", "1 symbols are silent"));
        let bad = monitoring.webhook.wait_firing("TickgateBadDataRatio");
        assert!(bad.summary().ends_with("% of the records are rejected"), "{}", bad.summary());

        market.poisoned.store(false, Ordering::Relaxed);
        market.thin_quoted.store(true, Ordering::Relaxed);
        gates[1].start_again(&[]);
        gates[1].wait_ready();
        monitoring.scrape("process", &gates.iter().map(Gate::address).collect::<Vec<_>>());
        for name in ["TickgateInstanceDown", "TickgateSymbolStale", "TickgateBadDataRatio"] {
            monitoring.webhook.wait_resolved(name);
        }
        monitoring.webhook.assert_readable();
    });
}
