//! What rows and charts say of records in one order or another.

use super::*;
use crate::core::Calendar;
use crate::model::NoticedBy;

const NOON: i64 = 1_795_348_800_000;

fn market() -> Market {
    Market::new(Classes::of_one(Some(1_000), Some(5_000)))
}

fn trade<'a>(symbol: &'a str, time_ms: i64, price: i64, marks: &[&'a str]) -> Trade<'a> {
    let (price, volume) = (Decimal::new(price, 2), Decimal::new(10, 0));
    Trade { symbol, price, volume, time_ms, kafka_ms: time_ms, marks: marks.to_vec() }
}

fn silence(symbol: &str, last_seen: i64, level: Level) -> Freshness {
    Freshness {
        symbol: symbol.to_owned(),
        class: "default".to_owned(),
        last_seen: EventTime(last_seen),
        level,
        threshold_ms: Some(1_000),
        calendar: "24x7".to_owned(),
        detected_at: WallTime(last_seen + 9_000),
        noticed_by: NoticedBy::Clock,
        silence_ms: Some(5_000),
        late_delivery: false,
        never_seen: false,
        feed_silent: false,
    }
}

#[test]
fn a_row_follows_its_quotes() {
    let mut market = market();
    market.trade(&trade("A", NOON - DAY_MS, 50, &[]));
    market.trade(&trade("A", NOON - 7_200_000, 100, &[]));
    market.trade(&trade("A", NOON - 10_000, 150, &["price_jump"]));
    market.trade(&trade("A", NOON, 120, &[]));
    market.trade(&trade("A", NOON - 5_000, 999, &["late"]));
    let row = market.row("A", NOON).unwrap();
    assert_eq!(row.last_price.as_deref(), Some("1.20"), "a late quote is no news of the price");
    assert_eq!(row.last_seen, Some(EventTime(NOON)));
    assert_eq!(row.volume, "40", "of this day alone");
    assert!((row.change_day.unwrap() - 20.0).abs() < 1e-9, "{row:?}");
    assert!((row.change_hour.unwrap() - 20.0).abs() < 1e-9, "{row:?}");
    assert_eq!(row.marks, ["price_jump", "late"]);
    assert_eq!(market.row("A", NOON + MARK_MS).unwrap().marks, [] as [&str; 0]);
    assert_eq!(market.row("B", NOON), None);
}

#[test]
fn a_day_opens_with_its_first_quote_read_or_not() {
    let mut market = market();
    let change =
        |market: &Market, symbol: &str| market.row(symbol, NOON).unwrap().change_day.unwrap().round();
    let day = NOON.div_euclid(DAY_MS);
    let price = |cents| Decimal::new(cents, 2);
    market.trade(&trade("A", NOON - 1_000, 100, &[]));
    market.trade(&trade("A", NOON, 150, &[]));
    market.trade(&trade("B", NOON, 100, &[]));
    let asked = |market: &Market, most| {
        let asked = market.without_open(most, false);
        asked.iter().map(|(symbol, day)| (symbol.to_string(), *day)).collect::<Vec<_>>()
    };
    assert_eq!(asked(&market, 9), [("A".to_owned(), day), ("B".to_owned(), day)]);
    assert_eq!(asked(&market, 1).len(), 1);
    let version = market.version();
    market.opened("B", day - 1, Some((0, price(50))));
    market.opened("B", day, Some((NOON + 5, price(50))));
    assert_eq!((market.version(), change(&market, "B")), (version, 0.0), "the table is behind");
    assert_eq!(market.without_open(9, true).len(), 2, "and is asked again, for a while");
    (0..OPEN_TRIES_MAX).for_each(|_| market.opened("B", day, None));
    assert_eq!(market.without_open(9, true).len(), 1);
    market.opened("A", day, Some((NOON - 9_000, price(120))));
    assert_eq!((market.version(), change(&market, "A")), (version + 1, 25.0));
    assert_eq!(asked(&market, 9), []);
    // From then on nothing is missed.
    market.trade(&trade("A", NOON + DAY_MS, 200, &[]));
    market.set_read_since(NOON - DAY_MS);
    market.trade(&trade("C", NOON, 100, &[]));
    market.trade(&trade("OLD", NOON - DAY_MS, 100, &[]));
    assert_eq!(asked(&market, 9), [("OLD".to_owned(), day - 1)]);
    market.opened("OLD", day - 1, None);
    assert_eq!((asked(&market, 9).len(), change(&market, "A")), (0, 0.0));
}

#[test]
fn what_was_not_read_is_remembered_and_what_was_read_is_not_undone() {
    let state = |symbol: &str, last_seen: Option<i64>, level| SymbolState {
        symbol: symbol.to_owned(),
        partition: 0,
        last_seen: last_seen.map(EventTime),
        last_price: last_seen.map(|_| "42.50".to_owned()),
        price_since: None,
        level,
        reported: level.into_iter().collect(),
        silence_from: level.and(last_seen).map(EventTime),
        listed_at: None,
    };
    let mut market = market();
    market.remembered(&state("SILENT", Some(NOON - DAY_MS), Some(Level::Error)));
    market.remembered(&state("LISTED", None, None));
    let row = market.row("SILENT", NOON).unwrap();
    assert_eq!((row.last_price.as_deref(), row.level), (Some("42.50"), Some(Level::Error)));
    assert_eq!(row.last_seen, Some(EventTime(NOON - DAY_MS)));
    assert_eq!(market.past("SILENT", Range::Day, NOON, None).unwrap().silences.len(), 1);
    assert_eq!(market.row("LISTED", NOON).unwrap().last_seen, None);
    // The gate's answer may be older than what was read, and then says nothing.
    market.trade(&trade("A", NOON, 100, &[]));
    market.remembered(&state("A", Some(NOON - 1), Some(Level::Error)));
    market.remembered(&state("A", Some(NOON), Some(Level::Error)));
    let row = market.row("A", NOON).unwrap();
    assert_eq!((row.last_price.as_deref(), row.level), (Some("1.00"), None));
    // A tombstone that is read later may be older.
    market.removed("SILENT", NOON - DAY_MS - 1);
    let row = market.row("SILENT", NOON).unwrap();
    assert_eq!((row.is_removed, row.level), (false, Some(Level::Error)));
    // The end of what was remembered.
    let mut over = silence("SILENT", NOON - DAY_MS, Level::Error);
    over.detected_at = WallTime(NOON);
    market.event(&Event::Recovered(over));
    assert_eq!(market.row("SILENT", NOON).unwrap().level, None);
    assert!(market.past("SILENT", Range::Day, NOON, None).unwrap().silences[0].to.is_some());
}

#[test]
fn an_hour_is_an_hour_however_many_symbols_there_are() {
    let mut market = market();
    for n in 0..SYMBOLS_MAX - 1 {
        market.event(&Event::Stale(silence(&format!("S{n}"), NOON, Level::Error)));
    }
    // Every ten seconds for two hours, a cent more each time.
    for n in 0..720 {
        market.trade(&trade("A", NOON - (720 - n) * 10_000, 1_000 + n, &[]));
    }
    let (fine, _) = market.keep();
    assert!(fine < 360, "the fine bars don't reach back an hour");
    // 17.19 now, 13.59 an hour ago.
    let change = market.row("A", NOON).unwrap().change_hour.unwrap();
    assert!((change - 360.0 / 1_359.0 * 100.0).abs() < 2.5, "{change}");
}

#[test]
fn changes_are_told_once_each() {
    let mut market = market();
    (0..10).for_each(|n| market.trade(&trade("A", NOON + n, 100 + n, &[])));
    market.trade(&trade("B", NOON, 100, &[]));
    let (version, rows) = market.take_changes(NOON);
    assert_eq!((version, rows.len(), rows[0].version, rows[1].version), (11, 2, 10, 11));
    assert_eq!(market.take_changes(NOON), (11, vec![]));
    market.trade(&trade("A", NOON + 20, 1, &[]));
    assert_eq!(market.take_changes(NOON).1.len(), 1);
    assert_eq!(market.counts(), (2, 0, 12));
}

#[test]
fn silences_are_shown_and_remembered() {
    let mut market = market();
    market.event(&Event::Stale(silence("A", NOON, Level::Warn)));
    market.event(&Event::Stale(silence("A", NOON, Level::Error)));
    let row = market.row("A", NOON).unwrap();
    assert_eq!((row.level, row.last_price), (Some(Level::Error), None));
    assert_eq!(row.last_seen, Some(EventTime(NOON)));
    market.event(&Event::Recovered(silence("A", NOON, Level::Error)));
    assert_eq!(market.row("A", NOON).unwrap().level, None);
    let past = market.past("A", Range::Hour, NOON, None).unwrap();
    let told = Silence { from: EventTime(NOON), to: Some(EventTime(NOON + 5_000)), level: Level::Error };
    assert_eq!(past.silences, [told]);
}

#[test]
fn a_removed_symbol_is_not_watched_until_it_is_quoted_again() {
    let mut market = market();
    let watched = |market: &Market| market.row("A", NOON).map(|row| (row.is_removed, row.level)).unwrap();
    let ends = |market: &Market| market.past("A", Range::Hour, NOON, None).unwrap().silences[0].to;
    market.trade(&trade("A", NOON - 60_000, 100, &[]));
    market.event(&Event::Stale(silence("A", NOON - 60_000, Level::Error)));
    market.removed("A", NOON);
    assert_eq!(watched(&market), (true, None));
    assert_eq!(ends(&market), Some(EventTime(NOON)), "its silence is over");
    // The other topic is behind.
    market.trade(&trade("A", NOON - 30_000, 100, &[]));
    assert_eq!(watched(&market), (true, None));
    market.trade(&trade("A", NOON + 1, 100, &[]));
    assert_eq!(watched(&market), (false, None));
    // Or it is ahead.
    market.removed("A", NOON);
    assert_eq!(watched(&market), (false, None));
    market.removed("A", NOON + 2);
    market.event(&Event::Stale(silence("A", NOON + 1, Level::Warn)));
    assert_eq!(watched(&market), (false, Some(Level::Warn)));
    // Before anything else was read of it.
    market.removed("B", NOON);
    market.trade(&trade("B", NOON - 1, 100, &[]));
    assert!(market.row("B", NOON).unwrap().is_removed);
}

#[test]
fn each_symbol_is_held_to_its_class_and_that_ones_calendar() {
    let class = |name: &str, calendar: &Calendar, warn_after_ms, error_after_ms| {
        let calendar = calendar.clone();
        Class { name: name.into(), calendar, warn_after_ms, error_after_ms, feed_after_ms: None }
    };
    // Closed from a minute after noon on, until the next day's noon.
    let hours = vec![(NOON - DAY_MS, NOON + 60_000), (NOON + DAY_MS, NOON + 2 * DAY_MS)];
    let stocks = class("stocks", &Calendar::of_sessions("hours", hours), Some(30_000), Some(90_000));
    let exempt = class("exempt", &Calendar::always(), None, None);
    let classes = vec![(stocks, vec!["STOCK".to_owned()]), (exempt, vec!["X:*".to_owned()])];
    let default = class(Class::DEFAULT, &Calendar::always(), None, Some(5_000));
    let mut market = Market::new(Classes::new(classes, default));
    let due = |market: &Market, symbol: &str| {
        let row = market.row(symbol, NOON).unwrap();
        [row.warn_at, row.error_at].map(|at| at.map(|at| at.0 - NOON))
    };
    for symbol in ["STOCK", "X:1", "COIN"] {
        market.trade(&trade(symbol, NOON, 100, &[]));
    }
    assert_eq!(due(&market, "STOCK"), [Some(30_001), Some(DAY_MS + 30_001)]);
    assert_eq!(due(&market, "X:1"), [None, None]);
    assert_eq!(due(&market, "COIN"), [None, Some(5_001)]);
    // One that was never seen is silent since it was listed.
    let listed = Freshness { never_seen: true, ..silence("LISTED", NOON - 1_000, Level::Error) };
    market.event(&Event::Stale(listed));
    assert_eq!(due(&market, "LISTED"), [None, Some(4_001)]);
    assert_eq!(market.row("LISTED", NOON).unwrap().last_seen, None);
    market.removed("COIN", NOON);
    assert_eq!(due(&market, "COIN"), [None, None]);
}

#[test]
fn the_past_is_as_fine_as_it_is_known() {
    let mut market = market();
    (0..60).for_each(|n| market.trade(&trade("A", NOON + n * 10_000, 100 + n, &[])));
    let now = NOON + 600_000;
    let past = |range, market: &Market| market.past("A", range, now, None).unwrap();
    assert_eq!((past(Range::All, &market).step_s, past(Range::All, &market).bars.len()), (10, 60));
    market.trade(&trade("A", NOON - 2 * DAY_MS, 1, &[]));
    assert_eq!(past(Range::Hour, &market).step_s, 10);
    let all = past(Range::All, &market);
    assert_eq!((all.step_s, all.bars.len()), (900, 2));
    assert_eq!(market.past("A", Range::Day, now, Some(COARSE_S)).unwrap().bars.len(), 2);
}

#[test]
fn there_is_room_for_so_many() {
    let mut market = market();
    for n in 0..SYMBOLS_MAX + 3 {
        market.event(&Event::Stale(silence(&format!("S{n}"), NOON, Level::Error)));
    }
    assert_eq!(market.counts(), (SYMBOLS_MAX, 3, 0));
    let (fine, coarse) = market.keep();
    assert!((fine + coarse) * SYMBOLS_MAX <= BARS_MAX, "{fine} {coarse}");
    assert!(market.keep() < self::market().keep());
    let coarse_s = i64::try_from(coarse).unwrap() * COARSE_S;
    assert!(coarse_s > HOUR_S + COARSE_S, "{coarse_s}: an hour ago is known of however many symbols");
}
