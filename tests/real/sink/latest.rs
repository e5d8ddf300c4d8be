//! The table `latest`: of each symbol the newest quote, whatever the order of arrival.

use crate::{
    feed::now_ms,
    sink::{
        loader::Loader,
        source::{Straight, append, tables, topics},
        tables::{Tables, settings},
    },
};

#[test]
fn the_newest_quote_stays_and_equal_times_settle_on_the_later_record() {
    let test = "sink-latest";
    let settings = topics(settings(test));
    tables(&settings);
    let now = now_ms();
    let quotes = [("A", 1, 30), ("B", 2, 10), ("A", 3, 10), ("B", 4, 20), ("A", 5, 30), ("A", 6, 29)];
    let expected = vec![("A".to_owned(), 5, now + 30), ("B".to_owned(), 4, now + 20)];
    let found = || {
        let tables = Tables::of(test).latest();
        tables.into_iter().map(|(symbol, (offset, time, ..), _)| (symbol, offset, time)).collect::<Vec<_>>()
    };
    // One by one, so that no two are written together, and then all at once.
    for (symbol, number, after) in quotes {
        append(&settings, [Straight::quote(symbol, number, now + after, 0)]);
        Loader::catch_up(&settings);
    }
    assert_eq!(found(), expected);
    Loader::catch_up(&settings.clone().with("SINK__GROUP", "sink-latest-again"));
    assert_eq!(found(), expected);
}
