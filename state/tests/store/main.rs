//! The store as a worker uses it: what it promises, and what a kill, a damaged file or a wrong folder do to it.

mod crash;
mod damage;
mod disk_full;
mod drawn;
mod folder;
mod looking;
mod writes;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tickgate_state::{
    Batch, OpenError, Position, Row, RowKey, Store, StoreIdentity, StoreOptions, SymbolRow,
};

fn identity() -> StoreIdentity {
    StoreIdentity {
        group: "tickgate".to_owned(),
        changelog: "tickgate-last_seen-changelog".to_owned(),
        cluster: String::new(),
    }
}

fn open(dir: &Path) -> Arc<Store> {
    Arc::new(try_open(dir).expect("the store opens"))
}

/// Opens it. A program that another test starts has the lock too, until it is a program of its own.
fn try_open(dir: &Path) -> Result<Store, OpenError> {
    let give_up = Instant::now() + Duration::from_secs(10);
    loop {
        match Store::open(dir, &identity(), &StoreOptions::default()) {
            Err(OpenError::Locked { .. }) if Instant::now() < give_up => {
                thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

fn at(changelog_next: i64) -> Position {
    Position { changelog_next }
}

fn seen(last_seen: i64) -> SymbolRow {
    SymbolRow { last_seen: Some(last_seen), ..SymbolRow::default() }
}

fn symbol(name: &str, row: Option<&SymbolRow>) -> Row {
    (RowKey::Symbol(name).encode(), row.map(SymbolRow::encode))
}

fn batch(expected: Option<i64>, rows: Vec<Row>, position: i64) -> Batch {
    Batch { expected: expected.map(at), rows, position: at(position) }
}
