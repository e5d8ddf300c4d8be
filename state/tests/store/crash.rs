//! kill -9 of a process that writes and flushes: the store then stands at some round, with exactly its content.

use crate::{at, identity, seen, symbol};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tickgate_state::{
    Batch, CheckpointRow, PartitionWriter, Position, Row, RowKey, Store, StoreOptions, SymbolRow,
};

const DIR: &str = "TICKGATE_STATE_CRASH_DIR";
const PARTITIONS: [u16; 3] = [0, 5, 300];
const SYMBOLS: u64 = 700;
const ROWS_PER_ROUND: u64 = 40;
/// Changelog offsets that a round takes: its rows, the checkpoint row, the transaction's marker.
const OFFSETS_PER_ROUND: i64 = 42;
const KILLS: u64 = 6;
const FLUSHED: &str = "flushed";
/// The first may be of before the first round.
const FLUSHES_WAITED_FOR: usize = 3;

/// Small memtables, so that the database flushes and compacts of its own accord as well.
const OPTIONS: StoreOptions =
    StoreOptions { block_cache_bytes: 8 << 20, write_buffer_bytes: 256 << 10, max_open_files: 512 };

#[test]
fn after_a_kill_the_content_is_that_of_the_position() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut model = Model::default();
    let mut lost_before = 0;
    for kill in 0..KILLS {
        let mut child = writer_process(dir.path());
        wait_for_flushes(&mut child);
        std::thread::sleep(Duration::from_millis(50 + 41 * kill));
        child.kill().expect("killed");
        child.wait().expect("ended");

        let store = Arc::new(Store::open(dir.path(), &identity(), &OPTIONS).expect("opens after a kill"));
        let rounds = rounds_of(store.position(PARTITIONS[0]).expect("read"));
        assert!(rounds > lost_before, "kill {kill}: no round of the process is left");
        lost_before = rounds;
        model.advance_to(rounds);
        for partition in PARTITIONS {
            let position = store.position(partition).expect("read");
            assert_eq!(rounds_of(position), rounds, "kill {kill}: partition {partition} is of another round");
            assert_eq!(store.checkpoint(partition).expect("read"), Some(checkpoint(rounds - 1)));
            let content: BTreeMap<Box<str>, SymbolRow> =
                store.symbol_rows(partition).expect("read").into_iter().collect();
            assert!(
                content == model.0[&partition],
                "kill {kill}: partition {partition} differs at round {rounds}"
            );
        }
    }
}

/// Not a test of its own: what the killed process runs.
#[test]
fn write_until_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let store = Arc::new(Store::open(Path::new(&dir), &identity(), &OPTIONS).expect("opens"));
    let writers = PARTITIONS.map(|partition| store.writer(partition).expect("free"));
    let mut stands = store.position(PARTITIONS[0]).expect("read");
    let flushed = Arc::clone(&store);
    // From a thread of its own, so that a flush falls anywhere among the writes.
    std::thread::spawn(move || {
        for flush in 0_u64.. {
            std::thread::sleep(Duration::from_micros(1000 + 700 * (flush % 5)));
            flushed.flush().expect("flushed");
            eprintln!("{FLUSHED}");
        }
    });
    for round in rounds_of(stands).. {
        let position = at(OFFSETS_PER_ROUND * i64::try_from(round + 1).expect("few rounds"));
        let batches: Vec<(&PartitionWriter, Batch)> = writers
            .iter()
            .map(|writer| {
                (writer, Batch { expected: stands, rows: rows(writer.partition(), round), position })
            })
            .collect();
        store.apply(&batches, 0).expect("applied");
        stands = Some(position);
    }
}

fn writer_process(dir: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this test's program"))
        .args(["--exact", "crash::write_until_killed", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started")
}

/// Waits until the process has made some of its rounds durable; what it says after that is read and dropped.
fn wait_for_flushes(child: &mut Child) {
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut said = Vec::new();
    while said.iter().filter(|line| *line == FLUSHED).count() < FLUSHES_WAITED_FOR {
        let line = lines.next().unwrap_or_else(|| panic!("the process ended by itself: {said:?}"));
        said.push(line.expect("text"));
    }
    std::thread::spawn(move || lines.for_each(drop));
}

fn rounds_of(position: Option<Position>) -> u64 {
    let offset = position.map_or(0, |position| position.changelog_next);
    assert_eq!(offset % OFFSETS_PER_ROUND, 0, "a position within a round");
    u64::try_from(offset / OFFSETS_PER_ROUND).expect("not negative")
}

/// What a partition's round changes: a function of its number, so that the parent can fold it too.
fn changes(partition: u16, round: u64) -> impl Iterator<Item = (String, Option<SymbolRow>)> {
    (0..ROWS_PER_ROUND).map(move |i| {
        let chance =
            (round * ROWS_PER_ROUND + i + u64::from(partition)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let row = seen(i64::try_from(round * 1000 + i).expect("few rounds"));
        (format!("SYMBOL-{}", chance % SYMBOLS), (!chance.is_multiple_of(11)).then_some(row))
    })
}

fn rows(partition: u16, round: u64) -> Vec<Row> {
    let checkpoint = (RowKey::Checkpoint.encode(), Some(checkpoint(round).encode()));
    changes(partition, round).map(|(name, row)| symbol(&name, row.as_ref())).chain([checkpoint]).collect()
}

fn checkpoint(round: u64) -> CheckpointRow {
    let next_offset = i64::try_from(round).expect("few rounds") + 1;
    CheckpointRow { next_offset, epoch: 0, fingerprint: 1, input_time: None }
}

/// What the partitions hold after so many rounds, folded in memory.
#[derive(Default)]
struct Model(BTreeMap<u16, BTreeMap<Box<str>, SymbolRow>>, u64);

impl Model {
    fn advance_to(&mut self, rounds: u64) {
        for round in self.1..rounds {
            for partition in PARTITIONS {
                let content = self.0.entry(partition).or_default();
                for (name, row) in changes(partition, round) {
                    match row {
                        Some(row) => content.insert(name.into(), row),
                        None => content.remove(name.as_str()),
                    };
                }
            }
        }
        self.1 = rounds;
    }
}
