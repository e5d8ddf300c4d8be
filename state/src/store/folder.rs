//! The state directory: its lock, whose it is, whether it is damaged, and where its database lies.
//!
//! The directory itself is never renamed: it may be a mount point, and other files of the instance lie in it.

use super::OpenError;
use super::identity::{FORMAT, StoreIdentity, Unreadable};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";
const IDENTITY: &str = "identity";
const DAMAGED: &str = "DAMAGED";
const DATABASE: &str = "db";
const SET_ASIDE: &str = "db.set-aside";

/// A state directory that no one else writes to, until this is dropped.
pub(super) struct Folder {
    dir: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the directory where there is none, and locks it.
    pub(super) fn lock(dir: &Path) -> Result<Self, OpenError> {
        fs::create_dir_all(dir).map_err(OpenError::not_writable(dir))?;
        let path = dir.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(OpenError::not_writable(&path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => Err(OpenError::Io { dir: dir.to_owned(), source }),
        }
    }

    /// Shares the lock of a directory that an instance has used before: whoever would write must wait. Makes nothing.
    pub(super) fn share(dir: &Path) -> Result<Self, OpenError> {
        let lock = match File::open(dir.join(LOCK)) {
            Ok(lock) => lock,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(OpenError::Absent { dir: dir.to_owned() });
            }
            Err(error) => return Err(OpenError::io(dir)(error)),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => Err(OpenError::Io { dir: dir.to_owned(), source }),
        }
    }

    pub(super) fn database(&self) -> PathBuf {
        self.dir.join(DATABASE)
    }

    pub(super) fn check_undamaged(&self) -> Result<(), OpenError> {
        match self.read(DAMAGED)? {
            None => Ok(()),
            Some(reason) => {
                let reason = String::from_utf8_lossy(&reason).trim().to_owned();
                let reason = if reason.is_empty() { "it was marked so".to_owned() } else { reason };
                Err(self.damaged(reason))
            }
        }
    }

    /// Checks that the directory is `identity`'s; one that is nobody's becomes so.
    pub(super) fn claim(&self, identity: &StoreIdentity) -> Result<(), OpenError> {
        let is_news = match self.owner(identity)? {
            None => true,
            Some(found) => found.cluster.is_empty() && !identity.cluster.is_empty(),
        };
        if is_news {
            self.write(IDENTITY, &identity.encode()).map_err(OpenError::not_writable(&self.dir))?;
        }
        Ok(())
    }

    /// Checks the same and writes nothing; one that is nobody's has no store.
    pub(super) fn check_owner(&self, identity: &StoreIdentity) -> Result<(), OpenError> {
        match self.owner(identity)? {
            Some(_) if self.database().exists() => Ok(()),
            _ => Err(OpenError::Absent { dir: self.dir.clone() }),
        }
    }

    /// Whose the directory is, if anybody's; an error unless that is `identity`.
    fn owner(&self, identity: &StoreIdentity) -> Result<Option<StoreIdentity>, OpenError> {
        let Some(text) = self.read(IDENTITY)? else {
            if self.database().exists() {
                return Err(
                    self.damaged(format!("it has a database, but no file `{IDENTITY}` that says whose"))
                );
            }
            return Ok(None);
        };
        let found = match StoreIdentity::decode_escaped(&String::from_utf8_lossy(&text)) {
            Ok(found) => found,
            Err(Unreadable::Newer(found)) => {
                return Err(OpenError::NewerVersion { dir: self.dir.clone(), found, known: FORMAT });
            }
            Err(Unreadable::Malformed) => {
                return Err(self.damaged(format!("its file `{IDENTITY}` cannot be read")));
            }
        };
        if !identity.owns(&found) {
            let (found, expected) = (Box::new(found), Box::new(identity.clone()));
            return Err(OpenError::OtherIdentity { dir: self.dir.clone(), found, expected });
        }
        Ok(Some(found))
    }

    pub(super) fn mark_damaged(&self, reason: &str) -> io::Result<()> {
        self.write(DAMAGED, reason)
    }

    /// Moves the database out of the way. The mark goes last, so that a crash on the way is only a call again.
    pub(super) fn set_aside(&self) -> Result<PathBuf, OpenError> {
        let aside = self.dir.join(SET_ASIDE);
        let moved = || {
            if self.database().exists() {
                ignore_absent(fs::remove_dir_all(&aside))?;
                fs::rename(self.database(), &aside)?;
            }
            fs::create_dir_all(&aside)?;
            for name in [IDENTITY, DAMAGED] {
                ignore_absent(fs::rename(self.dir.join(name), aside.join(name)))?;
            }
            File::open(&self.dir)?.sync_all()
        };
        moved().map_err(OpenError::not_writable(&self.dir))?;
        Ok(aside)
    }

    fn damaged(&self, reason: String) -> OpenError {
        OpenError::Damaged { dir: self.dir.clone(), reason }
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, OpenError> {
        match fs::read(self.dir.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OpenError::io(&self.dir)(error)),
        }
    }

    /// Writes a whole file or none of it, whatever happens.
    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let new = self.dir.join(format!("{name}.new"));
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, self.dir.join(name))?;
        File::open(&self.dir)?.sync_all()
    }
}

fn ignore_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
