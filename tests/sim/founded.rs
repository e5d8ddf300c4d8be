//! A worker sleeps amid its takeover of a partition that nobody has committed for. Another one founds the partition,
//! judges what there is, and staging deletes it. What the sleeper then finds is no loss, and nothing to stop for.

use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::cleaning;
use crate::feed::quote;
use crate::journal::{Body, Staged, Topic, Truth};
use crate::process::Process;
use crate::schedule::Schedule;
use crate::site::{BASE_MS, Site};
use crate::teeth::Planted;

const STEPS_MAX: usize = 200;
const RECORDS: i64 = 3;

struct Scene {
    site: Site,
    sleeper: Process,
    other: Process,
}

impl Scene {
    fn begin(accept_loss: bool) -> Self {
        let mut schedule = Schedule::orderly(1);
        schedule.accept_loss = accept_loss;
        let mut site = Site::new(ChaCha8Rng::seed_from_u64(0), schedule, Planted::Nothing, false);
        site.trace.carried_out = Some(Vec::new());
        site.calm = true;
        let [sleeper, other] = [0, 1].map(|index| Process::new(index, &site));
        Self { site, sleeper, other }
    }

    /// How often a process has carried such an effect out.
    fn count(&self, process: usize, effect: &str) -> usize {
        let all = self.site.trace.carried_out.iter().flatten();
        all.filter(|(of, told)| *of == process && told.starts_with(effect)).count()
    }

    /// The sleeper goes on until it has carried this out. What the group says, it hears later.
    fn sleeper_does(&mut self, effect: &str) {
        for _ in 0..STEPS_MAX {
            if self.count(0, effect) > 0 {
                return;
            }
            self.sleeper.step(0, &mut self.site).expect("nothing is broken");
        }
        panic!("no `{effect}`");
    }

    fn other_works(&mut self) {
        for _ in 0..STEPS_MAX {
            self.site.journal.now_ms += 20;
            self.other.heartbeat(&mut self.site);
            self.other.step(0, &mut self.site).expect("nothing is broken");
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        self.site.group.pass_time(self.site.journal.now_ms);
        while let Some(marker) = self.site.journal.markers.first().copied() {
            self.site.journal.deliver(marker);
        }
    }

    fn feed(&mut self) {
        for _ in 0..RECORDS {
            let (symbol, kafka_time): (Arc<str>, _) = ("A".into(), BASE_MS + self.site.journal.now_ms);
            let truth = Truth::Quote { symbol, time: kafka_time, cents: 100 };
            let value = Some(quote("A", kafka_time, 100));
            let staged = Staged { key: Some(b"A".to_vec()), value, kafka_time, truth };
            self.site.journal.append(Topic::Staging, 0, Body::Staged(Arc::new(staged)));
        }
    }
}

#[test]
fn a_sleeper_takes_nothing_for_lost_that_another_has_judged() {
    for accept_loss in [false, true] {
        let mut scene = Scene::begin(accept_loss);
        scene.sleeper.start(&mut scene.site);
        scene.sleeper.heartbeat(&mut scene.site);
        scene.sleeper_does("await stable 0");
        scene.site.journal.now_ms += 7_000;
        scene.deliver();
        scene.other.start(&mut scene.site);
        scene.other_works();
        assert_eq!(scene.count(1, "resume 0@0"), 1, "the other has founded the partition");
        scene.sleeper_does("read targets 0");
        scene.feed();
        scene.other_works();
        assert_eq!(scene.site.journal.offsets.committed(0).map(|(offset, _)| offset), Some(RECORDS));
        cleaning::delete_before(&mut scene.site.journal, 0, RECORDS);
        scene.sleeper_does("restore 0");
        scene.sleeper_does("claim 0@3: refused");
        scene.sleeper_does("release 0");
        assert!(!scene.sleeper.home.asked_to_stop, "it goes on");
    }
}
