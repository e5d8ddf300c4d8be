//! Replicas, and restores that take long: an instance has at hand what it does not own, takes over by the tail alone,
//! and is heard by its group, and hears it, while it restores.

use std::time::Duration;

use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use serde_json::Value;
use tickgate::model::partition_of;
use tickgate_state::{RowKey, SymbolRow};

use crate::{
    cluster::Settings,
    feed::Feed,
    gate::{Gate, PATIENCE, wait_for},
    offsets::wait_caught_up,
    proof::Proof,
    rig::Rig,
    stores::assert_as_from_nothing,
};

/// Records that flow before an instance is needed, and meanwhile.
const RECORDS: u32 = 6_000;

fn prepare(test: &str, partitions: i32) -> Settings {
    let settings = Settings::of(test).with("TOPICS__PARTITIONS", &partitions.to_string());
    settings.run(&["topics", "apply", "--timeout", "3m"]).ended(0);
    settings
}

fn flow(settings: &Settings, feed: &mut Feed) {
    feed.flow(settings, RECORDS, Duration::from_secs(2));
}

/// Waits until the instance follows so many partitions and has all that they have.
fn wait_followed(gate: &Gate, partitions: u64) {
    wait_for("replica that has caught up", PATIENCE, || {
        gate.get("/metrics")?;
        let followed = gate.counter("tickgate_replica_partitions");
        let lag = gate.counter("tickgate_replica_lag_records");
        (followed == partitions && lag == 0).then_some(())
    });
}

fn wait_owned(gates: &[&Gate], each: &[usize]) {
    wait_for("partitions in these hands", PATIENCE, || {
        let owned: Vec<usize> = gates.iter().map(|gate| gate.partitions().len()).collect();
        (owned == each).then_some(())
    });
}

/// Rows that the instance's last restore has read.
fn last_restored(gate: &Gate) -> u64 {
    gate.restores().last().map_or(0, |restore| restore.rows)
}

#[test]
fn a_takeover_reads_the_tail_alone() {
    const PARTITIONS: i32 = 12;
    let settings = prepare("replica-tail", PARTITIONS);
    let mut feed = Feed::new(21, PARTITIONS);
    let (mut one, mut other) = (Gate::start(&settings), Gate::stopped(&settings));
    flow(&settings, &mut feed);
    wait_caught_up(&settings, PATIENCE);
    other.start_again(&[]);
    wait_owned(&[&one, &other], &[6, 6]);
    flow(&settings, &mut feed);
    wait_caught_up(&settings, PATIENCE);
    wait_followed(&one, 6);
    wait_followed(&other, 6);
    // It owns nothing that it has not had as a replica, or restored when it came.
    one.kill();
    wait_owned(&[&other], &[12]);
    assert_eq!(last_restored(&other), 0, "what was at hand was read again");
    wait_followed(&other, 0);
    flow(&settings, &mut feed);
    wait_caught_up(&settings, PATIENCE);
    // Back again it has what it had, and reads what is new of what it is given.
    one.start_again(&[]);
    wait_owned(&[&one, &other], &[6, 6]);
    wait_followed(&one, 6);
    assert_eq!(one.terminate(), Some(0));
    wait_owned(&[&other], &[12]);
    assert_eq!(other.terminate(), Some(0));
    for gate in [&one, &other] {
        assert_as_from_nothing(&settings, gate, "after takeovers");
    }
    Proof::of(&settings).assert_matches(feed.expected());
}

#[test]
fn an_instance_that_owns_nothing_has_everything() {
    const PARTITIONS: i32 = 2;
    let settings = prepare("replica-idle", PARTITIONS);
    let mut feed = Feed::new(22, PARTITIONS);
    // Partitions go to members in the order of their names: the last one, which comes last, never owns any.
    let start = |name: &str| Gate::start(&settings.clone().with("PROCESS__INSTANCE_ID", name));
    let mut others = [start("a"), start("b")];
    wait_for("an instance for each partition", PATIENCE, || {
        others.iter().all(|gate| gate.partitions().len() == 1).then_some(())
    });
    let mut idle = start("c");
    flow(&settings, &mut feed);
    wait_caught_up(&settings, PATIENCE);
    wait_followed(&idle, 2);
    // Then it has no more to do with what the others do while they stop.
    assert_eq!(idle.terminate(), Some(0));
    assert!(idle.logged("restored from the changelog").is_empty(), "it has owned nothing");
    for gate in &mut others {
        assert_eq!(gate.terminate(), Some(0));
    }
    assert_as_from_nothing(&settings, &idle, "a replica");
    Proof::of(&settings).assert_matches(feed.expected());
}

#[test]
fn lists_come_from_the_owners_whoever_is_asked() {
    const PARTITIONS: i32 = 4;
    // Nobody has a copy of what the other one owns.
    let settings = prepare("owners-lists", PARTITIONS).with("PROCESS__REPLICAS", "none");
    let mut feed = Feed::new(23, PARTITIONS);
    let one = Gate::start(&settings);
    one.wait_ready();
    let other = Gate::start(&settings.clone().with("PROCESS__PEERS", &one.address()));
    wait_owned(&[&one, &other], &[2, 2]);
    flow(&settings, &mut feed);
    wait_caught_up(&settings, PATIENCE);
    let list = |gate: &Gate, question: &str| -> Value {
        let (_, body) = gate.ask(&format!("/v1/symbols?limit=10000&{question}")).unwrap();
        serde_json::from_str(&body).unwrap()
    };
    let count = |answer: &Value, of: &str| answer[of].as_array().map_or(0, Vec::len);
    let (own, theirs) = (list(&other, "source=owner"), list(&one, "source=owner"));
    assert_eq!((count(&own, "partitions"), count(&theirs, "partitions")), (2, 2));
    let all = list(&other, "consistency=owner");
    assert_eq!(count(&all, "symbols"), count(&own, "symbols") + count(&theirs, "symbols"));
    assert!(count(&own, "symbols") > 0 && count(&theirs, "symbols") > 0, "{all}");
    assert!(all["partitions"].as_array().unwrap().iter().all(|at| at["source"] == "owner"), "{all}");
    // It has not been told of the other one.
    assert_eq!(list(&one, "consistency=owner")["status"], 503);
}

fn symbol(number: usize) -> String {
    format!("LONG {number}")
}

/// Puts rows into a changelog that no round has written to yet, each in a batch of its own.
fn fill_changelog(settings: &Settings, partitions: i32, rows: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", settings.direct())
        .set("batch.num.messages", "1")
        .set("linger.ms", "0")
        .create()
        .unwrap();
    let topic = format!("{}-last_seen-changelog", settings.group());
    let row = SymbolRow { listed_at: Some(1), ..SymbolRow::default() }.encode();
    for number in 0..rows {
        let symbol = symbol(number);
        let key = RowKey::Symbol(&symbol).encode();
        let partition = partition_of(symbol.as_bytes(), partitions);
        let record = BaseRecord::to(&topic).key(&key).payload(&row).partition(partition);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
}

fn said(gate: &Gate, what: &str) -> Vec<Value> {
    gate.logged(&format!("the group said: {what}"))
}

#[test]
#[ignore = "slow: a restore that takes longer than a member may be deaf"]
fn a_long_restore_costs_no_membership_and_holds_no_group_up() {
    const PARTITIONS: i32 = 6;
    const ROWS: usize = 9_000;
    // Longer than a member may be deaf.
    const SECONDS: u64 = 8;
    let rig = Rig::take();
    let settings = rig
        .settings("restore-long", PARTITIONS)
        .with("KAFKA__PROPERTIES__MAX_POLL_INTERVAL_MS", "6500")
        // A batch a request.
        .with("KAFKA__PROPERTIES__FETCH_MESSAGE_MAX_BYTES", "1")
        .with("PROCESS__REPLICAS", "none");
    let mut founder = Gate::start(&settings);
    founder.wait_ready();
    assert_eq!(founder.terminate(), Some(0));
    fill_changelog(&settings, PARTITIONS, ROWS);
    rig.proxies().for_each(|proxy| proxy.delay(Duration::from_millis(5)));
    let mut one = Gate::start(&settings);
    let shown = wait_for("restore that takes long", PATIENCE, || {
        let lines = one.logged("restoring from the changelog");
        lines.into_iter().find(|line| line["seconds"].as_u64() >= Some(SECONDS))
    });
    assert!(shown["left"].as_u64() > Some(0) && shown["rows_per_second"].as_u64() > Some(0), "{shown}");
    let (status, waits_for) = one.ask("/readyz").unwrap();
    assert!(status == 503 && waits_for.contains("restoring 6 of 6 partitions"), "{waits_for}");
    assert!(one.counter("tickgate_restore_remaining_rows") > 0);
    // Another one comes, and is not kept waiting.
    let mut other = Gate::start(&settings);
    wait_for("partitions for the other", PATIENCE, || said(&other, "Assigned([").pop());
    assert!(one.restores().is_empty(), "the restore was over before the group was heard");
    rig.mend();
    wait_owned(&[&one, &other], &[3, 3]);
    let restored = one.restores();
    assert_eq!(restored.len(), 1, "{restored:?}");
    assert_eq!(restored[0].partitions, 3);
    let own = one.partitions();
    let needed =
        (0..ROWS).filter(|number| own.contains(&partition_of(symbol(*number).as_bytes(), PARTITIONS)));
    let needed = u64::try_from(needed.count()).unwrap();
    assert!(restored[0].rows < needed, "what was written was read again: {restored:?} of {needed}");
    for gate in [&one, &other] {
        assert!(said(gate, "Lost").is_empty() && !gate.log().contains("MAXPOLL"), "{}", gate.log());
        assert_eq!(gate.counter("tickgate_fenced_total"), 0, "nobody was dead");
        assert_eq!(gate.counter("tickgate_restore_remaining_rows"), 0);
        assert_eq!(gate.counter("tickgate_replica_partitions"), 0);
    }
    // What it has given up it follows no more: only with all partitions back it has everything.
    assert_eq!(other.terminate(), Some(0));
    wait_owned(&[&one], &[6]);
    assert_eq!(one.terminate(), Some(0));
    assert_as_from_nothing(&settings, &one, "an interrupted restore");
}
