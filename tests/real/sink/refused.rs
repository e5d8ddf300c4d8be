//! Records that can be no row: kept as dead letters with the reason, and in nobody's way.

use crate::{
    feed::now_ms,
    sink::{
        loader::Loader,
        source::{Straight, append, letters, tables, topics},
        tables::{Tables, settings},
    },
};

#[test]
fn what_can_be_no_row_becomes_a_dead_letter_and_blocks_nothing() {
    let test = "sink-refused";
    let settings = topics(settings(test));
    tables(&settings);
    let now = now_ms();
    let good = |number| Straight::quote("AAPL", number, now, 0);
    // Cassandra takes keys of up to 65,535 bytes.
    let long = "L".repeat(70_000);
    let almost = "M".repeat(30_000);
    let bad = [
        ("no_source", Straight { source: None, ..good(1) }),
        ("no_source", Straight { source: Some(vec![1, 2]), ..good(2) }),
        ("bad_value", Straight { value: None, ..good(3) }),
        ("bad_value", Straight { value: Some(b"{\"symbol\":\"AAPL\"}".to_vec()), ..good(4) }),
        ("bad_value", Straight { key: Some(b"IBM".to_vec()), ..good(5) }),
        ("unwritable", Straight::quote(&long, 6, now, 0)),
        ("unwritable", Straight::quote(&long, 7, now, 900_000)),
    ];
    let records = bad.iter().zip(100..).flat_map(|((_, bad), number)| [good(number), bad.clone()]);
    append(&settings, records.chain([Straight::quote(&almost, 200, now, 0), good(201)]));
    Loader::catch_up(&settings);

    let letters = letters(&settings);
    let mut found: Vec<_> = letters.iter().map(|letter| letter.header("tg-dead-place")).collect();
    found.sort_unstable();
    let place = |at: usize| format!("{}/0@{}", settings.topic("stock_data"), 2 * at + 1);
    let mut expected: Vec<_> = (0..bad.len()).map(place).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    for (at, (reason, record)) in bad.iter().enumerate() {
        let letter = letters.iter().find(|letter| letter.header("tg-dead-place") == place(at)).unwrap();
        assert_eq!(letter.header("tg-dead-reason"), *reason, "{at}");
        assert!(!letter.header("tg-dead-detail").is_empty(), "{at}");
        assert_eq!((&letter.key, &letter.value), (&record.key, &record.value), "{at}");
        assert_eq!(letter.header("theirs"), "kept");
    }
    assert_eq!(Tables::of(test).count(), bad.len() + 2);
    assert_eq!(Tables::of(test).latest().len(), 2);
}
