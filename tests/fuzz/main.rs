//! What `fuzz/run` looks for, in every build: the corpus that it has gathered, and bytes by chance.
//!
//! A target is one function of any bytes, which panics when something that must hold doesn't. A file that
//! made one panic belongs into its corpus once the fault is mended.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod bytes;
mod record;
mod rows;

use std::{fs, panic, path::Path};

use proptest::prelude::*;

/// Runs every file of a target's corpus.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 10, "{} files", files.len());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let ran = panic::catch_unwind(|| run(&bytes));
        assert!(ran.is_ok(), "{} fails, as said above", file.display());
    }
}

#[test]
fn the_corpus_of_records_holds() {
    replay("record", record::run);
}

#[test]
fn the_corpus_of_rows_holds() {
    replay("rows", rows::run);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_records_have_one_output_each(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        record::run(&bytes);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        rows::run(&bytes);
    }
}
