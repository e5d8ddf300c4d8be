//! Thousands of symbols that change thousands of times a second: the page is as large as its window, and changes once
//! a frame. How long frames take is measured by `benches/page`.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{address, browser::Browser, settings};
use crate::{
    feed::now_ms,
    role::Role,
    sink::source::{Straight, append},
};

const SYMBOLS: i64 = 5_000;
const A_SECOND: u32 = 2_000;
const SECONDS: u32 = 5;
/// Rows of 36 pixels in a window of 800, and a few above and below.
const ROWS_MAX: u64 = 800 / 36 + 10;

/// Watches the table: how many rows it has at most, and how often it changes in one frame, whose time all that happens
/// before the next one shares.
const WATCH: &str = "(() => {
    const body = document.querySelector('.grid-body');
    const seen = window.seen = { rows: 0, changes: 0, most: 0 };
    const changes = new Map();
    new MutationObserver(() => {
        const frame = document.timeline.currentTime;
        changes.set(frame, (changes.get(frame) ?? 0) + 1);
        seen.changes += 1;
        seen.most = Math.max(seen.most, changes.get(frame));
        seen.rows = Math.max(seen.rows, body.children.length);
    }).observe(body, { subtree: true, childList: true, characterData: true, attributes: true });
})()";

/// Searches for one thing after the other, faster than frames come: each leaves other rows in view.
const SEARCH: &str = "(async () => {
    const box = document.querySelector('#search');
    for (const text of ['1', '2', '3', '']) {
        box.value = text;
        box.dispatchEvent(new Event('input'));
        await Promise.resolve();
    }
})()";

/// Each symbol in its turn, so many a second.
fn paced() -> impl Iterator<Item = Straight> {
    let began = Instant::now();
    (0..A_SECOND * SECONDS).map(move |number| {
        let due = Duration::from_secs(1) * number / A_SECOND;
        thread::sleep(due.saturating_sub(began.elapsed()));
        quote(i64::from(number))
    })
}

fn quote(number: i64) -> Straight {
    Straight::quote(&format!("S{:04}", number % SYMBOLS), 1 + number, now_ms(), 0)
}

#[test]
fn thousands_of_symbols_cost_the_rows_in_view() {
    let settings = settings("page-crowd");
    let page = Role::start(&settings, &["serve"]);
    page.wait_ready();
    append(&settings, (0..SYMBOLS).map(quote));
    let mut browser = Browser::start(1280, 800);
    browser.open(&format!("http://{}/", address(&page)));
    browser.wait("document.querySelector('[role=grid]').getAttribute('aria-rowcount') === '5001'");
    browser.eval(WATCH);
    let sending = {
        let settings = settings.clone();
        thread::spawn(move || append(&settings, paced()))
    };
    // Several reasons to change within one frame.
    browser.eval(SEARCH);
    // Scrolled through while it changes.
    for part in 0..10 {
        browser.eval(&format!("document.querySelector('[role=grid]').scrollTop = {part} * 17000"));
        thread::sleep(Duration::from_secs(1) * SECONDS / 10);
    }
    sending.join().unwrap();
    browser.eval("document.querySelector('[role=grid]').scrollTop = 0");
    // Symbol 0 came first, and last with 5001 and whatever it had in between: nothing was lost on the way.
    let whole: u32 = (0..A_SECOND * SECONDS).step_by(5_000).map(|number| number + 1).sum::<u32>() + 1;
    let volume =
        "document.querySelector('.grid-body .grid-row[aria-rowindex=\"2\"] .col-volume').textContent";
    let shown = format!("{:.1}K", f64::from(whole) / 1_000.0).replace(".0K", "K");
    browser.wait(&format!("{volume} === '{shown}'"));

    let seen = browser.eval("window.seen");
    let of = |name: &str| seen[name].as_u64().unwrap();
    assert!(of("rows") <= ROWS_MAX, "{} rows are elements", of("rows"));
    assert!(of("most") == 1, "changed {} times within one frame", of("most"));
    assert!(of("changes") > 3, "changed {} times", of("changes"));
}
