//! Fault points: instants at which a test kills, stops or breaks the gate. Compiled with the cargo feature
//! `fault-points` alone; no other build knows of them.
//!
//! `FAULT_POINT` chooses one, as in `kill before commit #3`:
//! - what happens: `kill` (SIGKILL to the process), `stop` (SIGSTOP) or `panic` (of the worker's thread);
//! - where: `before` or `after` an effect that the worker carries out, by the name that the log has for it;
//!   `within send` (the brokers have half of the outputs), `within commit` (they have everything and were not
//!   yet asked to commit), `within restore` (another slice is in the store);
//! - the how many-eth time that a worker of the process comes there; the first when it is left out.

use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::{Signal, raise};

use crate::core::Effect;

const VARIABLE: &str = "FAULT_POINT";
/// Effects that are points; the others are not carried out but followed.
const EFFECTS: [&str; 21] = Effect::CARRIED_OUT;
/// Effects with a point inside.
const WITHIN: [&str; 3] = ["send", "commit", "restore"];

/// The process's fault point, if one was chosen.
#[derive(Debug, Default)]
pub(super) struct FaultPoint {
    chosen: Option<Chosen>,
    /// As the environment has it.
    text: String,
    passed: AtomicU64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Chosen {
    action: Action,
    instant: Instant,
    effect: &'static str,
    nth: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Kill,
    Stop,
    Panic,
}

/// Where, beside or inside an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instant {
    Before,
    Within,
    After,
}

/// `FAULT_POINT` says something else.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{VARIABLE}`: found `{found}`, expected `kill|stop|panic before|within|after EFFECT [#N]`, EFFECT one of {}; \
     within only {}",
    EFFECTS.join(", "),
    WITHIN.join(", ")
)]
pub(super) struct BadFaultPoint {
    found: String,
}

impl FaultPoint {
    /// What the environment chooses.
    pub(super) fn from_environment() -> Result<Self, BadFaultPoint> {
        let Some(text) = std::env::var_os(VARIABLE) else { return Ok(Self::default()) };
        let text = text.to_string_lossy().into_owned();
        let chosen = parse(&text).ok_or_else(|| BadFaultPoint { found: text.clone() })?;
        tracing::warn!("this process has a fault point: {text}");
        Ok(Self { chosen: Some(chosen), text, passed: AtomicU64::new(0) })
    }

    /// A worker comes to an instant. Ends, stops or panics where that is the chosen one.
    pub(super) fn pass(&self, instant: Instant, effect: &str) {
        self.pass_with(instant, effect, || ());
    }

    /// The same; `prepare` is called first, and only at the chosen one.
    pub(super) fn pass_with(&self, instant: Instant, effect: &str, prepare: impl FnOnce()) {
        assert!(EFFECTS.contains(&effect), "`{effect}` is not among the fault points' effects");
        let Some(chosen) = &self.chosen else { return };
        if chosen.instant != instant || chosen.effect != effect {
            return;
        }
        if self.passed.fetch_add(1, Ordering::SeqCst) + 1 == chosen.nth {
            prepare();
            self.strike(chosen.action);
        }
    }

    fn strike(&self, action: Action) {
        tracing::warn!("at the fault point: {}", self.text);
        // To this thread, so that it goes no further than here.
        match action {
            Action::Kill => raise(Signal::SIGKILL).expect("a process may signal itself"),
            Action::Stop => raise(Signal::SIGSTOP).expect("a process may signal itself"),
            Action::Panic => panic!("fault point: {}", self.text),
        }
    }
}

fn parse(text: &str) -> Option<Chosen> {
    let (text, nth) = match text.split_once(" #") {
        Some((text, nth)) => (text, nth.parse().ok().filter(|nth| *nth > 0)?),
        None => (text, 1),
    };
    let (action, place) = text.split_once(' ')?;
    let (instant, effect) = place.split_once(' ')?;
    let action = match action {
        "kill" => Action::Kill,
        "stop" => Action::Stop,
        "panic" => Action::Panic,
        _ => return None,
    };
    let (instant, known) = match instant {
        "before" => (Instant::Before, &EFFECTS[..]),
        "within" => (Instant::Within, &WITHIN[..]),
        "after" => (Instant::After, &EFFECTS[..]),
        _ => return None,
    };
    let effect = known.iter().find(|known| **known == effect)?;
    Some(Chosen { action, instant, effect, nth })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_point_says_what_happens_where_and_when() {
        let chosen = |action, instant, effect, nth| Some(Chosen { action, instant, effect, nth });
        assert_eq!(parse("kill before commit #3"), chosen(Action::Kill, Instant::Before, "commit", 3));
        assert_eq!(parse("stop after send offsets"), chosen(Action::Stop, Instant::After, "send offsets", 1));
        assert_eq!(parse("panic within send #12"), chosen(Action::Panic, Instant::Within, "send", 12));
        for wrong in [
            "",
            "kill",
            "kill commit",
            "kill before",
            "kill  before commit",
            "burn before commit",
            "kill beside commit",
            "kill before committing",
            "kill within claim",
            "kill before commit #0",
            "kill before commit #",
            "kill before commit#1",
            "kill before commit #1 #2",
        ] {
            assert_eq!(parse(wrong), None, "`{wrong}`");
        }
    }

    #[test]
    fn only_the_nth_passing_of_the_chosen_instant_strikes() {
        let point = FaultPoint { chosen: parse("panic after log #2"), ..FaultPoint::default() };
        let struck = |instant, effect| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| point.pass(instant, effect))).is_err()
        };
        assert!(!struck(Instant::After, "log"));
        assert!(!struck(Instant::Before, "log"));
        assert!(!struck(Instant::After, "commit"));
        assert!(struck(Instant::After, "log"));
        assert!(!struck(Instant::After, "log"));
    }
}
