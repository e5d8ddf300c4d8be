//! A defect in the gate itself, as a planted panic of a worker's thread: its instance ends with a clear word
//! and a status other than 0, and what it had open harms nobody.

use crate::{
    faults::{PARTITIONS, prepare, prove, while_flowing},
    feed::Feed,
    gate::Gate,
};

#[test]
fn a_worker_that_panics_takes_its_instance_with_it_and_nothing_else() {
    let settings = prepare("defect-panic").with("PROCESS__WORKERS", "2");
    let mut feed = Feed::new(11, PARTITIONS);
    let mut gate = Gate::stopped(&settings);
    while_flowing(&settings, &mut feed, || {
        // The second is in the midst of a takeover that the group waits for.
        for instant in ["after send offsets #3", "after claim", "before apply #4"] {
            gate.start_to(&format!("panic {instant}"));
            assert_eq!(gate.wait_end(), Some(1), "{instant}");
            let log = gate.log();
            assert!(log.contains(&format!("fault point: panic {instant}")), "{log}");
            assert!(log.contains("tickgate: a worker ended by a defect; its panic is above"), "{log}");
        }
        gate.start_again(&[]);
    });
    prove(&settings, &feed);
}
