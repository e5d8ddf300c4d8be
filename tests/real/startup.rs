//! What may be wrong before the first record: settings, brokers, topics, the state directory. What people must
//! mend ends the process with a clear error; what can heal is waited for.

use std::{
    fs,
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use nix::{sys::signal, unistd::Pid};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use tickgate_stack::Stack;

use crate::{
    cluster::{Run, Settings},
    feed::{Producer, now_ms, quote},
    gate::{Gate, PATIENCE, wait_for},
    offsets::wait_caught_up,
    proof::Proof,
};

/// Runs `command` to its end, which must come within `PATIENCE`.
fn ends(mut command: Command) -> Run {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    let ending = thread::spawn(move || child.wait_with_output().unwrap());
    let deadline = std::time::Instant::now() + PATIENCE;
    while !ending.is_finished() {
        if std::time::Instant::now() > deadline {
            signal::kill(pid, signal::Signal::SIGKILL).unwrap();
            let output = ending.join().unwrap();
            panic!("it did not end:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = ending.join().unwrap();
    assert_eq!(output.status.signal(), None);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// The last words of a process that could not start, which must name all of `expected`.
fn refused(settings: &Settings, expected: &[&str]) {
    let run = ends(settings.command(&["process"])).ended(2);
    let words = run.err.split_once("tickgate: ").map_or("", |(_, words)| words);
    for part in expected {
        assert!(words.contains(part), "expected `{part}` in `{}`", run.err);
    }
    assert!(!run.err.contains("panicked"), "{}", run.err);
}

#[test]
fn settings_that_are_wrong_are_named_with_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let settings = Settings::of("startup-settings").with("PROCESS__STATE_DIR", state.to_str().unwrap());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "PROCESS__COMMIT_INTERVALL",
            "1s",
            &["unknown setting", "did you mean `TICKGATE_PROCESS__COMMIT_INTERVAL`?"],
        ),
        (
            "PROCESS__COMMIT_INTERVAL",
            "soon",
            &["`process.commit_interval`", "found `soon`", "expected a duration"],
        ),
        ("PROCESS__WORKERS", "0", &["`process.workers`", "found `0`", "expected a number from 1 to 64"]),
        ("PROCESS__GROUP", "a group", &["`process.group`", "found `a group`", "expected"]),
        ("PROCESS__SESSION_TIMEOUT", "1s", &["`process.session_timeout`", "found `1s`", "from 6s"]),
        ("PROCESS__HTTP", "9464", &["`process.http`", "found `9464`", "an IP address and a port"]),
        ("TOPICS__BAD_DATA", "startup-settings.staging", &["`topics.bad_data`", "startup-settings.staging"]),
        ("KAFKA__BROKERS", "localhost", &["`kafka.brokers`", "found `localhost`", "expected addresses"]),
        ("KAFKA__PROPERTIES__GROUP_ID", "x", &["`group.id`", "tickgate doesn't set itself"]),
        ("KAFKA__PROPERTIES__SASL_MECHANISMUS", "PLAIN", &["sasl.mechanismus"]),
        ("JOURNAL__KIND", "paper", &["`journal.kind`", "found `paper`", "expected"]),
        ("FRESHNESS__ERROR_AFTER", "-4h", &["`freshness.error_after`", "found `-4h", "expected a duration"]),
        ("PROCESS__HTTP", &address, &[&address, "port 0 takes a free one"]),
    ];
    for (name, value, expected) in cases {
        refused(&settings.clone().with(name, value), expected);
    }
    let missing = folder.path().join("none.toml");
    let run = ends(settings.command(&["process", "--config", missing.to_str().unwrap()])).ended(2);
    assert!(run.err.contains("none.toml") && run.err.contains("can't be read"), "{}", run.err);
    // Several faults are told at once.
    let both = settings.with("PROCESS__WORKERS", "many").with("TOPICS__REPLICATION", "0");
    refused(&both, &["2 settings are wrong", "`process.workers`", "`topics.replication`"]);
}

#[test]
fn an_absent_broker_is_waited_for() {
    let stack = Stack::builder().brokers(1).start().unwrap();
    let settings = Settings::of("startup-broker")
        .with("KAFKA__BROKERS", &stack.bootstrap())
        .with("TOPICS__PARTITIONS", "1")
        .with("TOPICS__REPLICATION", "1");
    settings.run(&["topics", "apply"]).ended(0);
    stack.stop().unwrap();

    let mut gate = Gate::start(&settings);
    let waits = wait_for("reason for waiting", PATIENCE, || {
        gate.ask("/readyz").filter(|(_, body)| body.contains(&stack.bootstrap()))
    });
    assert_eq!(waits.0, 503, "{}", waits.1);
    assert_eq!(gate.ask("/livez").unwrap().0, 200);
    // Told to stop while it waits, it stops in order.
    assert_eq!(gate.terminate(), Some(0));

    gate.start_again(&[]);
    wait_for("process that waits", PATIENCE, || {
        (!gate.logged("waiting for a broker").is_empty()).then_some(())
    });
    stack.broker(1).start().unwrap();
    gate.wait_ready();
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", stack.bootstrap()).create().unwrap();
    let record = quote("AAPL", now_ms());
    let staging = settings.topic("staging");
    producer
        .send(BaseRecord::to(&staging).key(&record.key.unwrap()).payload(&record.value.unwrap()))
        .unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
    let accepted = || (gate.counter("tickgate_records_total{result=\"accepted\"}") >= 1).then_some(());
    wait_for("accepted record", PATIENCE, accepted);
    Proof::of(&settings);
}

#[test]
fn missing_topics_are_waited_for() {
    let settings = Settings::of("startup-topics").with("TOPICS__PARTITIONS", "2");
    let gate = Gate::start(&settings);
    let waits = wait_for("reason for waiting", PATIENCE, || {
        gate.ask("/readyz").filter(|(_, body)| body.contains("`tickgate topics apply`"))
    });
    assert_eq!(waits.0, 503);
    assert!(waits.1.contains("startup-topics."), "{}", waits.1);
    assert_eq!(gate.ask("/livez").unwrap().0, 200);
    settings.run(&["topics", "apply"]).ended(0);
    gate.wait_ready();
    let producer = Producer::new(&settings);
    producer.send(&quote("AAPL", now_ms()));
    producer.flush();
    wait_caught_up(&settings, PATIENCE);
    Proof::of(&settings);
}

#[test]
fn a_state_directory_that_cannot_be_had_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::of("startup-state").with("PROCESS__HTTP", "127.0.0.1:0");
    let at = |dir: &str| settings.clone().with("PROCESS__STATE_DIR", dir);
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for dir in [file.to_str().unwrap(), "/proc/tickgate"] {
        refused(&at(dir), &[dir, "make the state directory writable"]);
    }

    settings.run(&["topics", "apply"]).ended(0);
    let mut gate = Gate::start(&settings);
    gate.wait_ready();
    let state = gate.state_dir();
    let dir = state.to_str().unwrap().to_owned();
    refused(&at(&dir), &[&dir, "in use by another process"]);
    assert!(gate.get("/readyz").is_some(), "its owner goes on");
    assert_eq!(gate.terminate(), Some(0));

    let other = at(&dir).with("PROCESS__GROUP", "startup-other");
    refused(&other, &[&dir, "belongs to group `startup-state`", "expected group `startup-other`"]);
    let identity = state.join("identity");
    let own = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, "tickgate-store 999\nwho knows\n").unwrap();
    refused(&at(&dir), &[&dir, "has format 999", "run the newer version"]);

    // None of it has harmed the store.
    fs::write(&identity, own).unwrap();
    gate.start_again(&[]);
    gate.wait_ready();
    assert!(gate.logged("damaged").is_empty());
}

#[test]
fn a_full_disk_stops_the_gate_and_nothing_is_lost() {
    let settings = Settings::of("startup-full").with("TOPICS__PARTITIONS", "2");
    settings.run(&["topics", "apply"]).ended(0);
    let mut gate = Gate::stopped(&settings);
    let within = settings
        .clone()
        .with("PROCESS__STATE_DIR", gate.state_dir().to_str().unwrap())
        .with("PROCESS__HTTP", "127.0.0.1:0")
        .command(&[]);
    // The limit on the size of files plays the disk: it needs no rights and no mount. The signal would kill
    // before the error is seen; ignored, the write fails. The unit is 1 KiB.
    let script = "trap '' XFSZ; ulimit -f 96; exec \"$0\" process";
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).arg(within.get_program());
    for (name, value) in within.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let limited = thread::spawn(move || ends(command));
    let producer = Producer::new(&settings);
    for number in 0_u64..30_000 {
        // Names that do not compress away.
        producer.send(&quote(&format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)), now_ms()));
    }
    while !limited.is_finished() {
        producer.send(&quote("AAPL", now_ms()));
        producer.flush();
        thread::sleep(Duration::from_millis(100));
    }
    let run = limited.join().unwrap().ended(3);
    let words = run.err.split_once("tickgate: ").map_or("", |(_, words)| words);
    assert!(words.contains("the store in") && words.contains("nothing is lost"), "{}", run.err);
    assert!(!run.err.contains("panicked"), "{}", run.err);

    gate.start_again(&[]);
    wait_caught_up(&settings, PATIENCE);
    assert!(gate.logged("damaged").is_empty(), "a full disk is no damage");
    assert_eq!(gate.terminate(), Some(0));
    Proof::of(&settings);
}
