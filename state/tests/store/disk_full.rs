//! A disk that takes no more: writes give errors, nothing panics, and what was durable is still there.
//!
//! The disk is played by the limit of a process on the size of its files, which needs no rights and no mount.

use crate::{at, identity, seen, symbol};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tickgate_state::{Row, Store, StoreError, StoreOptions};

const DIR: &str = "TICKGATE_STATE_FULL_DIR";
const ROWS_PER_SLICE: i64 = 2000;
const SLICES_MAX: i64 = 2000;
/// What the process says when the store gave an error and stayed usable as far as it can.
const GAVE_AN_ERROR: &str = "the store gave an error";

const OPTIONS: StoreOptions =
    StoreOptions { block_cache_bytes: 8 << 20, write_buffer_bytes: 1 << 20, max_open_files: 512 };

#[test]
fn a_full_disk_is_an_error_and_heals() {
    let dir = tempfile::tempdir().expect("a folder");
    let program = std::env::current_exe().expect("this test's program");
    // The unit is 1 KiB. The signal would kill before the error is seen; ignored, the write fails with EFBIG.
    let script = "trap '' XFSZ; ulimit -f 96; exec \"$0\" --exact disk_full::write_until_full --nocapture";
    let output = Command::new("bash")
        .arg("-c")
        .arg(script)
        .arg(program)
        .env(DIR, dir.path())
        .output()
        .expect("started");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains(GAVE_AN_ERROR), "{said}");

    // With room again, it opens at some slice and goes on from there.
    let store = Arc::new(Store::open(dir.path(), &identity(), &OPTIONS).expect("opens with room"));
    let stands = store.position(0).expect("read").map_or(0, |position| position.changelog_next);
    let writer = store.writer(0).expect("free");
    store.restore_slice(&writer, slice(stands), at(stands + ROWS_PER_SLICE), 0).expect("restored");
    store.flush().expect("flushed");
}

/// Not a test of its own: what runs within the limit.
#[test]
fn write_until_full() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let error = fill(Path::new(&dir)).expect_err("the limit is far below what is written");
    assert!(!error.is_corruption(), "a full disk is no damage: {error}");
    println!("{GAVE_AN_ERROR}: {error}");
}

fn fill(dir: &Path) -> Result<(), StoreError> {
    let store = Arc::new(Store::open(dir, &identity(), &OPTIONS).expect("opens"));
    let writer = store.writer(0).expect("free");
    for number in 0..SLICES_MAX {
        let from = number * ROWS_PER_SLICE;
        store.restore_slice(&writer, slice(from), at(from + ROWS_PER_SLICE), 0)?;
        store.flush()?;
    }
    Ok(())
}

fn slice(from: i64) -> Vec<Row> {
    // Names that do not compress away.
    let name = |i: i64| format!("{:016x}", i.wrapping_mul(0x1e37_79b9_7f4a_7c15));
    (from..from + ROWS_PER_SLICE).map(|i| symbol(&name(i), Some(&seen(i)))).collect()
}
