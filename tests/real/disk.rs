//! The disk of a gate that has work to do: files that rot, are cut, lost or put back from a copy; a disk that is
//! full or takes no writes any more. All of it is noticed or harmless, and the changelog has what the store lost.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    cluster::Settings,
    faults::{PARTITIONS, prepare, prove, wait_rounds, while_flowing},
    feed::Feed,
    gate::{Gate, PATIENCE, wait_for},
    offsets::wait_caught_up,
    stores::assert_as_from_nothing,
};

/// Rounds that are not the first ones any more.
const SOME_ROUNDS: u64 = 5;
const REBUILDING: &str = "the store is damaged; rebuilding it from the changelog";

/// An instance that has its partitions back at once.
fn phoenix(test: &str) -> Settings {
    prepare(test).with("PROCESS__INSTANCE_ID", "phoenix")
}

/// Files of the database whose names contain `part`; there is at least one.
fn files(state: &Path, part: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(state.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let named = entries.filter(|path| path.file_name().unwrap().to_str().unwrap().contains(part));
    let mut named: Vec<PathBuf> = named.collect();
    assert!(!named.is_empty(), "no file is named `{part}`");
    named.sort();
    named
}

/// In place, so that a process that has the file open sees it.
pub fn flip_tables(state: &Path) {
    for table in files(state, ".sst") {
        // One that was merged into another is gone.
        let Ok(table) = File::options().read(true).write(true).open(table) else { continue };
        // Rows come first in a table, and those of a symbol after the position.
        let place = table.metadata().unwrap().len() / 3;
        let mut byte = [0];
        // One that is only just made may have nothing in it yet.
        if table.read_exact_at(&mut byte, place).is_err() {
            continue;
        }
        table.write_all_at(&[byte[0] ^ 0x20], place).unwrap();
    }
}

fn cut_to_half(state: &Path, part: &str) {
    for path in files(state, part) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// What a store must do about a harm.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Must {
    /// Say that it is damaged, and be rebuilt.
    Rebuild,
    /// Read what it misses from the changelog.
    CatchUp,
    /// One of the two.
    Either,
}

/// Starts the gate until it works again. A store that is found damaged while it is read ends it once.
fn comes_back(gate: &mut Gate, must: Must, what: &str) {
    gate.start_again(&[]);
    let ended = wait_for("instance that works or ends", PATIENCE, || {
        if gate.is_running() { gate.get("/readyz").map(|_| false) } else { Some(true) }
    });
    if ended {
        assert_eq!(gate.wait_end(), Some(3), "{what}");
        assert!(gate.log().contains("nothing is lost"), "{what}");
        gate.start_again(&[]);
        gate.wait_ready();
    }
    let rebuilt = !gate.logged(REBUILDING).is_empty();
    match must {
        Must::Rebuild => assert!(rebuilt, "{what}: the store was trusted"),
        Must::CatchUp => assert!(!rebuilt, "{what}: called damage"),
        Must::Either => {}
    }
    if rebuilt {
        assert!(gate.state_dir().join("db.set-aside").is_dir(), "{what}");
    }
    // By the worker, or by the replica before the group has given the partitions to anybody.
    let restored: u64 = gate.restores().iter().map(|restore| restore.rows).sum();
    let rows = restored + gate.counter("tickgate_replica_rows_total");
    assert!(rows > 0, "{what}: nothing was read from the changelog");
}

/// What it is, what must come of it, and how it is done to a state directory.
type Harm<'a> = (&'a str, Must, &'a dyn Fn(&Path));

/// Harms the store between a stop or a crash and the next start, while records flow.
fn harmed(test: &str, harms: &[Harm<'_>]) {
    let settings = phoenix(test);
    let mut feed = Feed::new(11, PARTITIONS);
    let mut gate = Gate::start(&settings);
    // From here on there are tables to harm, after a crash too.
    while_flowing(&settings, &mut feed, || wait_rounds(&gate, SOME_ROUNDS));
    assert_eq!(gate.terminate(), Some(0));
    let backup = tempfile::tempdir().unwrap();
    copy(&gate.state_dir(), backup.path());
    gate.start_again(&[]);
    let put_back = |state: &Path| {
        fs::remove_dir_all(state).unwrap();
        copy(backup.path(), state);
    };
    let last: Harm<'_> = ("an older copy", Must::CatchUp, &put_back);
    for (number, (what, must, harm)) in harms.iter().copied().chain([last]).enumerate() {
        while_flowing(&settings, &mut feed, || {
            wait_rounds(&gate, SOME_ROUNDS);
            if number % 2 == 0 {
                gate.kill();
            } else {
                assert_eq!(gate.terminate(), Some(0));
            }
            harm(&gate.state_dir());
            comes_back(&mut gate, must, what);
            wait_rounds(&gate, SOME_ROUNDS);
        });
        wait_caught_up(&settings, PATIENCE);
        assert_eq!(gate.terminate(), Some(0));
        assert_as_from_nothing(&settings, &gate, what);
        gate.start_again(&[]);
    }
    prove(&settings, &feed);
}

#[test]
#[ignore = "./check keeps six minutes of faults"]
fn rotten_and_cut_tables_are_set_aside_and_rebuilt() {
    harmed(
        "disk-tables",
        &[
            ("flipped bytes", Must::Rebuild, &flip_tables),
            ("cut tables", Must::Rebuild, &|state| cut_to_half(state, ".sst")),
            ("a lost table", Must::Rebuild, &|state| fs::remove_file(&files(state, ".sst")[0]).unwrap()),
        ],
    );
}

#[test]
#[ignore = "./check keeps six minutes of faults"]
fn broken_lists_of_tables_and_wiped_directories_are_rebuilt() {
    harmed(
        "disk-lists",
        &[
            ("a list cut to half", Must::Either, &|state| cut_to_half(state, "MANIFEST")),
            ("an empty CURRENT", Must::Rebuild, &|state| fs::write(state.join("db/CURRENT"), "").unwrap()),
            ("a wiped directory", Must::CatchUp, &|state| fs::remove_dir_all(state).unwrap()),
        ],
    );
}

#[test]
fn a_byte_that_rots_under_a_running_gate_ends_it_and_is_rebuilt() {
    // Each look-up goes to the store.
    let settings = phoenix("disk-running").with("PROCESS__HOT_SYMBOLS", "0");
    let mut feed = Feed::new(12, PARTITIONS);
    let mut gate = Gate::start(&settings);
    while_flowing(&settings, &mut feed, || wait_rounds(&gate, SOME_ROUNDS));
    prove(&settings, &feed);
    // The rows go into tables, and from there into no cache before they are asked for.
    assert_eq!(gate.terminate(), Some(0));
    gate.start_again(&[]);
    gate.wait_ready();
    flip_tables(&gate.state_dir());
    while_flowing(&settings, &mut feed, || {
        assert_eq!(gate.wait_end(), Some(3));
        assert!(gate.log().contains("nothing is lost"));
        assert!(gate.state_dir().join("DAMAGED").is_file(), "it is not marked");
        comes_back(&mut gate, Must::Rebuild, "a byte that rots");
        wait_rounds(&gate, SOME_ROUNDS);
    });
    prove(&settings, &feed);
    assert_eq!(gate.terminate(), Some(0));
    assert_as_from_nothing(&settings, &gate, "a byte that rots");
}

/// A file system in memory of which only a shell knows, and whoever goes by the shell's root.
pub struct Disk {
    shell: Child,
    said: BufReader<ChildStdout>,
    /// Where it is mounted.
    at: TempDir,
}

impl Disk {
    /// None, and a line that says so, where the system lets no one have a file system of their own.
    pub fn mount(test: &str) -> Option<Self> {
        let at = tempfile::Builder::new().prefix("tickgate-disk.").tempdir().unwrap();
        let mut command = Command::new("unshare");
        // The shell ends when nobody can tell it anything any more.
        command.args(["-Urm", "sh"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mounted = command.spawn().ok().and_then(|mut shell| {
            let said = BufReader::new(shell.stdout.take().unwrap());
            let mut disk = Self { shell, said, at };
            let mount = format!("mount -t tmpfs -o size=8m none {}", disk.at.path().display());
            disk.tell(&mount).then_some(disk)
        });
        if mounted.is_none() {
            // Past the harness, which shows nothing of a test that passes.
            let line = format!("NOT TESTED: {test}: `unshare -Urm` or a mount in it is not allowed here\n");
            io::stderr().write_all(line.as_bytes()).unwrap();
        }
        mounted
    }

    /// Whether the command did it.
    fn tell(&mut self, command: &str) -> bool {
        let mut line = String::new();
        let told =
            writeln!(self.shell.stdin.as_ref().unwrap(), "if {command}; then echo yes; else echo no; fi");
        told.is_ok() && self.said.read_line(&mut line).is_ok() && line == "yes\n"
    }

    /// The same place as others see it.
    pub fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.shell.id()));
        root.join(self.at.path().strip_prefix("/").unwrap())
    }

    /// Leaves no room.
    pub fn fill(&self) {
        let mut filler = File::create(self.path().join("filler")).unwrap();
        let error = loop {
            if let Err(error) = filler.write_all(&[7; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    pub fn empty(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[test]
fn a_full_disk_amid_rounds_costs_nothing() {
    let Some(disk) = Disk::mount("a full disk amid rounds") else { return };
    let settings = phoenix("disk-full");
    let mut feed = Feed::new(13, PARTITIONS);
    let mut gate = Gate::stopped_in(&settings, disk.path().join("state"));
    gate.start_again(&[]);
    while_flowing(&settings, &mut feed, || {
        wait_rounds(&gate, SOME_ROUNDS);
        disk.fill();
        assert_eq!(gate.wait_end(), Some(3));
        let log = gate.log();
        assert!(log.contains("No space left on device") && log.contains("nothing is lost"), "{log}");
        disk.empty();
        gate.start_again(&[]);
        wait_rounds(&gate, SOME_ROUNDS);
    });
    prove(&settings, &feed);
    assert!(gate.logged("damaged").is_empty(), "a full disk is no damage");
    assert_eq!(gate.terminate(), Some(0));
    assert_as_from_nothing(&settings, &gate, "a full disk");
}

#[test]
fn a_disk_that_turns_read_only_amid_rounds_costs_nothing() {
    let Some(mut disk) = Disk::mount("a disk that turns read-only") else { return };
    let settings = phoenix("disk-read-only");
    let mut feed = Feed::new(14, PARTITIONS);
    let mut gate = Gate::stopped_in(&settings, disk.path().join("state"));
    gate.start_again(&[]);
    let state = disk.at.path().join("state").display().to_string();
    while_flowing(&settings, &mut feed, || {
        wait_rounds(&gate, SOME_ROUNDS);
        // A mount with files open for writing cannot turn; one over it can, and takes all that is opened anew.
        assert!(disk.tell(&format!("mount --bind {state} {state}")));
        assert!(disk.tell(&format!("mount -o remount,bind,ro {state}")));
        assert_eq!(gate.wait_end(), Some(3));
        assert!(gate.log().contains("nothing is lost"));
        // Nor does it start, and it says what to mend.
        gate.start_again(&[]);
        assert_eq!(gate.wait_end(), Some(2));
        assert!(gate.log().contains("make the state directory writable"));
        assert!(disk.tell(&format!("umount {state}")));
        gate.start_again(&[]);
        wait_rounds(&gate, SOME_ROUNDS);
    });
    prove(&settings, &feed);
    assert!(gate.logged("damaged").is_empty(), "a disk that takes no writes is no damage");
    assert_eq!(gate.terminate(), Some(0));
    assert_as_from_nothing(&settings, &gate, "a read-only disk");
}
