//! Damaged files: an error that says so, when opened or when read, never other rows than were written.

use crate::{at, open, seen, symbol, try_open};
use std::fs;
use std::path::{Path, PathBuf};
use tickgate_state::{OpenError, Row, SymbolRow};

const SYMBOLS: i64 = 3000;

type Content = Vec<(Box<str>, SymbolRow)>;

/// A flushed store with one table file; answers its content and that file.
fn filled(dir: &Path) -> (Content, PathBuf) {
    let content = {
        let store = open(dir);
        let rows: Vec<Row> =
            (0..SYMBOLS).map(|i| symbol(&format!("S{i:05}"), Some(&seen(i * 7919)))).collect();
        let writer = store.writer(0).expect("free");
        store.restore_slice(&writer, rows, at(SYMBOLS), 0).expect("restored");
        store.flush().expect("flushed");
        store.symbol_rows(0).expect("read")
    };
    assert_eq!(content.len(), usize::try_from(SYMBOLS).expect("positive"));
    (content, files(dir, ".sst").remove(0))
}

fn files(dir: &Path, in_name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("db")).expect("a database");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut named: Vec<PathBuf> = paths
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(in_name)))
        .collect();
    named.sort();
    named
}

/// Opens and reads all. Whether the damage was reported, as damage; else nothing may differ.
fn reported(dir: &Path, content: &Content, what: &str) -> bool {
    let store = match try_open(dir) {
        Ok(store) => store,
        Err(OpenError::Damaged { .. }) => return true,
        Err(other) => panic!("{what}: not reported as damage: {other}"),
    };
    let names: Vec<&str> = content.iter().map(|(name, _)| &**name).collect();
    let looked_up = store.symbols(0, &names);
    let scanned = store.symbol_rows(0);
    let position = store.position(0);
    for error in
        [looked_up.as_ref().err(), scanned.as_ref().err(), position.as_ref().err()].into_iter().flatten()
    {
        assert!(error.is_corruption(), "{what}: not reported as damage: {error}");
    }
    let mut whole = true;
    match looked_up {
        Ok(rows) => {
            assert!(rows.iter().zip(content).all(|(row, (_, was))| row.as_ref() == Some(was)), "{what}");
        }
        Err(_) => whole = false,
    }
    match scanned {
        Ok(rows) => assert!(&rows == content, "{what}: a scan differs"),
        Err(_) => whole = false,
    }
    match position {
        Ok(position) => assert_eq!(position, Some(at(SYMBOLS)), "{what}"),
        Err(_) => whole = false,
    }
    !whole
}

#[test]
fn a_flipped_byte_is_never_silently_wrong() {
    let dir = tempfile::tempdir().expect("a folder");
    let (content, table) = filled(dir.path());
    let bytes = fs::read(&table).expect("read");
    assert!(!reported(dir.path(), &content, "untouched"));

    let mut noticed = 0;
    let step = bytes.len() / 40;
    let places: Vec<usize> = (0..bytes.len()).step_by(step).chain([bytes.len() - 1]).collect();
    for &place in &places {
        let mut flipped = bytes.clone();
        flipped[place] ^= 0x10;
        fs::write(&table, &flipped).expect("written");
        noticed += usize::from(reported(dir.path(), &content, &format!("byte {place} of {}", bytes.len())));
    }
    assert!(noticed > places.len() / 2, "only {noticed} of {} flips were noticed", places.len());
}

#[test]
fn a_cut_or_missing_file_is_damage() {
    let dir = tempfile::tempdir().expect("a folder");
    let (content, table) = filled(dir.path());
    let bytes = fs::read(&table).expect("read");
    for length in [0, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&table, &bytes[..length]).expect("written");
        assert!(reported(dir.path(), &content, &format!("cut to {length}")));
    }
    fs::remove_file(&table).expect("removed");
    assert!(reported(dir.path(), &content, "missing table"));
}

#[test]
fn damaged_metadata_is_damage() {
    for (name, bytes) in [("CURRENT", Some(&b"MANI"[..])), ("MANIFEST", Some(&[7; 64])), ("MANIFEST", None)] {
        let dir = tempfile::tempdir().expect("a folder");
        let (content, _) = filled(dir.path());
        let file = files(dir.path(), name).pop().expect("it has one");
        match bytes {
            Some(bytes) => fs::write(&file, bytes).expect("written"),
            None => fs::remove_file(&file).expect("removed"),
        }
        assert!(reported(dir.path(), &content, name), "{name}");
    }
}
