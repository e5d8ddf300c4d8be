//! The gate on real Kafka carries out what the simulation's interpreter does, in the same order.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use tickgate::model::partition_of;

use crate::{
    cluster::Settings,
    edges::{audited, compressing, send_whole, spaces},
    feed::{Producer, Sent, now_ms, quote},
    fenced::{fence, id},
    gate::{Gate, PATIENCE, wait_for},
    scenario::{Deed, PARTITIONS, Stage, What, play},
};

/// Longer than the scenario takes, so that only what is old from the start is silent.
const THRESHOLD_MS: i64 = 60 * 60 * 1000;

struct Real {
    settings: Settings,
    producer: Producer,
    gates: BTreeMap<char, Gate>,
    /// What earlier starts of an instance carried out.
    earlier: BTreeMap<char, Vec<String>>,
    began: Instant,
}

impl Stage for Real {
    fn act(&mut self, deed: &Deed) {
        match deed {
            Deed::Start(instance) => self.start(*instance),
            Deed::Stop(instance) => {
                assert_eq!(self.gate(*instance).terminate(), Some(0));
            }
            Deed::Kill(instance) => self.gate(*instance).kill(),
            Deed::Fence(instance) => fence(&id(self.gate(*instance)).expect("it has one")),
            Deed::Record(symbol, what) => {
                let key = Some(symbol.clone().into_bytes());
                if *what == What::Huge {
                    let partition = partition_of(symbol.as_bytes(), PARTITIONS);
                    let sent = Sent { key, value: Some(spaces()), ..Sent::default() };
                    send_whole(&compressing(), &self.settings.topic("staging"), partition, &sent);
                    return;
                }
                let sent = match what {
                    What::Good => quote(symbol, now_ms()),
                    What::Old => quote(symbol, now_ms() - THRESHOLD_MS - 1_000),
                    What::Bad => Sent { key, value: Some(b"{".to_vec()), ..Sent::default() },
                    What::Removal | What::Huge => Sent { key, ..Sent::default() },
                };
                self.producer.send(&sent);
                self.producer.flush();
            }
        }
    }

    fn carried_out(&mut self, instance: char) -> Vec<String> {
        let mut all = self.earlier.get(&instance).cloned().unwrap_or_default();
        if let Some(gate) = self.gates.get(&instance) {
            all.extend(carried_out(gate));
        }
        all
    }

    fn wait(&mut self) {
        thread::sleep(Duration::from_millis(50));
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn clock(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Real {
    fn start(&mut self, instance: char) {
        // A static member has its partitions back at once, and the name that partitions are given out by.
        let settings = self.settings.clone().with("PROCESS__INSTANCE_ID", &instance.to_string());
        let gate = self.gates.entry(instance).or_insert_with(|| Gate::stopped(&settings));
        if gate.starts() > 0 {
            self.earlier.entry(instance).or_default().extend(carried_out(gate));
        }
        gate.start_again(&[]);
        wait_for("ready instance", PATIENCE, || gate.get("/readyz"));
    }

    fn gate(&mut self, instance: char) -> &mut Gate {
        self.gates.get_mut(&instance).expect("it was started")
    }
}

/// The effects in the log of an instance's last start.
fn carried_out(gate: &Gate) -> Vec<String> {
    let lines = gate.logged("carried out");
    lines
        .iter()
        .map(|line| {
            let effect = line["effect"].as_str().unwrap();
            line["failure"].as_str().map_or(effect.to_owned(), |failure| format!("{effect}: {failure}"))
        })
        .collect()
}

#[test]
fn the_gate_carries_out_what_the_simulation_does() {
    let settings = Settings::of("scenario")
        .with("TOPICS__PARTITIONS", &PARTITIONS.to_string())
        .with("FRESHNESS__ERROR_AFTER", "1h")
        .with("FRESHNESS__GRACE", "200ms")
        .with("LOG", "info,tickgate=debug");
    settings.run(&["topics", "apply"]).ended(0);
    let producer = Producer::new(&settings);
    let (gates, earlier) = (BTreeMap::new(), BTreeMap::new());
    play(&mut Real { settings: settings.clone(), producer, gates, earlier, began: Instant::now() });
    let (_, unjudged) = audited(&settings);
    assert_eq!(unjudged, serde_json::json!({ "unsendable_bytes": 1 }), "that of the refused output");
}
