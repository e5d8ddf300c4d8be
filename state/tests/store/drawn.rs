//! Damage at places drawn by chance, from a fixed seed: a store that has suffered it says so, or stands at one of
//! the positions it was made durable at, with exactly what it held there.

use crate::{at, batch, identity, open, seen, symbol};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tickgate_state::{OpenError, Row, Store, StoreError, StoreOptions, SymbolRow};

const SYMBOLS: i64 = 1500;
/// Fewer than make the database merge its files.
const FLUSHES: i64 = 3;

type Content = Vec<(Box<str>, SymbolRow)>;
/// The content at each position that a flush made durable; none at no position.
type Durable = BTreeMap<Option<i64>, Content>;

/// What opening and reading a store that may be damaged came to.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// It says that it is damaged, or nobody's whom it knows.
    Refused,
    Stands(Option<i64>),
}

/// The same numbers in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        usize::try_from((mixed ^ mixed >> 27) % u64::try_from(bound).expect("small")).expect("below it")
    }
}

fn rows(flush: i64) -> Vec<Row> {
    // Each flush changes some symbols of those before, removes one, and brings new ones.
    let written = (0..SYMBOLS).map(|i| {
        let number = flush * SYMBOLS / 2 + i;
        symbol(
            &format!("S{:016x}", number.wrapping_mul(0x1e37_79b9_7f4a_7c15)),
            Some(&seen(number * 7919 + flush)),
        )
    });
    written.chain([symbol("S0000000000000000", None)]).collect()
}

fn filled(dir: &Path) -> Durable {
    let store = open(dir);
    let writer = store.writer(0).expect("free");
    let mut durable = Durable::from([(None, Vec::new())]);
    for flush in 0..FLUSHES {
        let before = (flush > 0).then_some(flush * 10);
        store.apply(&[(&writer, batch(before, rows(flush), (flush + 1) * 10))], 0).expect("applied");
        store.flush().expect("flushed");
        durable.insert(Some((flush + 1) * 10), store.symbol_rows(0).expect("read"));
    }
    durable
}

fn copied(from: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::create_dir(dir.path().join("db")).expect("made");
    for part in ["", "db"] {
        for entry in fs::read_dir(from.join(part)).expect("a folder").map(|entry| entry.expect("an entry")) {
            if entry.file_type().expect("a type").is_file() {
                fs::copy(entry.path(), dir.path().join(part).join(entry.file_name())).expect("copied");
            }
        }
    }
    dir
}

/// Files of the database whose names contain `part`.
fn files(dir: &Path, part: &str) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(dir.join("db")).expect("a database").map(|entry| entry.expect("an entry").path());
    let mut named: Vec<PathBuf> = entries
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(part)))
        .collect();
    named.sort();
    named
}

fn found(dir: &Path, durable: &Durable, what: &str) -> Found {
    let store = match Store::open(dir, &identity(), &StoreOptions::default()) {
        Ok(store) => store,
        Err(OpenError::Damaged { .. } | OpenError::OtherIdentity { .. } | OpenError::NewerVersion { .. }) => {
            return Found::Refused;
        }
        Err(other) => panic!("{what}: {other}"),
    };
    match read(&store, durable, what) {
        Ok(position) => Found::Stands(position),
        Err(error) if error.is_corruption() => Found::Refused,
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Reads all there is, which must be right where it can be read.
fn read(store: &Store, durable: &Durable, what: &str) -> Result<Option<i64>, StoreError> {
    let position = store.position(0)?.map(|position| position.changelog_next);
    let content =
        durable.get(&position).unwrap_or_else(|| panic!("{what}: at {position:?}, where it never was"));
    let names: Vec<&str> = content.iter().map(|(name, _)| &**name).collect();
    let looked_up = store.symbols(0, &names)?;
    assert!(
        looked_up.iter().zip(content).all(|(row, (_, was))| row.as_ref() == Some(was)),
        "{what}: a look-up differs"
    );
    assert!(&store.symbol_rows(0)? == content, "{what}: a scan differs");
    Ok(position)
}

fn flip(file: &Path, place: usize, bit: usize) {
    let mut bytes = fs::read(file).expect("read");
    bytes[place] ^= 1 << bit;
    fs::write(file, bytes).expect("written");
}

/// Harms a copy `times` over; how often the harm was noticed or cost the last flushes.
fn harmed(part: &str, times: usize, harm: impl Fn(&Path, usize, &mut Chance)) -> usize {
    let whole = tempfile::tempdir().expect("a folder");
    let durable = filled(whole.path());
    let untouched = copied(whole.path());
    assert_eq!(found(untouched.path(), &durable, "untouched"), Found::Stands(Some(FLUSHES * 10)));
    let mut chance = Chance(part.len() as u64);
    let mut noticed = 0;
    for time in 0..times {
        let dir = copied(whole.path());
        let all = files(dir.path(), part);
        let file = &all[chance.below(all.len())];
        let length = fs::read(file).expect("read").len();
        harm(file, length, &mut chance);
        let found = found(dir.path(), &durable, &format!("{part}, harm {time}"));
        noticed += usize::from(found != Found::Stands(Some(FLUSHES * 10)));
    }
    noticed
}

fn flipped(file: &Path, length: usize, chance: &mut Chance) {
    flip(file, chance.below(length), chance.below(8));
}

fn cut(file: &Path, length: usize, chance: &mut Chance) {
    let file = fs::File::options().write(true).open(file).expect("opened");
    file.set_len(chance.below(length) as u64).expect("cut");
}

#[test]
fn a_flipped_bit_of_a_table_is_never_silently_wrong() {
    assert!(harmed(".sst", 80, flipped) > 40);
}

#[test]
fn a_cut_table_is_damage() {
    assert_eq!(harmed(".sst", 25, cut), 25);
}

#[test]
fn a_flipped_bit_of_the_list_of_tables_is_never_silently_wrong() {
    assert!(harmed("MANIFEST", 60, flipped) > 50);
}

#[test]
fn a_cut_list_of_tables_is_damage_or_an_older_store() {
    // The last words may be of no table.
    assert!(harmed("MANIFEST", 40, cut) > 30);
}

#[test]
fn the_small_files_harm_no_rows() {
    harmed("CURRENT", 25, flipped);
    harmed("CURRENT", 10, cut);
    harmed("OPTIONS", 25, flipped);
    harmed("OPTIONS", 10, cut);
}

#[test]
fn any_file_may_be_missing() {
    for part in [".sst", "MANIFEST", "CURRENT", "OPTIONS", "IDENTITY", "LOG"] {
        harmed(part, 3, |file, _, _| fs::remove_file(file).expect("removed"));
    }
}

#[test]
fn what_rots_while_the_store_is_open_is_an_error_when_it_is_read_or_merged() {
    for merged in [false, true] {
        let dir = tempfile::tempdir().expect("a folder");
        let durable = filled(dir.path());
        let store = open(dir.path());
        for file in files(dir.path(), ".sst") {
            // In place: the database has the file open. The first block is one of rows.
            let file = fs::File::options().read(true).write(true).open(file).expect("opened");
            let mut byte = [0];
            file.read_exact_at(&mut byte, 100).expect("read");
            file.write_all_at(&[byte[0] ^ 0x20], 100).expect("written");
        }
        let writer = store.writer(0).expect("free");
        let mut stands = FLUSHES;
        // A merge begins after a few flushes; its failure is told to those that write.
        let told = merged
            && (0..200).any(|_| {
                let next = batch(Some(stands * 10), vec![symbol("NEW", Some(&seen(1)))], (stands + 1) * 10);
                stands += 1;
                std::thread::sleep(std::time::Duration::from_millis(5));
                let written = store.apply(&[(&writer, next)], 0).map_err(|error| error.to_string());
                written.and_then(|()| store.flush().map_err(|error| error.to_string())).is_err()
            });
        assert_eq!(told, merged, "a merge of rotten tables went unnoticed");
        if !merged {
            let error = read(&store, &durable, "rotten").expect_err("rotten");
            assert!(error.is_corruption(), "{error}");
            store.mark_damaged(&error.to_string());
        }
        drop((writer, store));
        let again = Store::open(dir.path(), &identity(), &StoreOptions::default());
        match again {
            Err(OpenError::Damaged { .. }) => {}
            Err(other) => panic!("{other}"),
            Ok(store) => {
                assert!(merged, "a damaged store was opened");
                assert!(store.symbol_rows(0).expect_err("rotten still").is_corruption());
                match store.position(0) {
                    Ok(position) => assert!(position >= Some(at(FLUSHES * 10))),
                    Err(error) => assert!(error.is_corruption(), "{error}"),
                }
            }
        }
    }
}
