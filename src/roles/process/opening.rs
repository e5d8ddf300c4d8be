//! Which state directory an instance has, and the store in it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tickgate_state::{OpenError, Store, StoreIdentity, StoreOptions};

use super::{Failure, Shutdown};
use crate::config::Config;

/// How long a state directory may be in use by a process that is on its way out.
const LOCKED_FOR: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// Stands in `process.state_dir` for the first number whose directory no instance has: instances that are started
/// alike, on one disk, have one each, and find a store of before when they are started anew.
const SLOT: &str = "{slot}";
/// How many instances may share such a setting.
const SLOTS_MAX: usize = 64;

/// Opens the store, and says where it is.
pub(super) fn open(config: &Config, shutdown: &Shutdown) -> Result<(Store, PathBuf), Failure> {
    let identity = StoreIdentity {
        group: config.process.group.clone(),
        changelog: config.changelog(),
        cluster: String::new(),
    };
    let give_up = Instant::now() + LOCKED_FOR;
    let dirs = dirs(&config.process.state_dir);
    loop {
        let mut locked = None;
        for dir in &dirs {
            match open_or_rebuild(dir, &identity)? {
                Ok(store) => return Ok((store, dir.clone())),
                Err(error) => locked = Some(error),
            }
        }
        // A process that was killed holds its lock until the system has cleared it away.
        if Instant::now() >= give_up || shutdown.wait(LOCK_PAUSE) {
            return Err(Failure::settings(locked.unwrap_or(OpenError::Locked { dir: PathBuf::new() })));
        }
    }
}

/// In the order in which they are tried.
fn dirs(setting: &Path) -> Vec<PathBuf> {
    let text = setting.to_string_lossy();
    if !text.contains(SLOT) {
        return vec![setting.to_owned()];
    }
    (0..SLOTS_MAX).map(|slot| PathBuf::from(text.replace(SLOT, &slot.to_string()))).collect()
}

/// A damaged store is set aside and rebuilt from the changelog; what another owner may need is left alone. The inner
/// error says that somebody has it.
fn open_or_rebuild(dir: &Path, identity: &StoreIdentity) -> Result<Result<Store, OpenError>, Failure> {
    let open = || Store::open(dir, identity, &StoreOptions::default());
    let opened = match open() {
        Err(OpenError::Damaged { reason, .. }) => {
            let aside = Store::set_aside(dir).map_err(Failure::settings)?;
            tracing::error!(reason, aside = %aside.display(), "the store is damaged; rebuilding it from the changelog");
            open()
        }
        opened => opened,
    };
    match opened {
        Err(error) if !matches!(error, OpenError::Locked { .. }) => Err(Failure::settings(error)),
        opened => Ok(opened),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_that_are_started_alike_have_a_directory_each_and_find_it_again() {
        let disk = tempfile::tempdir().unwrap();
        let setting = disk.path().join("{slot}/state");
        let given = [("TICKGATE_PROCESS__STATE_DIR".to_owned(), setting.to_str().unwrap().to_owned())];
        let config = Config::load(None, given).unwrap();
        let open = || open(&config, &Shutdown::new()).unwrap();
        let (first, second, third) = (open(), open(), open());
        let slot = |number: &str| disk.path().join(number).join("state");
        assert_eq!([&first.1, &second.1, &third.1], [&slot("0"), &slot("1"), &slot("2")]);
        drop(second);
        assert_eq!(open().1, slot("1"));
    }

    #[test]
    fn a_directory_that_somebody_has_is_waited_for_and_not_shared() {
        let disk = tempfile::tempdir().unwrap();
        let given = [("TICKGATE_PROCESS__STATE_DIR".to_owned(), disk.path().to_str().unwrap().to_owned())];
        let config = Config::load(None, given).unwrap();
        let shutdown = Shutdown::new();
        let _held = open(&config, &shutdown).unwrap();
        shutdown.request();
        let Err(refused) = open(&config, &shutdown) else { panic!("it is locked, and was opened") };
        assert!(refused.to_string().contains(disk.path().to_str().unwrap()), "{refused}");
    }
}
