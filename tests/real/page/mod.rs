//! `tickgate serve` in a real Chromium, over a running pipeline.

mod browser;
mod crowd;
mod history;
mod late;
mod phone;
mod pictures;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::{Value, json};

use self::browser::Browser;
use crate::{
    cluster::Settings,
    draft::Draft,
    feed::{Producer, now_ms},
    gate::{Gate, PATIENCE, wait_for},
    role::Role,
};

const THRESHOLD_MS: i64 = 20_000;
/// What would happen if it were taken for markup: the page's title changes.
const HOSTILE: &str = "<img src=x onerror=\"document.title='owned'\">&amp;'";

/// Sends a quote of each symbol at every step, until it is dropped; prices walk by chance.
struct Pump {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pump {
    /// Symbols and the prices, in cents, that they begin at.
    fn start(settings: &Settings, symbols: &[(&str, u32)], every: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, settings) = (Arc::clone(&stop), settings.clone());
        let mut symbols: Vec<(String, u32)> =
            symbols.iter().map(|(symbol, cents)| ((*symbol).to_owned(), *cents)).collect();
        let thread = thread::spawn(move || {
            let producer = Producer::new(&settings);
            let mut chance = 1_u32;
            while !told.load(Ordering::Relaxed) {
                for (symbol, cents) in &mut symbols {
                    chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let most = *cents / 1_500 + 1;
                    *cents = (*cents + (chance >> 8) % (2 * most + 1) - most).max(most);
                    producer.send(&Draft::new(symbol, *cents, 1 + chance % 20, now_ms()).finish());
                }
                producer.flush();
                thread::sleep(every);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Topics of the test's own, one partition, and a page on a free port.
fn settings(test: &str) -> Settings {
    let settings = Settings::of(test)
        .with("TOPICS__PARTITIONS", "1")
        .with("FRESHNESS__ERROR_AFTER", &format!("{THRESHOLD_MS}ms"))
        .with("FRESHNESS__GRACE", "200ms")
        .with("SERVE__HTTP", "127.0.0.1:0");
    settings.run(&["topics", "apply"]).ended(0);
    settings
}

/// The page's address, once it answers.
fn address(page: &Role) -> String {
    page.wait_logged("answers on http")["http"].as_str().unwrap().to_owned()
}

/// A row of the table by its symbol, as JavaScript.
fn row(symbol: &str) -> String {
    format!(
        "[...document.querySelectorAll('.grid-body .grid-row')]\
         .find((row) => row.querySelector('.col-symbol').textContent === {})",
        json!(symbol)
    )
}

/// How many pixels of the chart have one of the colours of candles, as JavaScript.
const CANDLE_PIXELS: &str = "(() => {
    const colors = ['--up', '--down'].map((name) => {
        const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
        return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
    });
    let count = 0;
    for (const canvas of document.querySelectorAll('#chart canvas')) {
        if (canvas.width === 0 || canvas.height === 0) continue;
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        for (let at = 0; at < data.length; at += 4) {
            if (data[at + 3] < 250) continue;
            if (colors.some((color) => color.every((part, of) => Math.abs(part - data[at + of]) < 8))) count += 1;
        }
    }
    return count;
})()";

/// How many pixels of the chart have the colour of reported silence, which is never opaque.
const SILENCE_PIXELS: &str = "(() => {
    const text = getComputedStyle(document.documentElement).getPropertyValue('--silent').trim();
    const color = [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
    let count = 0;
    for (const canvas of document.querySelectorAll('#chart canvas')) {
        if (canvas.width === 0 || canvas.height === 0) continue;
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        for (let at = 0; at < data.length; at += 4) {
            if (data[at + 3] < 20 || data[at + 3] > 250) continue;
            if (color.every((part, of) => Math.abs(part - data[at + of]) < 12)) count += 1;
        }
    }
    return count;
})()";

#[test]
fn the_page_shows_what_the_pipeline_does() {
    let settings = settings("page")
        .with("FRESHNESS__CLASS__0__NAME", "slow")
        .with("FRESHNESS__CLASS__0__SYMBOLS", "SOON,GONE")
        .with("FRESHNESS__CLASS__0__WARN_AFTER", "10m")
        .with("FRESHNESS__CLASS__0__ERROR_AFTER", "1h");
    let mut gate = Gate::start(&settings);
    gate.wait_ready();
    let settings = settings.with("SERVE__INSTANCES", &gate.address());
    let page = Role::start(&settings, &["serve"]);
    page.wait_ready();
    let producer = Producer::new(&settings);
    for n in 0..60_i32 {
        let time_ms = now_ms() - i64::from(60 - n) * 10_000;
        let cents = 18_000 + u32::try_from(n * 37 % 500).unwrap();
        producer.send(&Draft::new("AAPL", cents, 5, time_ms).finish());
    }
    producer.send(&Draft::new("SILENT", 4_200, 1, now_ms() - THRESHOLD_MS + 6_000).finish());
    for symbol in ["SOON", "GONE"] {
        producer.send(&Draft::new(symbol, 100, 1, now_ms() - 6 * 60_000).finish());
    }
    producer.flush();
    let _pump = Pump::start(
        &settings,
        &[("AAPL", 18_500), ("MSFT", 41_000), (HOSTILE, 18_000)],
        Duration::from_millis(200),
    );

    let mut browser = Browser::start(1280, 800);
    browser.open(&format!("http://{}/", address(&page)));
    the_table_fills_and_lives(&mut browser);
    levels_are_counted_down_and_who_is_removed_is_not(&mut browser, &producer);
    a_hostile_name_does_nothing(&mut browser);
    a_double_click_draws_the_chart(&mut browser);
    keys_reach_everything(&mut browser);
    browser.wait(&format!(
        "{}?.querySelector('.col-fresh.bad')?.textContent.startsWith('stale')",
        row("SILENT")
    ));
    browser.wait("document.querySelector('#count-stale').textContent === '1'");
    a_silence_is_drawn(&mut browser);
    assert_eq!(browser.eval("document.title"), "Markets · tickgate");
    a_page_that_reads_nothing_knows_who_is_silent(&settings);
    what_did_not_pass_is_shown_with_why(&mut browser, &producer);
    a_killed_processor_shows(&mut browser, &mut gate);
    let console = browser.console();
    assert!(console.is_empty(), "{console:#?}");
}

/// As if it had started long after: what it has not read, the gate remembers.
fn a_page_that_reads_nothing_knows_who_is_silent(settings: &Settings) {
    let page = Role::start(&settings.clone().with("SERVE__LOOK_BACK_RECORDS", "0"), &["serve"]);
    let row = wait_for("symbol that the gate remembers", PATIENCE, || {
        page.ask("/v1/markets/SILENT").filter(|(status, _)| *status == 200)
    });
    let row: Value = serde_json::from_str(&row.1).unwrap();
    assert_eq!((&row["level"], &row["last_price"]), (&json!("error"), &json!("42.00")), "{row}");
}

fn the_table_fills_and_lives(browser: &mut Browser) {
    for symbol in ["AAPL", "MSFT", "SILENT", HOSTILE] {
        browser.wait(&row(symbol));
    }
    browser.wait("document.querySelector('#link').dataset.state === 'live'");
    let price = format!("{}.querySelector('.col-price').textContent", row("MSFT"));
    let before = browser.eval(&price);
    browser.wait(&format!("{price} !== {before}"));
    browser.wait(&format!("{}.querySelector('.col-fresh').textContent === 'live'", row("MSFT")));
    assert_eq!(browser.eval("document.querySelector('[role=grid]').getAttribute('aria-rowcount')"), "7");
}

/// By the thresholds of the symbol's own class.
fn levels_are_counted_down_and_who_is_removed_is_not(browser: &mut Browser, producer: &Producer) {
    let says = |symbol: &str, text: &str| {
        format!("{}.querySelector('.col-fresh').textContent.startsWith({})", row(symbol), json!(text))
    };
    for symbol in ["SOON", "GONE"] {
        browser.wait(&format!(
            "{}.querySelector('.col-fresh').textContent.match(/^quiet in [123] m/)",
            row(symbol)
        ));
    }
    let good = Draft::new("GONE", 100, 1, now_ms());
    producer.send(&Draft { tombstone: true, ..good.clone() }.finish());
    producer.flush();
    browser.wait(&says("GONE", "removed"));
    browser.eval("location.hash = '#/quality'");
    let silent = "document.querySelector('.q-silent').textContent";
    browser.wait(&format!("{silent}.includes('SOON')"));
    assert_eq!(browser.eval(&format!("{silent}.includes('GONE')")), false);
    browser.eval("location.hash = '#/markets'");
    producer.send(&good.finish());
    producer.flush();
    browser.wait(&says("GONE", "live"));
}

/// As a band over the steps in which nothing came.
fn a_silence_is_drawn(browser: &mut Browser) {
    browser.eval("location.hash = '#/markets/SILENT'");
    browser.wait("document.querySelector('#panel-symbol').textContent === 'SILENT'");
    browser.wait(&format!("{SILENCE_PIXELS} > 500"));
    browser.wait("document.querySelector('#panel-note').textContent.includes('silent since')");
    browser.press("Escape");
    browser.wait("document.querySelector('#panel').hidden");
}

fn a_hostile_name_does_nothing(browser: &mut Browser) {
    browser.wait(&row(HOSTILE));
    let opened =
        format!("#/markets/{}", "%3Cimg%20src%3Dx%20onerror%3D%22document.title%3D'owned'%22%3E%26amp%3B'");
    browser.eval(&format!("location.hash = {}", json!(opened)));
    browser.wait(&format!("document.querySelector('#panel-symbol').textContent === {}", json!(HOSTILE)));
    browser.wait(&format!("{CANDLE_PIXELS} > 0"));
    assert_eq!(browser.eval("document.querySelectorAll('#grid img, #panel img').length"), 0);
    assert_eq!(browser.eval("document.title"), "Markets · tickgate");
    browser.press("Escape");
    browser.wait("document.querySelector('#panel').hidden");
}

fn a_double_click_draws_the_chart(browser: &mut Browser) {
    assert_eq!(browser.eval(CANDLE_PIXELS), 0);
    let marked = format!("{}.querySelector('.col-symbol').id", row("AAPL"));
    let cell = browser.eval(&marked);
    browser.click(&format!("#{}", cell.as_str().unwrap()), 2);
    browser.wait("document.querySelector('#panel-symbol').textContent === 'AAPL'");
    browser.wait(&format!("{CANDLE_PIXELS} > 500"));
    let told = browser.eval("document.querySelector('#chart').getAttribute('aria-label')");
    assert!(told.as_str().unwrap().contains("AAPL, range 1h: from 18"), "{told}");
    browser.click("[data-kind=line]", 1);
    browser.wait("document.querySelector('[data-kind=line]').getAttribute('aria-pressed') === 'true'");
    browser.click("[data-kind=candles]", 1);
    let csv = "fetch(document.querySelector('#panel-csv').href).then((answer) => answer.text())";
    let csv = browser.eval(csv);
    let lines = csv.as_str().unwrap().lines().count();
    assert!((59..70).contains(&lines), "60 bars of 10 s and a head: {csv}");
    // Live points are appended.
    let last = "document.querySelector('#legend').textContent";
    let before = browser.eval(last);
    browser.wait(&format!("{last} !== {before}"));
    browser.click("#panel-close", 1);
}

fn what_did_not_pass_is_shown_with_why(browser: &mut Browser, producer: &Producer) {
    let mut bad = Draft::new("BAD", 100, 1, now_ms());
    bad.fields[1].1 = json!(HOSTILE).to_string();
    producer.send(&bad.finish());
    producer.flush();
    browser.eval("location.hash = '#/quality'");
    browser.wait("document.querySelector('.q-list .item')?.textContent.includes('BAD')");
    browser.wait("document.querySelector('.q-detail td')?.textContent === 'wrong_type'");
    let found = browser.eval("document.querySelector('.q-detail code.bad').textContent");
    assert!(found.as_str().unwrap().contains("onerror="), "{found}");
    assert_eq!(browser.eval("document.querySelectorAll('#quality img').length"), 0);
    browser.wait("document.querySelector('.q-rules')?.textContent.includes('wrong_type')");
    browser.wait("document.querySelectorAll('.q-picture rect').length > 0");
    browser.wait("document.querySelector('.q-silent').textContent.includes('SILENT')");
    browser.wait("document.querySelector('.q-events').textContent.includes('stale')");
    assert_eq!(browser.eval("document.title"), "Quality · tickgate");
}

fn a_killed_processor_shows(browser: &mut Browser, gate: &mut Gate) {
    browser.eval("location.hash = '#/pipeline'");
    browser.wait("document.querySelector('.p-instances .state.up')");
    browser.wait("document.querySelectorAll('.map li[data-owner]:not([data-owner=\"\"])').length === 1");
    browser.wait("/[1-9]/.test(document.querySelector('.p-figures').textContent)");
    assert_eq!(browser.eval("document.querySelector('#notice').hidden"), true);
    let words = browser.eval("document.querySelector('.map li .unseen').textContent");
    let words = words.as_str().unwrap();
    assert!(words.contains("partition 0, owner ") && words.contains("worker 0, running"), "{words}");
    assert!(words.contains("1 copy of its state"), "{words}");
    gate.kill();
    browser.wait("document.querySelector('.p-instances .state.bad')?.textContent.includes('refused')");
    browser.wait("document.querySelector('.p-figures').textContent.includes('0 of 1')");
    browser.wait("document.querySelector('#notice').textContent.includes('process at')");
    browser.wait("document.querySelector('#link').dataset.state === 'warn'");
}

fn keys_reach_everything(browser: &mut Browser) {
    browser.press("/");
    browser.wait("document.activeElement.id === 'search'");
    browser.eval(
        "(() => { const box = document.activeElement; box.value = 'msf'; box.dispatchEvent(new Event('input')); })()",
    );
    browser.wait("document.querySelectorAll('.grid-body .grid-row').length === 1");
    browser.press("ArrowDown");
    browser.press("ArrowRight");
    let here = "document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))";
    browser.wait(&format!("{here}?.classList.contains('col-price')"));
    browser.press("Enter");
    browser.wait("document.querySelector('#panel-symbol').textContent === 'MSFT' && !document.querySelector('#panel').hidden");
    browser.press("Escape");
    browser.wait(
        "document.querySelector('#panel').hidden && document.activeElement.getAttribute('role') === 'grid'",
    );
    browser.eval(
        "(() => { const box = document.querySelector('#search'); box.value = ''; box.dispatchEvent(new Event('input')); })()",
    );
}
