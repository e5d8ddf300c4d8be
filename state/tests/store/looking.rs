//! Looking at a store: where it lies, without touching it, and while it is written.

use crate::{at, batch, identity, open, seen, symbol};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::SystemTime;
use tickgate_state::{
    CheckpointRow, ClassRow, OpenError, Row, RowKey, Snapshot, StoppedStore, Store, StoreIdentity,
    StoreOptions, SymbolRow,
};

fn look(dir: &Path) -> Result<StoppedStore, OpenError> {
    StoppedStore::open(dir, &identity(), &StoreOptions::default())
}

/// Every file below, with its bytes and when it was changed.
fn files(dir: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let changed = entry.metadata().expect("metadata").modified().expect("a time");
        if entry.path().is_dir() {
            found.insert(name.clone(), (vec![], changed));
            let below = files(&entry.path()).into_iter();
            found.extend(below.map(|(below, file)| (format!("{name}/{below}"), file)));
        } else {
            found.insert(name, (fs::read(entry.path()).expect("read"), changed));
        }
    }
    found
}

fn names(snapshot: &Snapshot<'_>, partition: u16, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    let whole = snapshot.symbols(partition, prefix, None, |name, _| {
        names.push(name.to_owned());
        ControlFlow::Continue(())
    });
    assert!(whole.expect("read").is_continue());
    names
}

#[test]
fn a_stopped_store_is_read_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let checkpoint = CheckpointRow { next_offset: 9, epoch: 2, fingerprint: 0, input_time: None };
    {
        let store = open(dir.path());
        let (three, last) = (store.writer(3).expect("free"), store.writer(u16::MAX).expect("free"));
        let rows = vec![
            symbol("AAPL", Some(&seen(1))),
            symbol("AMZN", Some(&seen(2))),
            (RowKey::Checkpoint.encode(), Some(checkpoint.encode())),
        ];
        store
            .apply(&[(&three, batch(None, rows, 10)), (&last, batch(None, vec![], 4))], 77)
            .expect("applied");
        store.flush().expect("flushed");
    }
    let before = files(dir.path());
    {
        let (store, beside) = (look(dir.path()).expect("opened"), look(dir.path()).expect("opened beside"));
        assert_eq!(beside.snapshot().partitions().expect("read").len(), 2);
        let snapshot = store.snapshot();
        let partitions = snapshot.partitions().expect("read");
        let [(3, place), (u16::MAX, other)] = &partitions[..] else { panic!("{partitions:?}") };
        assert_eq!((place.position, place.current_at_ms), (at(10), 77));
        assert_eq!(place.checkpoint.as_ref(), Some(&checkpoint));
        assert_eq!((other.position, &other.checkpoint), (at(4), &None));
        assert_eq!(snapshot.place(4).expect("read"), None);
        assert_eq!(snapshot.symbol(3, "AMZN").expect("read"), Some(seen(2)));
        assert_eq!(snapshot.symbol(3, "none").expect("read"), None);
        assert_eq!(names(&snapshot, 3, ""), ["AAPL", "AMZN"]);
        assert_eq!(names(&snapshot, 3, "AM"), ["AMZN"]);
        // Nobody writes meanwhile.
        let opened = Store::open(dir.path(), &identity(), &StoreOptions::default());
        assert!(matches!(opened, Err(OpenError::Locked { .. })));
    }
    assert!(files(dir.path()) == before, "looking has changed the folder");
}

#[test]
fn what_cannot_be_looked_at_says_why() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(matches!(look(&dir.path().join("none")), Err(OpenError::Absent { .. })));
    assert!(!dir.path().join("none").exists(), "looking made a folder");
    assert!(matches!(look(dir.path()), Err(OpenError::Absent { .. })));
    let store = open(dir.path());
    store.restore_slice(&store.writer(0).expect("free"), vec![], at(5), 0).expect("restored");
    assert!(matches!(look(dir.path()), Err(OpenError::Locked { .. })));
    drop(store);

    let other = StoreIdentity { group: "other".to_owned(), ..identity() };
    let opened = StoppedStore::open(dir.path(), &other, &StoreOptions::default());
    assert!(matches!(opened, Err(OpenError::OtherIdentity { .. })));
    // What an instance would remember is not written down by who looks.
    let named = StoreIdentity { cluster: "first".to_owned(), ..identity() };
    let own = fs::read(dir.path().join("identity")).expect("read");
    assert!(StoppedStore::open(dir.path(), &named, &StoreOptions::default()).is_ok());
    assert_eq!(fs::read(dir.path().join("identity")).expect("read"), own);

    fs::write(dir.path().join("identity"), "tickgate-store 7\nwhatever").expect("written");
    assert!(matches!(look(dir.path()), Err(OpenError::NewerVersion { found: 7, .. })));
    fs::write(dir.path().join("identity"), own).expect("written");
    fs::write(dir.path().join("DAMAGED"), "a checksum").expect("written");
    let damaged = look(dir.path());
    assert!(matches!(&damaged, Err(OpenError::Damaged { reason, .. }) if reason == "a checksum"));
    fs::remove_file(dir.path().join("DAMAGED")).expect("removed");
    fs::write(dir.path().join("db/CURRENT"), "garbage").expect("written");
    let damaged = look(dir.path());
    assert!(matches!(damaged, Err(OpenError::Damaged { .. })), "{damaged:?}");
}

/// Rounds that change every symbol at once: any mixture of two of them would show.
#[test]
fn a_snapshot_is_of_one_moment() {
    const SYMBOLS: usize = 200;
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let over = AtomicBool::new(false);
    let round = |number: i64| -> Vec<Row> {
        let checkpoint = CheckpointRow { next_offset: number, epoch: 0, fingerprint: 0, input_time: None };
        let rows = (0..SYMBOLS).map(|name| symbol(&format!("S{name:03}"), Some(&seen(number))));
        rows.chain([(RowKey::Checkpoint.encode(), Some(checkpoint.encode()))]).collect()
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let writer = store.writer(1).expect("free");
            let mut number = 0;
            while !over.load(Ordering::SeqCst) {
                let expected = (number > 0).then_some(number);
                number += 1;
                store.apply(&[(&writer, batch(expected, round(number), number))], 0).expect("applied");
            }
        });
        let mut seen_rounds = 0;
        let mut last = 0;
        while seen_rounds < 50 {
            let snapshot = store.snapshot();
            // Whatever is not read from the snapshot is of a later round by now.
            let live = store.position(1).expect("read");
            while store.position(1).expect("read") == live {
                thread::yield_now();
            }
            let Some(place) = snapshot.place(1).expect("read") else { continue };
            let number = place.position.changelog_next;
            assert_eq!(place.checkpoint.map(|row| row.next_offset), Some(number));
            let mut rows = 0;
            let told = snapshot.symbols(1, "", None, |name, row| {
                assert_eq!(row.last_seen, Some(number), "{name}");
                rows += 1;
                ControlFlow::Continue(())
            });
            assert!(told.expect("read").is_continue());
            assert_eq!(rows, SYMBOLS);
            let page = snapshot.rows(1, None, usize::MAX, usize::MAX).expect("read");
            assert_eq!(page.rows.len(), SYMBOLS + 1);
            seen_rounds += i32::from(number > last);
            last = number;
        }
        over.store(true, Ordering::SeqCst);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Pages of any size, by rows or by bytes, visit every row of a partition once, in order, and no other's.
    #[test]
    fn paging_visits_every_row_once(
        symbols in proptest::collection::btree_set(".{1,6}", 0..30),
        classes in proptest::collection::btree_set("[a-z]{1,3}", 0..3),
        rows_max in 1..7_usize,
        bytes_max in prop_oneof![Just(usize::MAX), 1..200_usize],
        prefix in ".{0,1}",
        page_rows in 1..7_usize,
    ) {
        let dir = tempfile::tempdir().expect("a folder");
        let store = open(dir.path());
        let mut rows: Vec<Row> = symbols.iter().map(|name| symbol(name, Some(&seen(5)))).collect();
        rows.extend(classes.iter().map(|name| {
            (RowKey::Class(name).encode(), Some(ClassRow::default().encode()))
        }));
        for partition in [6, 7, 8] {
            let writer = store.writer(partition).expect("free");
            store.restore_slice(&writer, rows.clone(), at(2), 0).expect("restored");
        }
        let snapshot = store.snapshot();
        let mut expected: Vec<(Vec<u8>, Vec<u8>)> =
            rows.into_iter().map(|(key, value)| (key, value.expect("no tombstones"))).collect();
        expected.sort();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = snapshot.rows(7, after.as_deref(), rows_max, bytes_max).expect("read");
            prop_assert!(page.rows.len() <= rows_max);
            prop_assert!(!page.has_more || !page.rows.is_empty(), "a page that leads nowhere");
            after = page.rows.last().map(|(key, _)| key.clone()).or(after);
            found.extend(page.rows);
            if !page.has_more {
                break;
            }
        }
        prop_assert_eq!(found, expected);

        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut page: Vec<(String, SymbolRow)> = Vec::new();
            let told = snapshot.symbols(7, &prefix, after.as_deref(), |name, row| {
                page.push((name.to_owned(), row));
                if page.len() < page_rows { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            let is_last = told.expect("read").is_continue();
            after = page.last().map(|(name, _)| name.clone()).or(after);
            found.extend(page.into_iter().map(|(name, _)| name));
            if is_last {
                break;
            }
        }
        let expected: Vec<String> = symbols.into_iter().filter(|name| name.starts_with(&prefix)).collect();
        prop_assert_eq!(found, expected);
    }
}
