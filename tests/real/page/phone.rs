//! The page in a hand: a small window, and a finger.

use serde_json::json;

use super::{CANDLE_PIXELS, address, browser::Browser, row, settings};
use crate::{
    feed::now_ms,
    role::Role,
    sink::source::{Straight, append},
};

const WIDTH: u32 = 390;
const HEIGHT: u32 = 844;

#[test]
fn one_tap_opens_the_chart_and_what_the_table_has_no_room_for() {
    let settings = settings("page-phone");
    let page = Role::start(&settings, &["serve"]);
    page.wait_ready();
    let now = now_ms();
    let quotes = (0..60).flat_map(|n| {
        let time_ms = now - (60 - n) * 10_000;
        ["AAPL", "MSFT"].map(|symbol| Straight::quote(symbol, 1_000 + n, time_ms, 0))
    });
    append(&settings, quotes);
    let mut browser = Browser::start(WIDTH, HEIGHT);
    browser.become_phone(WIDTH, HEIGHT);
    browser.open(&format!("http://{}/", address(&page)));
    browser.wait(&row("MSFT"));
    browser.wait("getComputedStyle(document.querySelector('.grid-body .col-seen')).display === 'none'");
    let cell = browser.eval(&format!("{}.querySelector('.col-symbol').id", row("MSFT")));
    browser.tap(&format!("#{}", cell.as_str().unwrap()));
    browser.wait("document.querySelector('#panel-symbol').textContent === 'MSFT'");
    browser.wait(&format!("{CANDLE_PIXELS} > 100"));
    let facts = "[...document.querySelectorAll('#panel-facts dt')].map((name) => name.textContent)";
    assert_eq!(browser.eval(facts), json!(["Last seen", "Freshness", "Day", "Volume", "Suspect"]));
    let volume = "[...document.querySelectorAll('#panel-facts dd')].map((fact) => fact.textContent)[3]";
    let volume = browser.eval(volume);
    assert!(volume.as_str().unwrap().ends_with('K'), "{volume}");
    // All of it is in the window, and nothing is wider.
    let is_seen = format!(
        "['#panel-facts', '#chart', '#panel-close', '#panel-csv'].every((name) => {{\
            const box = document.querySelector(name).getBoundingClientRect();\
            return box.width > 0 && box.left >= 0 && box.right <= {WIDTH} && box.top >= 0 && box.bottom <= {HEIGHT};\
        }}) && document.documentElement.scrollWidth <= {WIDTH}"
    );
    browser.wait(&is_seen);
    browser.tap("#panel-close");
    browser.wait("document.querySelector('#panel').hidden");
    assert!(browser.console().is_empty(), "{:#?}", browser.console());
}
