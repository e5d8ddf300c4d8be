//! Rounds, slices, stamps and the writer's token.

use crate::{at, batch, open, seen, symbol};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tickgate_state::{
    ApplyError, CheckpointRow, ClassRow, Position, Row, RowKey, StoreError, SymbolRow, WriterTaken,
};

#[test]
fn a_round_is_read_back_with_its_position() {
    let dir = tempfile::tempdir().expect("a folder");
    let checkpoint = CheckpointRow { next_offset: 77, epoch: 1, fingerprint: 5, input_time: Some(6) };
    let class = ClassRow { last_accepted: Some(9), silent_from: None };
    {
        let store = open(dir.path());
        let (three, four) = (store.writer(3).expect("free"), store.writer(4).expect("free"));
        let rows = vec![
            symbol("MSFT", Some(&seen(2))),
            symbol("AAPL", Some(&seen(1))),
            (RowKey::Checkpoint.encode(), Some(checkpoint.encode())),
            (RowKey::Class("equities").encode(), Some(class.encode())),
        ];
        let other = vec![symbol("AAPL", Some(&seen(4)))];
        store
            .apply(&[(&three, batch(None, rows, 10)), (&four, batch(None, other, 20))], 1000)
            .expect("applied");
        store.flush().expect("flushed");
    }
    let store = open(dir.path());
    assert_eq!(store.position(3).expect("read"), Some(at(10)));
    assert_eq!(store.position(4).expect("read"), Some(at(20)));
    assert_eq!(store.position(5).expect("read"), None);
    assert_eq!(store.checkpoint(3).expect("read"), Some(checkpoint));
    assert_eq!(store.checkpoint(4).expect("read"), None);
    assert_eq!(store.class_rows(3).expect("read"), vec![("equities".into(), class)]);
    assert_eq!(store.symbol_rows(3).expect("read"), vec![("AAPL".into(), seen(1)), ("MSFT".into(), seen(2))]);
    let asked = store.symbols(3, &["MSFT", "none", "AAPL", "MSFT"]).expect("read");
    assert_eq!(asked, vec![Some(seen(2)), None, Some(seen(1)), Some(seen(2))]);
    assert_eq!(store.symbols(4, &["AAPL", "MSFT"]).expect("read"), vec![Some(seen(4)), None]);
    assert_eq!(store.symbols(4, &[]).expect("read"), vec![]);
    assert!(store.stats().expect("read").bytes > 0);
}

#[test]
fn a_span_ends_before_its_end_and_at_its_limit() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let writers = [2, 3, 4].map(|partition| store.writer(partition).expect("free"));
    let checkpoint = CheckpointRow { next_offset: 0, epoch: 0, fingerprint: 0, input_time: None };
    let names = ["A", "AB", "B", "C\u{10ffff}", "D"];
    for writer in &writers {
        let mut rows: Vec<Row> = names.iter().map(|name| symbol(name, Some(&seen(1)))).collect();
        // Neighbours of other kinds, on both sides.
        rows.push((RowKey::Checkpoint.encode(), Some(checkpoint.encode())));
        rows.push((RowKey::Class("A").encode(), Some(ClassRow::default().encode())));
        store.apply(&[(writer, batch(None, rows, 10))], 0).expect("applied");
    }
    let span = |from, until, limit| {
        let rows = store.symbol_span(3, (from, until), limit).expect("read");
        rows.into_iter().map(|(name, _)| name.into_string()).collect::<Vec<_>>()
    };
    assert_eq!(span("", None, 100), names);
    assert_eq!(span("", None, 2), ["A", "AB"]);
    assert_eq!(span("AB", Some("C\u{10ffff}"), 100), ["AB", "B"]);
    assert_eq!(span("B", Some("D"), 1), ["B"]);
    assert_eq!(span("C\u{10ffff}", None, 100), names[3..]);
    assert_eq!(span("E", None, 100), [""; 0]);
    assert_eq!(span("B", Some("B"), 100), [""; 0]);
}

#[test]
fn a_round_decided_elsewhere_is_refused_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let (one, two) = (store.writer(1).expect("free"), store.writer(2).expect("free"));
    store.apply(&[(&one, batch(None, vec![], 10)), (&two, batch(None, vec![], 10))], 0).expect("applied");

    let good = || (&one, batch(Some(10), vec![symbol("A", Some(&seen(1)))], 11));
    for (expected, position) in [(None, 11), (Some(9), 11), (Some(11), 12)] {
        let moved = store.apply(&[good(), (&two, batch(expected, vec![], position))], 0);
        let Err(ApplyError::Moved { partition: 2, found, .. }) = moved else {
            panic!("expected partition 2 to have moved, got {moved:?}");
        };
        assert_eq!(found, Some(at(10)));
    }
    let backwards = store.apply(&[good(), (&two, batch(Some(10), vec![], 9))], 0);
    assert!(matches!(backwards, Err(ApplyError::Store(StoreError::Backwards { partition: 2, .. }))));
    assert_eq!(store.position(1).expect("read"), Some(at(10)), "no part of a refused round is applied");
    assert_eq!(store.symbols(1, &["A"]).expect("read"), vec![None]);

    // A round that wrote nothing to the changelog, and two batches of one partition on top of each other.
    store.apply(&[(&two, batch(Some(10), vec![], 10))], 0).expect("applied");
    store.apply(&[good(), (&one, batch(Some(11), vec![], 12))], 0).expect("applied");
    assert_eq!(store.position(1).expect("read"), Some(at(12)));
}

#[test]
fn a_record_that_is_no_row_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let writer = store.writer(1).expect("free");
    for key in [&b"p"[..], b"", b"x1", b"s\xff"] {
        let rows = vec![(key.to_vec(), Some(vec![1, 0]))];
        let refused = store.restore_slice(&writer, rows, at(1), 0).expect_err("no row's key");
        assert!(matches!(refused, StoreError::UnknownRow { partition: 1, .. }), "{refused}");
        assert!(!refused.is_corruption(), "a rebuild would meet the same record again: {refused}");
        assert!(refused.to_string().contains("newer version"), "{refused}");
    }
    assert_eq!(store.position(1).expect("read"), None);

    let newer = vec![(RowKey::Symbol("A").encode(), Some(vec![99, 0]))];
    store.restore_slice(&writer, newer, at(1), 0).expect("values are judged when they are read");
    let error = store.symbols(1, &["A"]).expect_err("a newer version's");
    assert!(!error.is_corruption(), "a rebuild would meet the same row again: {error}");
    let broken = vec![(RowKey::Symbol("A").encode(), Some(vec![1]))];
    store.restore_slice(&writer, broken, at(2), 0).expect("values are judged when they are read");
    assert!(store.symbol_rows(1).expect_err("broken").is_corruption());
}

#[test]
fn a_partition_has_one_writer_at_a_time() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let writer = store.writer(7).expect("free");
    assert_eq!(writer.partition(), 7);
    assert_eq!(store.writer(7).err(), Some(WriterTaken { partition: 7 }));
    assert!(store.writer(8).is_ok());
    drop(writer);
    assert!(store.writer(7).is_ok());
}

#[test]
fn the_stamp_says_when_a_partition_was_last_current() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let one = store.writer(1).expect("free");
    store.apply(&[(&one, batch(None, vec![], 5))], 1000).expect("applied");
    assert_eq!(store.age_ms(1, 1500).expect("read"), Some(500));
    assert_eq!(store.age_ms(1, 0).expect("read"), Some(0), "a clock set back");
    store.apply(&[(&one, batch(Some(5), vec![], 6))], 2000).expect("applied");
    assert_eq!(store.age_ms(1, 2100).expect("read"), Some(100));
    assert_eq!(store.age_ms(2, 2100).expect("read"), None);
}

#[test]
fn clearing_takes_one_partition_and_its_position() {
    let dir = tempfile::tempdir().expect("a folder");
    {
        let store = open(dir.path());
        for partition in [0, 7, 8, u16::MAX] {
            let writer = store.writer(partition).expect("free");
            let rows = vec![symbol("A", Some(&seen(1))), symbol("\u{10ffff}", Some(&seen(2)))];
            store.restore_slice(&writer, rows, at(2), 0).expect("restored");
        }
        for partition in [7, u16::MAX] {
            store.clear_partition(&store.writer(partition).expect("free")).expect("cleared");
        }
    }
    let store = open(dir.path());
    for (partition, rows) in [(0, 2), (7, 0), (8, 2), (u16::MAX, 0)] {
        assert_eq!(store.symbol_rows(partition).expect("read").len(), rows, "{partition}");
        assert_eq!(store.position(partition).expect("read").is_some(), rows > 0, "{partition}");
    }
}

fn model_rows() -> impl Strategy<Value = Vec<Vec<(u8, Option<i64>)>>> {
    let row = (0..12_u8, any::<Option<i64>>());
    proptest::collection::vec(proptest::collection::vec(row, 0..20), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Rounds and restored slices alike leave what a plain map would hold.
    #[test]
    fn content_is_the_fold_of_what_was_written(slices in model_rows()) {
        let dir = tempfile::tempdir().expect("a folder");
        let store = open(dir.path());
        let (restored, applied) = (store.writer(0).expect("free"), store.writer(1).expect("free"));
        let mut model: BTreeMap<String, SymbolRow> = BTreeMap::new();
        let mut stands: Option<Position> = None;
        for slice in &slices {
            let mut rows: Vec<Row> = Vec::new();
            for (name, last_seen) in slice {
                let (name, row) = (format!("S{name}"), last_seen.map(seen));
                rows.push(symbol(&name, row.as_ref()));
                match row {
                    Some(row) => model.insert(name, row),
                    None => model.remove(&name),
                };
            }
            let next = at(stands.map_or(0, |at| at.changelog_next) + 1);
            let round = tickgate_state::Batch { expected: stands, rows: rows.clone(), position: next };
            store.apply(&[(&applied, round)], 0).expect("applied");
            store.restore_slice(&restored, rows, next, 0).expect("restored");
            stands = Some(next);
        }
        let expected: Vec<(Box<str>, SymbolRow)> =
            model.into_iter().map(|(name, row)| (name.into(), row)).collect();
        for partition in [0, 1] {
            prop_assert_eq!(&store.symbol_rows(partition).expect("read"), &expected);
            prop_assert_eq!(store.position(partition).expect("read"), stands);
        }
    }
}
