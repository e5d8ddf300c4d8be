//! `tickgate state`: looking at the store of an instance that is stopped, and of one that runs under load; proving
//! it; and choosing where the gate goes on.

use std::{collections::BTreeSet, fs, sync::Arc, time::Duration};

use serde_json::Value;
use tickgate::model::{EventTime, WallTime};
use tickgate_state::{Position, Price, RowKey, Store, StoreIdentity, StoreOptions, SymbolRow};

use crate::{
    cluster::{Run, Settings},
    faults::while_flowing,
    feed::{Feed, Producer, Sent, now_ms},
    gate::{Gate, PATIENCE, wait_for},
    offsets::{committed, patient_observer, wait_caught_up},
};

const PARTITIONS: i32 = 2;

/// Topics, an instance that is stopped, and the settings that name its state directory.
fn prepare(test: &str) -> (Settings, Gate) {
    let settings = Settings::of(test).with("TOPICS__PARTITIONS", "2");
    settings.run(&["topics", "apply"]).ended(0);
    let gate = Gate::stopped(&settings);
    let settings = settings.with("PROCESS__STATE_DIR", gate.state_dir().to_str().unwrap());
    (settings, gate)
}

fn state(settings: &Settings, arguments: &[&str]) -> Run {
    settings.run(&[&["state"], arguments].concat())
}

/// The lines of a command that must succeed, each a JSON object.
fn lines(settings: &Settings, arguments: &[&str]) -> Vec<Value> {
    let run = state(settings, arguments).ended(0);
    run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn verify(settings: &Settings, code: i32) -> Value {
    let run = state(settings, &["verify", "--json"]).ended(code);
    serde_json::from_str(&run.out).unwrap()
}

fn sum(report: &Value, of: &str) -> u64 {
    let partitions = report["partitions"].as_array().unwrap().iter();
    partitions.map(|partition| partition[of].as_u64().unwrap()).sum()
}

/// What every command says of a store, whoever answers.
fn look(settings: &Settings, source: &str) {
    let listed = lines(settings, &["list", "--json"]);
    assert!(listed.len() > 100, "{} symbols", listed.len());
    assert!(listed.iter().all(|line| line["source"] == source && line["next_offset"].is_i64()));
    for line in [&listed[0], &listed[listed.len() / 2], &listed[listed.len() - 1]] {
        let symbol = line["symbol"].as_str().unwrap();
        let got = lines(settings, &["get", "--json", "--", symbol]);
        assert!(got.iter().any(|got| got["partition"] == line["partition"]), "{symbol}: {got:?}");
        let prefix = format!("--prefix={symbol}");
        let prefixed = lines(settings, &["list", "--json", &prefix, "--limit", "1"]);
        assert_eq!(prefixed.len(), 1, "{symbol}");
        assert!(state(settings, &["get", "--", symbol]).ended(0).out.contains(source));
    }
    let absent = state(settings, &["get", "no such symbol"]).ended(1);
    assert!(absent.err.contains("`no such symbol` has no row in any of the 2 partitions"), "{}", absent.err);
    let of_one = lines(settings, &["list", "--json", "--partition", "1"]);
    assert!(!of_one.is_empty() && of_one.iter().all(|line| line["partition"] == 1));

    let positions = lines(settings, &["positions", "--json"]);
    assert_eq!(positions.len(), 2);
    for line in &positions {
        assert_eq!(line["source"], source);
        assert!(line["changelog_lag"].as_i64().unwrap() >= 0 && line["input_lag"].as_i64().unwrap() >= 0);
    }
    let exported = lines(settings, &["export"]);
    let symbols = exported.iter().filter(|line| line["kind"] == "symbol");
    let mut names: Vec<_> = symbols.map(|line| (line["partition"].as_i64(), line["name"].as_str())).collect();
    let mut expected: Vec<_> =
        listed.iter().map(|line| (line["partition"].as_i64(), line["symbol"].as_str())).collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(exported.iter().filter(|line| line["kind"] == "checkpoint").count(), 2);
}

#[test]
fn a_state_is_looked_at_stopped_and_running() {
    let (settings, mut gate) = prepare("state-looked-at");
    let mut feed = Feed::new(21, PARTITIONS);
    feed.flow(&settings, 3_000, Duration::ZERO);
    gate.start_again(&[]);
    wait_caught_up(&settings, PATIENCE);
    look(&settings, "owner");
    assert_eq!(verify(&settings, 0)["whole"], true);
    // The address is found by the directory; a wrong one, or a wrong group, is told.
    let address = fs::read_to_string(gate.state_dir().join("http")).unwrap();
    lines(&settings, &["positions", "--json", "--http", address.trim()]);
    let other = settings.clone().with("PROCESS__GROUP", "other");
    let refused = state(&other, &["positions", "--http", address.trim()]).ended(2);
    assert!(refused.err.contains("expected `other`"), "{}", refused.err);
    let nobody = state(&settings, &["positions", "--http", "127.0.0.1:9"]).ended(3);
    assert!(nobody.err.contains("does not answer"), "{}", nobody.err);
    fs::remove_file(gate.state_dir().join("http")).unwrap();
    let hidden = state(&settings, &["positions"]).ended(2);
    assert!(hidden.err.contains("`--http ADDRESS`, or stop it"), "{}", hidden.err);
    assert_eq!(gate.terminate(), Some(0));

    let file = gate.state_dir().join("rows.csv");
    state(&settings, &["export", "--format", "csv", "--output", file.to_str().unwrap()]).ended(0);
    let csv = fs::read_to_string(&file).unwrap();
    assert!(csv.starts_with("partition,kind,name,last_seen,last_price,"), "{csv}");
    assert!(csv.lines().count() > 100);
    look(&settings, "stopped");
    let report = verify(&settings, 0);
    assert_eq!(report["whole"], true);
    assert_eq!((sum(&report, "different"), sum(&report, "superseded")), (0, 0));
    let absent = settings.with("PROCESS__STATE_DIR", "/proc/none");
    assert!(state(&absent, &["list"]).ended(2).err.contains("there is no store in"));
}

#[test]
fn a_store_is_whole_while_it_is_written() {
    let (settings, mut gate) = prepare("state-written");
    let mut feed = Feed::new(22, PARTITIONS);
    feed.flow(&settings, 2_000, Duration::ZERO);
    gate.start_again(&[]);
    wait_caught_up(&settings, PATIENCE);
    let mut positions = BTreeSet::new();
    while_flowing(&settings, &mut feed, || {
        wait_for("positions of a store that moves", PATIENCE, || {
            let report = verify(&settings, 0);
            let first = &report["partitions"][0];
            assert_eq!((&report["whole"], &first["digest"]), (&true.into(), &first["expected_digest"]));
            positions.insert(first["changelog_next"].as_i64().unwrap());
            (positions.len() >= 3).then_some(())
        });
    });
}

/// The store of the stopped instance.
fn open(settings: &Settings, gate: &Gate) -> Arc<Store> {
    let identity = StoreIdentity {
        group: settings.group().to_owned(),
        changelog: format!("{}-last_seen-changelog", settings.group()),
        cluster: String::new(),
    };
    Arc::new(Store::open(&gate.state_dir(), &identity, &StoreOptions::default()).unwrap())
}

/// Changes, removes and makes up a row of partition 1; whose, as `verify` names them.
fn plant(settings: &Settings, gate: &Gate) -> Vec<String> {
    let store = open(settings, gate);
    let known = store.symbol_rows(1).unwrap();
    // Not one whose silence the running instance would report meanwhile.
    let mut heard = known.iter().filter(|(name, _)| name.starts_with("SYM"));
    let (changed, lost) = (heard.next().unwrap(), heard.next().unwrap());
    let row = SymbolRow { price: Some(Price { mantissa: 1, scale: 3 }), ..changed.1.clone() };
    let rows = vec![
        (RowKey::Symbol(&changed.0).encode(), Some(row.encode())),
        (RowKey::Symbol(&lost.0).encode(), None),
        (RowKey::Symbol("~made up").encode(), Some(SymbolRow::default().encode())),
    ];
    let position = store.position(1).unwrap().unwrap();
    store.restore_slice(&store.writer(1).unwrap(), rows, position, now_ms()).unwrap();
    store.flush().unwrap();
    [&*changed.0, &*lost.0, "~made up"].map(|name| format!("symbol `{name}`")).to_vec()
}

#[test]
fn a_row_that_is_not_the_changelog_s_is_found() {
    let (settings, mut gate) = prepare("state-flipped");
    Feed::new(23, PARTITIONS).flow(&settings, 1_000, Duration::ZERO);
    gate.start_again(&[]);
    wait_caught_up(&settings, PATIENCE);
    assert_eq!(gate.terminate(), Some(0));
    let rows = sum(&verify(&settings, 0), "rows");

    let names = plant(&settings, &gate);
    let found = |report: &Value| {
        assert_eq!((sum(report, "different"), &report["whole"]), (3, &false.into()), "{report}");
        let differences = report["differences"].as_array().unwrap().clone();
        assert!(differences.iter().all(|difference| difference["partition"] == 1));
        let keys: Vec<_> = differences.iter().map(|difference| difference["key"].clone()).collect();
        assert_eq!(keys, names);
        differences
    };
    let report = verify(&settings, 1);
    assert_eq!(sum(&report, "rows"), rows);
    assert_eq!(report["partitions"][0]["different"], 0);
    let differences = found(&report);
    assert!(differences[0]["stored"].as_str().unwrap().contains("price 0.001 since"));
    assert!(differences[0]["expected"].as_str().unwrap().starts_with("last seen 20"));
    assert_eq!(
        (&differences[1]["stored"], &differences[2]["expected"]),
        (&"no row".into(), &"no row".into())
    );
    let text = state(&settings, &["verify", "--show", "1"]).ended(1).out;
    assert!(text.contains(&format!("partition 1, {}: found ", names[0])) && text.contains("BREACH: 3 of"));
    assert!(!text.contains("~made up"), "more than was asked for: {text}");
    // The running instance tells the same.
    gate.start_again(&[]);
    gate.wait_ready();
    found(&verify(&settings, 1));
    assert_eq!(gate.terminate(), Some(0));

    // Beyond the changelog's end no store can be true.
    let store = open(&settings, &gate);
    let beyond = Position { changelog_next: 1_000_000_000 };
    store.restore_slice(&store.writer(0).unwrap(), vec![], beyond, now_ms()).unwrap();
    store.flush().unwrap();
    drop(store);
    assert_eq!(verify(&settings, 1)["partitions"][0]["beyond_end"], true);
    gate.lose_store();
    gate.start_again(&[]);
    gate.wait_ready();
    assert_eq!(verify(&settings, 0)["whole"], true, "a rebuilt store");
}

/// One good record, its symbol in the given partition whatever its key says.
fn record(symbol: &str, partition: i32) -> Sent {
    let value = format!(
        r#"{{"symbol":"{symbol}","last_price":1.5,"volume":1,"timestamp":"{}"}}"#,
        EventTime(now_ms())
    );
    Sent {
        key: Some(symbol.as_bytes().to_vec()),
        value: Some(value.into_bytes()),
        partition: Some(partition),
        ..Sent::default()
    }
}

const BATCH: i64 = 300;

/// A group to be reset, and its one instance.
struct Group {
    settings: Settings,
    gate: Gate,
}

impl Group {
    /// With a batch of records in each partition, and all of them judged.
    fn new(test: &str) -> Self {
        let (settings, gate) = prepare(test);
        let mut group = Self { settings, gate };
        (0..PARTITIONS).for_each(|partition| group.send(partition));
        group.catch_up();
        group
    }

    fn send(&self, partition: i32) {
        let producer = Producer::new(&self.settings);
        (0..BATCH).for_each(|number| producer.send(&record(&format!("S{number}"), partition)));
        producer.flush();
    }

    /// Runs the instance until it has judged all that there is.
    fn catch_up(&mut self) {
        self.gate.start_again(&[]);
        wait_caught_up(&self.settings, PATIENCE);
        assert_eq!(self.gate.terminate(), Some(0));
    }

    /// The committed offset of each partition.
    fn offsets(&self) -> Vec<i64> {
        let staging = self.settings.topic("staging");
        committed(&patient_observer(&self.settings), &staging, &[0, 1]).into_values().collect()
    }

    fn epochs(&self) -> Vec<i64> {
        let lines = lines(&self.settings, &["positions", "--json"]);
        lines.iter().map(|line| line["epoch"].as_i64().unwrap()).collect()
    }

    /// The member that stopped may take a moment to be gone.
    fn reset(&self, arguments: &[&str], code: i32) -> Run {
        wait_for("group without members", PATIENCE, || {
            let run = state(&self.settings, &[&["reset"], arguments].concat());
            (!run.err.contains("members, expected none")).then_some(run)
        })
        .ended(code)
    }
}

#[test]
fn a_group_of_the_brokers_protocol_is_not_reset_while_it_has_members() {
    let group = Group::new("state-reset-consumer");
    let settings = group.settings.clone().with("PROCESS__GROUP_PROTOCOL", "consumer");
    let mut gate = Gate::start(&settings);
    wait_for("a partition that is worked on", PATIENCE, || {
        gate.get("/v1/instance").filter(|view| view.contains("running"))
    });
    let refused = state(&settings, &["reset", "--to", "start"]).ended(2);
    assert!(refused.err.contains("members, expected none"), "{}", refused.err);
    assert!(gate.logged("starts over with a new id").is_empty(), "nobody was fenced for it");
    assert_eq!(gate.terminate(), Some(0));
    group.reset(&["--to", "start"], 0);
}

#[test]
fn a_reset_that_cannot_be_meant_changes_nothing() {
    let mut group = Group::new("state-reset-refused");
    let before = group.offsets();
    for wrong in [
        &[][..],
        &["--to-offset", "5"],
        &["--to", "end", "--to-offset", "5", "--partition", "0"],
        &["--to-time", "yesterday"],
        &["--to-offset", "5", "--partition", "2"],
    ] {
        group.reset(wrong, 2);
    }
    for offset in ["-1", "1000000"] {
        let outside = group.reset(&["--to-offset", offset, "--partition", "0"], 1);
        assert!(outside.err.contains("is not in staging, which has 0 to"), "{}", outside.err);
    }
    let dry = group.reset(&["--to-offset", "100", "--partition", "0", "--dry-run"], 0);
    assert!(dry.out.contains("at most 200 records are judged again"), "{}", dry.out);
    assert!(dry.out.contains("nothing was changed"));
    group.gate.start_again(&[]);
    group.gate.wait_ready();
    let running = state(&group.settings, &["reset", "--to", "start"]).ended(2);
    assert!(running.err.contains("stop every instance"), "{}", running.err);
    assert_eq!(group.gate.terminate(), Some(0));
    assert_eq!((group.offsets(), group.epochs()), (before, vec![0, 0]));
}

#[test]
fn a_reset_goes_to_an_offset_or_a_time_and_says_what_it_costs() {
    let mut group = Group::new("state-reset");
    assert_eq!(group.offsets(), [BATCH, BATCH]);
    group.reset(&["--to-offset", "100", "--partition", "0"], 0);
    assert_eq!(group.offsets(), [100, BATCH]);
    group.catch_up();
    assert_eq!((group.offsets(), group.epochs()), (vec![BATCH, BATCH], vec![1, 0]));
    assert_eq!(verify(&group.settings, 0)["whole"], true);

    // The second half of partition 0 is younger than this.
    let time = WallTime(now_ms()).to_string();
    group.send(0);
    let again = group.reset(&["--to-time", &time, "--dry-run"], 0);
    assert!(!again.out.contains("judged again"), "nothing would be judged twice: {}", again.out);
    group.catch_up();
    let again = group.reset(&["--to-time", &time], 0);
    assert!(again.out.contains(&format!("at most {BATCH} records are judged again")), "{}", again.out);
    assert_eq!(group.offsets(), [BATCH, BATCH]);
    group.catch_up();
    assert_eq!(group.epochs(), [2, 0], "partition 1 has no younger record, so it stays where it is");

    // Going on where the state stands changes nothing, and what would be left out is said.
    group.send(1);
    let left = group.reset(&["--to", "end", "--dry-run"], 0);
    assert!(left.out.contains(&format!("at most {BATCH} records are left out")), "{}", left.out);
    group.reset(&["--to", "checkpoint"], 0);
    group.catch_up();
    assert_eq!(group.epochs(), [2, 0]);

    let report = group.settings.run(&["audit", "--json"]).ended(0).out;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["whole"], true, "{report}");
    assert_eq!(report["counts"]["inputs"], 4 * BATCH);
    assert_eq!(report["unjudged"]["remade_after_reset"], 200 + BATCH, "{}", report["unjudged"]);
    assert_eq!(verify(&group.settings, 0)["whole"], true);
}
