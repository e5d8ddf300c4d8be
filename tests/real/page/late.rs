//! Quotes that are behind the clock: their steps have been drawn as empty when they come. And a part of the page that
//! fails, beside parts that go on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::{CANDLE_PIXELS, address, browser::Browser, row, settings};
use crate::{
    feed::now_ms,
    role::Role,
    sink::source::{Straight, append},
};

const BEHIND_MS: i64 = 30_000;
const STEP_MS: i64 = 10_000;

fn quotes(number: i64, time_ms: i64) -> [Straight; 2] {
    ["LATE", "OTHER"].map(|symbol| Straight::quote(symbol, 1 + number, time_ms, 0))
}

#[test]
fn a_quote_that_is_behind_the_clock_is_drawn_where_it_belongs() {
    let settings = settings("page-late");
    let page = Role::start(&settings, &["serve"]);
    page.wait_ready();
    let now = now_ms();
    append(&settings, (0..30).flat_map(|n| quotes(n, now - BEHIND_MS - (30 - n) * STEP_MS)));
    let mut browser = Browser::start(1280, 800);
    browser.open(&format!("http://{}/#/markets/LATE", address(&page)));
    browser.wait(&format!("{CANDLE_PIXELS} > 500"));
    let told = "document.querySelector('#legend').textContent";
    let first = browser.eval(told);

    let stop = Arc::new(AtomicBool::new(false));
    let sending = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            let numbers = (0..).take_while(|_| !stop.load(Ordering::Relaxed));
            let steady = numbers.flat_map(|number| {
                thread::sleep(Duration::from_millis(100));
                quotes(number, now_ms() - BEHIND_MS)
            });
            append(&settings, steady);
        })
    };
    // Into the step that was drawn last, and then into one that was drawn as empty.
    browser.wait(&format!("{told} !== {first}"));
    let time = format!("{told}.slice(0, 19)");
    let before = browser.eval(&time);
    browser.wait(&format!("{time} > {before}"));
    browser.wait(&format!("{CANDLE_PIXELS} > 500"));
    assert!(browser.console().is_empty(), "{:#?}", browser.console());

    // The panel fails from now on, with each quote. The table goes on.
    browser.eval("document.querySelector('#panel-price').remove()");
    let ages = format!("{}.querySelector('.col-seen').textContent", row("OTHER"));
    thread::sleep(Duration::from_secs(8));
    let age = browser.eval(&ages);
    let is_fresh = browser.eval(&format!("/^(29|3[0-5]) s$/.test({age})"));
    assert_eq!(is_fresh, true, "the last quote but those of 8 s: {age}");
    assert!(browser.console().iter().any(|line| line.contains("null")), "{:#?}", browser.console());
    stop.store(true, Ordering::Relaxed);
    sending.join().unwrap();
}
