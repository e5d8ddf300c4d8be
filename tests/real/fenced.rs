//! A worker whose transactional id somebody else takes: it stops without applying, rebuilds under a new id,
//! and goes on.

use std::{thread, time::Duration};

use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, Producer as _},
};
use serde_json::Value;

use crate::{
    cluster::{Settings, cluster},
    feed::{Feed, Producer, now_ms, quote},
    gate::{Gate, PATIENCE, wait_for},
    offsets::{claims, wait_caught_up},
    proof::Proof,
};

const PARTITIONS: i32 = 3;

fn settings(test: &str) -> Settings {
    let settings = Settings::of(test).with("TOPICS__PARTITIONS", "3");
    settings.run(&["topics", "apply"]).ended(0);
    settings
}

/// The transactional id that the instance says it uses.
pub fn id(gate: &Gate) -> Option<String> {
    let view: Value = serde_json::from_str(&gate.get("/v1/instance")?).unwrap();
    view["workers"]["0"]["transactional_id"].as_str().filter(|id| !id.is_empty()).map(str::to_owned)
}

/// What any client can do.
pub fn fence(id: &str) {
    let taker: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster().bootstrap())
        .set("transactional.id", id)
        .create()
        .unwrap();
    taker.init_transactions(Duration::from_secs(20)).unwrap();
}

/// Waits until the instance works under another id; answers it.
fn wait_rebuilt(gate: &Gate, fenced: &str) -> String {
    wait_for("worker with a new id", PATIENCE, || {
        let all = gate.partitions().len() == usize::try_from(PARTITIONS).unwrap();
        id(gate).filter(|id| id != fenced && all && gate.get("/readyz").is_some())
    })
}

fn rounds(gate: &Gate, outcome: &str) -> u64 {
    gate.counter(&format!("tickgate_rounds_total{{outcome=\"{outcome}\"}}"))
}

#[test]
fn a_worker_that_is_fenced_amid_its_rounds_goes_on_under_a_new_id() {
    let settings = settings("fenced-busy");
    let gate = Gate::start(&settings);
    gate.wait_ready();
    let mut ids = vec![id(&gate).unwrap()];
    thread::scope(|scope| {
        let flow = scope.spawn(|| {
            let mut feed = Feed::new(4, PARTITIONS);
            feed.flow(&settings, 30_000, Duration::from_secs(12));
            feed.expected().clone()
        });
        let mut later = 0;
        while !flow.is_finished() || ids.len() < 4 {
            let before = rounds(&gate, "committed");
            let working = || (flow.is_finished() || rounds(&gate, "committed") > before + 5).then_some(());
            wait_for("worker in its rounds", PATIENCE, working);
            fence(&ids[ids.len() - 1]);
            if flow.is_finished() {
                // Idle, it learns of it when it next has something to say.
                let producer = Producer::new(&settings);
                producer.send(&quote("AAPL", now_ms()));
                producer.flush();
                later += 1;
            }
            ids.push(wait_rebuilt(&gate, &ids[ids.len() - 1]));
        }
        wait_caught_up(&settings, PATIENCE);
        let mut expected = flow.join().unwrap();
        expected.accepted += later;
        Proof::of(&settings).assert_matches(&expected);
    });
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "every id is new");
    assert!(rounds(&gate, "fenced") >= u64::try_from(all - 1).unwrap(), "{ids:?}");
}

#[test]
fn an_idle_worker_is_fenced_by_the_id_in_the_offsets_and_its_successor_reads_the_record_once() {
    let settings = settings("fenced-idle");
    let mut gate = Gate::start(&settings);
    Feed::new(5, PARTITIONS).flow(&settings, 2_100, Duration::from_millis(500));
    wait_caught_up(&settings, PATIENCE);
    let first = wait_for("id of the worker", PATIENCE, || id(&gate));
    assert_eq!(claims(&settings, PARTITIONS), vec![first.clone(); 3]);
    fence(&first);
    let producer = Producer::new(&settings);
    for symbol in ["AAPL", "MSFT", "GOOG", "AMZN"] {
        producer.send(&quote(symbol, now_ms()));
    }
    producer.flush();
    let second = wait_rebuilt(&gate, &first);
    wait_caught_up(&settings, PATIENCE);
    assert_eq!(claims(&settings, PARTITIONS), vec![second.clone(); 3]);
    // It is still the one process, and it stops in order.
    assert_eq!(gate.terminate(), Some(0));
    assert_eq!(claims(&settings, PARTITIONS), vec![format!("{second};rel"); 3]);
    Proof::of(&settings);
}
