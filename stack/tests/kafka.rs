//! Real brokers: one start, its death and return, a second stack beside it, and nothing left behind.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use std::io::{BufRead, BufReader};

use tickgate_stack::{Stack, StackError, process::Process};

#[test]
fn a_broker_is_killed_and_returns_while_another_stack_runs() {
    let home = tempfile::tempdir().unwrap();
    let stack = Stack::builder().dir(home.path()).start().unwrap();
    let broker = stack.broker(1);
    let first = Process::find(broker.pid().unwrap()).unwrap();
    let address = broker.address();
    assert_eq!(stack.bootstrap(), address);

    // The folder is taken while it runs.
    let refused = Stack::builder().dir(home.path()).start().unwrap_err();
    assert!(matches!(refused, StackError::Busy { pid, .. } if pid == first.pid()), "{refused}");

    broker.kill().unwrap();
    assert!(!first.alive());
    assert_eq!(broker.pid(), None);
    assert!(matches!(broker.kill().unwrap_err(), StackError::Down(1)));

    broker.start().unwrap();
    let other = Stack::builder().start().unwrap();
    broker.wait_ready(1).unwrap();
    assert_eq!(broker.address(), address);
    assert_ne!(other.bootstrap(), stack.bootstrap());

    let processes = [&stack, &other].map(|stack| Process::find(stack.broker(1).pid().unwrap()).unwrap());
    let temporary = other.dir().to_owned();
    drop((stack, other));
    assert!(processes.iter().all(|process| !process.alive()), "{processes:?}");
    assert!(!temporary.exists());
    assert!(home.path().join("broker-1/log").exists());
}

#[test]
fn a_dead_owner_leaves_nothing_behind() {
    // The owner is `stack up`, killed between the brokers' start and its end.
    let home = tempfile::tempdir().unwrap();
    let mut owner = Command::new(env!("CARGO_BIN_EXE_stack"))
        .args(["up", "--brokers", "1", "--dir"])
        .arg(home.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let process = wait_for_process(&home.path().join("broker-1/pid"));
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(process.wait_gone(Duration::from_secs(10)), "{process:?} outlived its owner");
}

#[test]
fn a_stack_is_left_running_and_stopped_by_hand() {
    let home = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stack"))
            .args(args)
            .arg("--dir")
            .arg(home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // A line, not the end: brokers that held the pipe open would never end it.
        let line = BufReader::new(child.stdout.take().unwrap()).lines().next().transpose().unwrap();
        (child.wait().unwrap().success(), line.unwrap_or_default())
    };
    let (started, bootstrap) = run(&["up", "--brokers", "1"]);
    assert!(started);
    let process = wait_for_process(&home.path().join("broker-1/pid"));
    let (up, line) = run(&["status"]);
    assert!(up);
    assert_eq!(line, format!("broker 1  {bootstrap}  process {}", process.pid()));
    assert!(run(&["down"]).0);
    assert!(!process.alive());
    assert!(!run(&["status"]).0);
    assert!(run(&["down", "--wipe"]).0);
    assert!(!home.path().exists());
}

#[test]
fn a_start_that_fails_shows_the_log_and_leaves_nothing_running() {
    let home = tempfile::tempdir().unwrap();
    let failed = Stack::builder().dir(home.path()).property("num.io.threads", "none").start().unwrap_err();
    let StackError::Broker { id: 1, tail, log, .. } = failed else { panic!("{failed}") };
    assert!(tail.contains("num.io.threads"), "{tail}");
    assert!(log.exists());
    assert_eq!(Process::load(&home.path().join("broker-1/pid")), None);
    let refused = Stack::builder().brokers(2).start().unwrap_err();
    assert!(matches!(refused, StackError::Brokers(2)), "{refused}");
}

fn wait_for_process(file: &Path) -> Process {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(process) = Process::load(file) {
            return process;
        }
        assert!(Instant::now() < deadline, "no process in {}", file.display());
        thread::sleep(Duration::from_millis(20));
    }
}
