//! What the state directory tells an instance of its last start: its name, and the transactional ids that may have
//! a transaction open. Whoever finds them there holds the directory's lock, so the process that had them is gone, and
//! they are ended at once, while the group join runs: nobody has to find out first who is dead.
//!
//! It saves time and decides nothing: an id that is not written here, or is lost with the directory, is fenced by
//! whoever takes its partitions over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Shared, naming};
use crate::journal::kafka::{client, owners};
use crate::telemetry::health::write_whole;
use crate::telemetry::rarely::{REMINDER_EVERY, Rarely};

/// The file with the name of an instance that was given none.
const NAME: &str = "instance";
/// The file with the ids, one a line.
const IDS: &str = "transactional_ids";
/// How many ids are fenced at a time.
const AT_ONCE: usize = 8;
/// Pause before another try.
const PAUSE: Duration = Duration::from_millis(100);

/// The ids in an instance's state directory.
pub(super) struct Remembered {
    path: PathBuf,
    ids: Mutex<Ids>,
    /// An id was fenced.
    fenced: Condvar,
}

#[derive(Debug, Default)]
struct Ids {
    /// Each worker's present one.
    own: BTreeMap<u32, String>,
    /// The last start's, not fenced yet.
    left: BTreeSet<String>,
    /// The last start's, fenced by this one.
    fenced: BTreeSet<String>,
}

/// The instance's name where settings give none: the one that it had before, or one of chance.
pub(super) fn instance_name(state_dir: &Path) -> String {
    let path = state_dir.join(NAME);
    let known = fs::read_to_string(&path).ok().map(|text| text.trim().to_owned());
    if let Some(name) = known.filter(|name| naming::is_chance_name(name)) {
        return name;
    }
    let name = naming::chance_name();
    if let Err(error) = write_whole(&path, &format!("{name}\n")) {
        tracing::warn!(%error, path = %path.display(), "the next start will have another name");
    }
    name
}

impl Remembered {
    /// Reads what the last start has left. The directory must be locked.
    pub(super) fn read(state_dir: &Path) -> Self {
        let path = state_dir.join(IDS);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, path = %path.display(), "the last start's transactional ids are not known");
                }
                String::new()
            }
        };
        let left = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        Self { path, ids: Mutex::new(Ids { left, ..Ids::default() }), fenced: Condvar::new() }
    }

    /// Writes a worker's id down, in the place of the one that it had. To be called before its first transaction.
    pub(super) fn note(&self, worker: u32, id: &str) {
        let mut ids = self.ids();
        ids.own.insert(worker, id.to_owned());
        self.write(&ids);
    }

    /// All transactions are over: the next start has nothing to end.
    pub(super) fn forget_own(&self) {
        let mut ids = self.ids();
        ids.own.clear();
        self.write(&ids);
    }

    /// Whether nobody alive has the id, as far as is known here.
    pub(super) fn is_dead(&self, id: &str) -> bool {
        let ids = self.ids();
        ids.left.contains(id) || ids.fenced.contains(id)
    }

    /// Waits up to `wait` until an id that is dead is fenced; whether it is.
    pub(super) fn wait_fenced(&self, id: &str, wait: Duration) -> bool {
        let waited = self.fenced.wait_timeout_while(self.ids(), wait, |ids| ids.left.contains(id));
        waited.unwrap_or_else(PoisonError::into_inner).0.fenced.contains(id)
    }

    /// Begins to fence what the last start has left. A stop does not wait for it.
    pub(super) fn start_fencing(shared: &Arc<Shared>) -> io::Result<()> {
        let left: Vec<String> = shared.remembered.ids().left.iter().cloned().collect();
        let queue = Arc::new(Mutex::new(left));
        let threads = queue.lock().unwrap_or_else(PoisonError::into_inner).len().min(AT_ONCE);
        for _ in 0..threads {
            let (shared, queue) = (Arc::clone(shared), Arc::clone(&queue));
            let next = move || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            thread::Builder::new().name("fence".to_owned()).spawn(move || {
                while let Some(id) = next() {
                    shared.remembered.fence(&shared, id);
                }
            })?;
        }
        Ok(())
    }

    fn fence(&self, shared: &Shared, id: String) {
        let lines = Rarely::every(REMINDER_EVERY);
        let config = client::base_config(&shared.config.kafka, &format!("fence-{}", shared.instance));
        let began = Instant::now();
        while let Err(error) = owners::fence(&config, &id) {
            if let Some(held_back) = lines.admit(Instant::now()) {
                tracing::warn!(held_back, id, %error, "the last start's transaction cannot be ended yet");
            }
            if shared.shutdown.wait(PAUSE) {
                return;
            }
        }
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(id, ms, "fenced the transactional id of the last start");
        shared.metrics.fenced.inc();
        let mut ids = self.ids();
        ids.left.remove(&id);
        ids.fenced.insert(id);
        self.write(&ids);
        self.fenced.notify_all();
    }

    fn write(&self, ids: &Ids) {
        let lines: String = ids.own.values().chain(&ids.left).flat_map(|id| [id, "\n"]).collect();
        if let Err(error) = write_whole(&self.path, &lines) {
            tracing::warn!(%error, path = %self.path.display(), "a restart after a crash may have to wait");
        }
    }

    fn ids(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dir: &Path) -> Vec<String> {
        fs::read_to_string(dir.join(IDS)).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_next_start_knows_what_each_worker_had_last() {
        let dir = tempfile::tempdir().unwrap();
        let first = Remembered::read(dir.path());
        assert!(!first.is_dead("a.1"));
        first.note(0, "a.1");
        first.note(1, "b.1");
        first.note(0, "a.2");
        let second = Remembered::read(dir.path());
        assert_eq!(written(dir.path()), ["a.2", "b.1"]);
        assert!(second.is_dead("a.2") && second.is_dead("b.1") && !second.is_dead("a.1"));
        assert!(!second.wait_fenced("b.1", Duration::ZERO), "nobody has fenced it");
        // What could not be fenced yet is still known to the one after.
        second.note(0, "a.3");
        assert_eq!(written(dir.path()), ["a.3", "a.2", "b.1"]);
        second.forget_own();
        assert!(Remembered::read(dir.path()).is_dead("a.2") && !Remembered::read(dir.path()).is_dead("a.3"));
    }

    #[test]
    fn a_name_of_chance_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let name = instance_name(dir.path());
        assert_eq!(instance_name(dir.path()), name);
        fs::write(dir.path().join(NAME), "not one of ours\n").unwrap();
        let another = instance_name(dir.path());
        assert!(naming::is_chance_name(&another) && another != name);
    }
}
