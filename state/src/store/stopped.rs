//! The store of an instance that does not run, looked at where it lies: no file of it is made, changed or removed.

use super::folder::Folder;
use super::{OpenError, Snapshot, StoreIdentity, StoreOptions};
use rocksdb::{DB, DEFAULT_COLUMN_FAMILY_NAME};
use std::path::Path;

/// A store that is only read. No instance can open it meanwhile; others may read it too.
pub struct StoppedStore {
    // The order of their drop, as in `Store`.
    db: DB,
    folder: Folder,
}

impl StoppedStore {
    /// Opens the store in `dir`.
    ///
    /// Refuses what `Store::open` refuses, and `OpenError::Absent` where there is none.
    pub fn open(dir: &Path, identity: &StoreIdentity, options: &StoreOptions) -> Result<Self, OpenError> {
        let folder = Folder::share(dir)?;
        folder.check_undamaged()?;
        folder.check_owner(identity)?;
        let (db_options, data_options) = options.to_rocksdb();
        let db = DB::open_cf_with_opts_for_read_only(
            &db_options,
            folder.database(),
            [(DEFAULT_COLUMN_FAMILY_NAME, data_options)],
            false,
        )
        .map_err(|source| OpenError::of_database(&folder.database(), source))?;
        Ok(Self { db, folder })
    }

    /// All that is stored.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::of(&self.db)
    }
}

impl std::fmt::Debug for StoppedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoppedStore").field("database", &self.folder.database()).finish_non_exhaustive()
    }
}
