//! Which folders are opened, which are refused, and what setting aside leaves.

use crate::{at, identity, open};
use std::fs;
use std::path::Path;
use tickgate_state::{OpenError, Store, StoreIdentity, StoreOptions};

fn try_open(dir: &Path, identity: &StoreIdentity) -> Result<Store, OpenError> {
    Store::open(dir, identity, &StoreOptions::default())
}

fn filled(dir: &Path) {
    let store = open(dir);
    let writer = store.writer(0).expect("free");
    store.restore_slice(&writer, vec![], at(5), 0).expect("restored");
    store.flush().expect("flushed");
}

#[test]
fn a_store_in_use_is_locked() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    assert!(matches!(try_open(dir.path(), &identity()), Err(OpenError::Locked { .. })));
    assert!(matches!(Store::set_aside(dir.path()), Err(OpenError::Locked { .. })));
    drop(store);
    assert!(try_open(dir.path(), &identity()).is_ok());
}

#[test]
fn another_s_store_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    filled(dir.path());
    let others = [
        StoreIdentity { group: "other".to_owned(), ..identity() },
        StoreIdentity { changelog: "other".to_owned(), ..identity() },
    ];
    for other in others {
        let Err(error) = try_open(dir.path(), &other) else { panic!("opened for {other}") };
        let OpenError::OtherIdentity { found, expected, .. } = &error else { panic!("{error}") };
        assert_eq!((&**found, &**expected), (&identity(), &other));
        assert!(error.to_string().contains("tickgate-last_seen-changelog"), "{error}");
    }
    // The cluster is compared once it is known, and is remembered from then on.
    let first = StoreIdentity { cluster: "first".to_owned(), ..identity() };
    let second = StoreIdentity { cluster: "second".to_owned(), ..identity() };
    drop(try_open(dir.path(), &first).expect("not known until now"));
    assert!(matches!(try_open(dir.path(), &second), Err(OpenError::OtherIdentity { .. })));
    assert_eq!(open(dir.path()).position(0).expect("read"), Some(at(5)), "a refusal changes nothing");
}

#[test]
fn a_newer_version_s_store_is_refused_even_if_the_database_is_unreadable() {
    let dir = tempfile::tempdir().expect("a folder");
    filled(dir.path());
    fs::write(dir.path().join("identity"), "tickgate-store 7\nwhatever").expect("written");
    fs::write(dir.path().join("db/CURRENT"), "garbage").expect("written");
    let error = try_open(dir.path(), &identity());
    assert!(matches!(error, Err(OpenError::NewerVersion { found: 7, known: 1, .. })));
}

#[test]
fn a_folder_that_cannot_be_written_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("written");
    // `/proc` refuses everyone, where rights do not bind the superuser.
    for path in [file.join("state").as_path(), file.as_path(), Path::new("/proc/tickgate-state")] {
        let Err(error) = try_open(path, &identity()) else { panic!("opened {}", path.display()) };
        let OpenError::NotWritable { path: named, .. } = &error else { panic!("{error:?}") };
        assert!(named.starts_with(path), "{error}");
    }
}

#[test]
fn a_marked_store_is_refused_until_it_is_set_aside() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("http"), "127.0.0.1:1").expect("written");
    for round in 0..2 {
        filled(dir.path());
        open(dir.path()).mark_damaged("a block's checksum");
        let Err(error) = try_open(dir.path(), &identity()) else { panic!("opened a damaged store") };
        assert!(
            matches!(&error, OpenError::Damaged { reason, .. } if reason == "a block's checksum"),
            "{error}"
        );

        let aside = Store::set_aside(dir.path()).expect("set aside");
        assert!(aside.join("CURRENT").exists() && aside.join("DAMAGED").exists());
        // A crash on the way is mended by a second call, which must not lose what was set aside.
        assert_eq!(Store::set_aside(dir.path()).expect("again"), aside);
        assert!(aside.join("CURRENT").exists());
        assert_eq!(open(dir.path()).position(0).expect("read"), None, "round {round}: a fresh store");
    }
    assert!(dir.path().join("http").exists(), "other files of the folder stay");
}

#[test]
fn a_mark_without_words_and_a_lost_identity_are_damage() {
    let dir = tempfile::tempdir().expect("a folder");
    filled(dir.path());
    fs::write(dir.path().join("DAMAGED"), "").expect("written");
    assert!(matches!(try_open(dir.path(), &identity()), Err(OpenError::Damaged { .. })));
    fs::remove_file(dir.path().join("DAMAGED")).expect("removed");
    assert!(try_open(dir.path(), &identity()).is_ok());
    fs::remove_file(dir.path().join("identity")).expect("removed");
    assert!(matches!(try_open(dir.path(), &identity()), Err(OpenError::Damaged { .. })));
    fs::write(dir.path().join("identity"), "nonsense").expect("written");
    assert!(matches!(try_open(dir.path(), &identity()), Err(OpenError::Damaged { .. })));
}
