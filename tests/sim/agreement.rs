//! The interpreter carries out what the gate does on real Kafka (`tests/real/agreement.rs`), in the same order
//! and with the same offsets. What the models say is held against Kafka by this.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tickgate::model::partition_of;

use crate::feed::quote;
use crate::journal::{Body, Staged, Topic, Truth};
use crate::process::Process;
use crate::scenario::{Deed, PARTITIONS, Stage, What, play};
use crate::schedule::Schedule;
use crate::site::{BASE_MS, GRACE_MS, Site};
use crate::teeth::Planted;
use crate::watch::THRESHOLD_MS;

/// Time that passes in a turn, and the steps of each process in it.
const TURN_MS: i64 = 50;
const TURN_STEPS: usize = 20;

struct Modelled {
    site: Site,
    processes: [Process; 2],
}

impl Stage for Modelled {
    fn act(&mut self, deed: &Deed) {
        match deed {
            Deed::Start(instance) => {
                let process = &mut self.processes[number(*instance)];
                process.start(&mut self.site);
            }
            Deed::Stop(instance) => self.processes[number(*instance)].home.asked_to_stop = true,
            Deed::Kill(instance) => {
                let process = &mut self.processes[number(*instance)];
                process.home.disk.flush();
                process.kill(false, &mut self.site).expect("nothing is broken");
            }
            Deed::Fence(instance) => {
                let life = self.processes[number(*instance)].lives[0].as_ref().expect("it runs");
                self.site.journal.init(&life.id).expect("nothing is open");
            }
            Deed::Record(symbol, what) => self.send(symbol, *what),
        }
    }

    fn carried_out(&mut self, instance: char) -> Vec<String> {
        let all = self.site.trace.carried_out.iter().flatten();
        all.filter(|(process, _)| *process == number(instance)).map(|(_, effect)| effect.clone()).collect()
    }

    fn wait(&mut self) {
        self.site.journal.now_ms += TURN_MS;
        for process in &mut self.processes {
            process.heartbeat(&mut self.site);
            for _ in 0..TURN_STEPS {
                process.step(0, &mut self.site).expect("nothing is broken");
            }
        }
        self.site.group.pass_time(self.site.journal.now_ms);
        while let Some(marker) = self.site.journal.markers.first().copied() {
            self.site.journal.deliver(marker);
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }

    fn clock(&self) -> Duration {
        Duration::from_millis(self.site.journal.now_ms.unsigned_abs())
    }
}

impl Modelled {
    fn send(&mut self, name: &str, what: What) {
        let symbol: Arc<str> = name.into();
        let kafka_time = BASE_MS + self.site.journal.now_ms;
        let time = if what == What::Old { kafka_time - THRESHOLD_MS - GRACE_MS - 1_000 } else { kafka_time };
        let (value, truth) = match what {
            What::Good | What::Old => {
                (Some(quote(name, time, 100)), Truth::Quote { symbol: symbol.clone(), time, cents: 100 })
            }
            What::Bad => (Some(b"{".to_vec()), Truth::Bad),
            What::Removal => (None, Truth::Tombstone { symbol: symbol.clone() }),
            What::Huge => (Some(quote(name, time, 100)), Truth::Unsendable { at_once: true }),
        };
        let staged = Staged { key: Some(symbol.as_bytes().to_vec()), value, kafka_time, truth };
        let partition = partition_of(name.as_bytes(), PARTITIONS);
        self.site.journal.append(Topic::Staging, partition, Body::Staged(Arc::new(staged)));
    }
}

fn number(instance: char) -> usize {
    usize::from(instance != 'a')
}

#[test]
fn the_interpreter_carries_out_what_the_gate_does() {
    let chance = ChaCha8Rng::seed_from_u64(0);
    let mut site = Site::new(chance, Schedule::orderly(PARTITIONS), Planted::Nothing, false);
    site.trace.carried_out = Some(Vec::new());
    site.calm = true;
    let processes = [0, 1].map(|index| Process::new(index, &site));
    play(&mut Modelled { site, processes });
}
