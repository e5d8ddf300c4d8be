//! The shortest schedule that still fails: happenings are left out, many at once and then fewer, for as long
//! as what is left breaks something.

use crate::attempt;
use crate::invariants::Breach;
use crate::script::Script;
use crate::teeth::Planted;
use crate::world;

/// How many schedules are tried at most.
const TRIES: usize = 5_000;

/// A failure that has been shortened.
#[derive(Debug)]
pub struct Shortest {
    pub script: Script,
    /// How many happenings are left, and of how many.
    pub left: usize,
    pub of: usize,
    pub breach: Breach,
}

/// Shortens a seed that fails. What is left may fail otherwise than the whole did.
pub fn shortest(seed: u64, planted: Planted, breach: Breach) -> Shortest {
    let of = world::happenings(seed);
    let mut kept: Vec<usize> = (0..of).collect();
    let mut breach = breach;
    let mut tries = 0;
    let mut chunk = of.div_ceil(2);
    while chunk > 0 && tries < TRIES {
        let before = kept.len();
        // From the end, for what comes after the failure is of no use to it.
        let mut end = kept.len();
        while end > 0 && tries < TRIES {
            let start = end.saturating_sub(chunk);
            let fewer = [&kept[..start], &kept[end..]].concat();
            tries += 1;
            if let Err(other) = attempt(Script::only(seed, fewer.iter().copied()), planted, false) {
                (kept, breach) = (fewer, other);
            }
            end = start;
        }
        if kept.len() == before || chunk > kept.len() {
            chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2).min(kept.len().max(1)) };
        }
    }
    Shortest { left: kept.len(), of, script: Script::only(seed, kept), breach }
}

#[test]
fn a_failure_is_shortened_to_what_it_needs() {
    let planted = Planted::UnknownIsAborted;
    let (seed, breach) = (0..).find_map(|seed| Some((seed, attempt(seed, planted, false).err()?))).unwrap();
    let found = shortest(seed, planted, breach);
    println!("seed {seed}: {} of {} happenings: {}", found.left, found.of, found.script.kept);
    assert!(found.left > 0 && found.left * 10 < found.of, "{} of {}", found.left, found.of);
    let crate::script::Kept::Only(kept) = &found.script.kept else { panic!("nothing was left out") };
    assert!(attempt(found.script.clone(), planted, false).is_err(), "what is left fails");
    for without in kept {
        let fewer = Script::only(seed, kept.iter().copied().filter(|number| number != without));
        assert!(attempt(fewer, planted, false).is_ok(), "happening {without} is not needed");
    }
}
