//! What can go wrong with the store, told apart by what the caller must do.

use super::{Position, StoreIdentity};
use crate::rows::RowError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a store could not be opened or set aside.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has it open.
    #[error("state directory `{}` is in use by another process; give every instance a directory of its own", dir.display())]
    Locked {
        /// The state directory.
        dir: PathBuf,
    },
    /// There is nothing to be read.
    #[error("there is no store in `{}`, expected the state directory of an instance that has run; name another one", dir.display())]
    Absent {
        /// The state directory.
        dir: PathBuf,
    },
    /// The directory cannot be made or written. It may heal: free space, rights, a mount.
    #[error("cannot write `{}`: {source}; make the state directory writable, with space left", path.display())]
    NotWritable {
        /// What could not be made or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It belongs to another group, changelog or cluster.
    #[error("state directory `{}` belongs to {found}, expected {expected}; name another directory, or remove it", dir.display())]
    OtherIdentity {
        /// The state directory.
        dir: PathBuf,
        /// Whose it is.
        found: Box<StoreIdentity>,
        /// Who wants it.
        expected: Box<StoreIdentity>,
    },
    /// A newer version wrote it.
    #[error("state directory `{}` has format {found}, expected at most {known}; run the newer version, or name another directory", dir.display())]
    NewerVersion {
        /// The state directory.
        dir: PathBuf,
        /// The format it has.
        found: u32,
        /// The newest format that this build knows.
        known: u32,
    },
    /// Its content cannot be trusted. Set it aside and restore a fresh one.
    #[error("the store in `{}` is damaged: {reason}; it must be set aside and restored from the changelog", dir.display())]
    Damaged {
        /// The state directory.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Anything else.
    #[error("cannot open the store in `{}`: {source}", dir.display())]
    Io {
        /// The state directory.
        dir: PathBuf,
        /// What the system or the database said.
        source: io::Error,
    },
}

/// Why the store could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said no. After a failed write, nothing of it is to be trusted before a new `open`.
    #[error("{doing} failed: {source}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        source: rocksdb::Error,
    },
    /// What was to be stored is no row that this build knows; nothing of it was stored.
    #[error(
        "expected rows that this version knows, found `{key}` for partition {partition}: {source}; where a newer version wrote it, run that one"
    )]
    UnknownRow {
        /// The partition it was for.
        partition: u16,
        /// Its key, with what is not printable escaped.
        key: String,
        /// What is wrong with it.
        source: RowError,
    },
    /// A stored row is not one.
    #[error("row `{key}` of partition {partition}: {source}")]
    Row {
        /// The row's partition.
        partition: u16,
        /// The row's key, with what is not printable escaped.
        key: String,
        /// What is wrong with it.
        source: RowError,
    },
    /// A write would have moved a position back.
    #[error("partition {partition} stands at changelog offset {}, expected none before it, found {}", stored.changelog_next, asked.changelog_next)]
    Backwards {
        /// The partition.
        partition: u16,
        /// Where it stands.
        stored: Position,
        /// Where the write wanted it.
        asked: Position,
    },
}

/// Why a round was not applied. None of it was.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The partition no longer stands where the round was decided; restore it.
    #[error("partition {partition} stands at {}, expected {} as when the round was decided; restore the partition", shown(*found), shown(*expected))]
    Moved {
        /// The partition.
        partition: u16,
        /// Where the round was decided.
        expected: Option<Position>,
        /// Where the partition stands.
        found: Option<Position>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Another holds the partition's writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("partition {partition} already has a writer, expected none; its owner must drop it first")]
pub struct WriterTaken {
    /// The partition.
    pub partition: u16,
}

impl StoreError {
    /// Whether what is stored cannot be trusted: mark the store damaged, set it aside, restore it. What a newer version
    /// wrote is no reason: it would come back.
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Database { source, .. } => is_damage(source),
            Self::Row { source, .. } => !matches!(source, RowError::UnknownVersion { .. }),
            Self::UnknownRow { .. } | Self::Backwards { .. } => false,
        }
    }

    pub(super) fn while_(doing: &'static str) -> impl Fn(rocksdb::Error) -> Self {
        move |source| Self::Database { doing, source }
    }

    /// For the row with this key in the store.
    pub(super) fn in_row(stored_key: &[u8]) -> impl Fn(RowError) -> Self {
        let (partition, key) = match stored_key {
            [high, low, key @ ..] => (u16::from_be_bytes([*high, *low]), key),
            short => (u16::MAX, short),
        };
        let key = key.escape_ascii().to_string();
        move |source| Self::Row { partition, key: key.clone(), source }
    }
}

impl OpenError {
    pub(super) fn not_writable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::NotWritable { path, source }
    }

    pub(super) fn io(dir: &Path) -> impl FnOnce(io::Error) -> Self {
        let dir = dir.to_owned();
        move |source| Self::Io { dir, source }
    }

    /// The database gives its reasons as text only.
    pub(super) fn of_database(database: &Path, source: rocksdb::Error) -> Self {
        let dir = database.parent().unwrap_or(database).to_owned();
        if is_damage(&source) {
            return Self::Damaged { dir, reason: source.into_string() };
        }
        let reason = source.into_string();
        let says = |text: &str| reason.contains(text);
        if says("No space left")
            || says("Permission denied")
            || says("Read-only file system")
            || says("quota exceeded")
        {
            return Self::NotWritable { path: database.to_owned(), source: io::Error::other(reason) };
        }
        Self::Io { dir, source: io::Error::other(reason) }
    }
}

/// A file that the database misses is damage too, though it calls it an IO error.
fn is_damage(error: &rocksdb::Error) -> bool {
    match error.kind() {
        rocksdb::ErrorKind::Corruption => true,
        rocksdb::ErrorKind::IOError => error.as_ref().contains("No such file or directory"),
        _ => false,
    }
}

fn shown(position: Option<Position>) -> String {
    position.map_or_else(|| "no position".to_owned(), |at| format!("changelog offset {}", at.changelog_next))
}
