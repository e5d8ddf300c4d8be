//! `airflow/dags` in a real Airflow: each run brings the feed through checks and table to its proof, alone and beside
//! an instance that stays; what was killed is tried again; what fails for good is told to people, and nothing after it
//! runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use tempfile::TempDir;
use tickgate::finnhub::simulator::{Settings as Feed, Simulator, synthetic_symbols};

use crate::{
    alerts::monitoring::Monitoring,
    cluster::Settings,
    gate::{Gate, PATIENCE, wait_for},
    ingest::read,
    proof::Proof,
    sink::tables,
};

const DAG: &str = "tickgate_batch";

/// An Airflow with a database of its own.
struct Airflow {
    programs: PathBuf,
    home: TempDir,
    settings: Settings,
}

impl Airflow {
    fn of(settings: &Settings) -> Self {
        let output = Command::new(checkout("dev/airflow")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let programs = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        let home = tempfile::Builder::new().prefix("tickgate-airflow.").tempdir().unwrap();
        let airflow = Self { programs, home, settings: settings.clone() };
        let migrated = airflow.command(&["db", "migrate"]).output().unwrap();
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        airflow
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("airflow"));
        self.settings.give(&mut command);
        command
            .args(arguments)
            .env("AIRFLOW_HOME", self.home.path())
            .env("AIRFLOW__CORE__DAGS_FOLDER", checkout("airflow/dags"))
            .env("AIRFLOW__CORE__LOAD_EXAMPLES", "false")
            .env("TICKGATE_BINARY", env!("CARGO_BIN_EXE_tickgate"));
        command
    }

    /// Runs the DAG to its end: whether it succeeded, and what it said. `more` are variables of this run.
    fn run(&self, more: &[(&str, &str)]) -> (bool, String) {
        let file = checkout("airflow/dags/tickgate_batch.py");
        let file = file.to_str().unwrap();
        let conf = r#"{"ingest_for":"6s"}"#;
        let mut command = self.command(&["dags", "test", DAG, "--dagfile-path", file, "--conf", conf]);
        let output = command.envs(more.iter().copied()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }
}

/// A role of the binary that runs for the Airflow of that home.
fn running(home: &Path, role: &str) -> Option<Pid> {
    let ours = format!("AIRFLOW_HOME={}", home.display());
    let has =
        |bytes: Vec<u8>, wanted: &str| bytes.split(|byte| *byte == 0).any(|part| part == wanted.as_bytes());
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let read = |name: &str| fs::read(entry.path().join(name)).ok();
        let command = read("cmdline")?;
        let is_binary = command.starts_with(env!("CARGO_BIN_EXE_tickgate").as_bytes());
        (is_binary && has(command, role) && has(read("environ")?, &ours)).then(|| Pid::from_raw(pid))
    })
}

fn checkout(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Which tasks began, in order.
fn began(said: &str) -> Vec<&str> {
    let runs = said.lines().filter_map(|line| line.split("starting task_id=").nth(1));
    runs.map(|rest| rest.split_whitespace().next().unwrap()).collect()
}

#[test]
#[ignore = "installs Airflow, which takes minutes the first time"]
fn a_run_ends_with_its_proof_and_a_failure_reaches_people() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let symbols = synthetic_symbols(5);
    let feed = Feed { symbols: symbols.clone(), rate: 200.0, ..Feed::default() };
    let simulator = runtime.block_on(Simulator::start("127.0.0.1:0", feed)).unwrap();
    let test = "airflow";
    let settings = tables::settings(test)
        .with("TOPICS__PARTITIONS", &crate::ingest::PARTITIONS.to_string())
        .with("FINNHUB__URL", &format!("ws://{}", simulator.address()))
        .with("FINNHUB__SYMBOLS", &symbols.join(","));
    settings.run(&["topics", "apply"]).ended(0);
    settings.run(&["sink", "schema", "--apply", "--timeout", "2m"]).ended(0);
    let airflow = Airflow::of(&settings);
    let whole = ["ingest", "process", "sink", "audit"];

    let (succeeded, said) = airflow.run(&[]);
    assert!(succeeded && began(&said) == whole, "{said}");
    let first = read(&settings.topic("staging")).len() as u64;
    let proof = Proof::of_rows(&settings);
    assert!(
        first > 0 && proof.count("inputs") == first && proof.count("rows") == first,
        "{first}: {proof:?}"
    );

    // Beside an instance that stays, and has a store of its own.
    let mut stays = Gate::start(&settings);
    stays.wait_ready();
    let (succeeded, said) = airflow.run(&[]);
    assert!(succeeded && began(&said) == whole, "{said}");
    assert_eq!(stays.terminate(), Some(0));
    let second = read(&settings.topic("staging")).len() as u64;
    let proof = Proof::of_rows(&settings);
    assert!(second > first && proof.count("inputs") == second && proof.count("rows") == second, "{proof:?}");

    // Killed soon after its start: it is tried again, and nothing is lost or doubled.
    let home = airflow.home.path().to_owned();
    let killing = thread::spawn(move || {
        let gate = wait_for("gate that the batch has started", 2 * PATIENCE, || running(&home, "process"));
        thread::sleep(Duration::from_millis(300));
        kill(gate, Signal::SIGKILL)
    });
    let (succeeded, said) = airflow.run(&[]);
    assert!(succeeded, "{said}");
    assert_eq!(
        (began(&said), killing.join().unwrap()),
        (vec!["ingest", "process", "process", "sink", "audit"], Ok(()))
    );
    let third = read(&settings.topic("staging")).len() as u64;
    let proof = Proof::of_rows(&settings);
    assert!(third > second && proof.count("inputs") == third && proof.count("rows") == third, "{proof:?}");

    // A keyspace that is not there: settings that are wrong are not tried again.
    let monitoring = Monitoring::start();
    let alertmanager = format!("http://{}", monitoring.alertmanager());
    let broken = [("TICKGATE_SINK__KEYSPACE", "nobody_made_it"), ("TICKGATE_ALERTMANAGER", &*alertmanager)];
    let (succeeded, said) = airflow.run(&broken);
    assert!(!succeeded && began(&said) == whole[..3], "{said}");
    let told = monitoring.webhook.wait_firing("TickgateBatchFailed");
    assert_eq!((told.label("task"), told.label("severity")), ("sink", "critical"));
    assert_eq!(told.summary(), "the batch's task sink failed");
    monitoring.webhook.assert_readable();
}
