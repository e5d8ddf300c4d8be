//! Lines of the log that would come again and again while something lasts: the first of them, then one an
//! interval with how many were held back.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often people want to be told that something still lasts.
pub const REMINDER_EVERY: Duration = Duration::from_mins(1);

/// Lets one line of a kind through an interval.
#[derive(Debug)]
pub struct Rarely {
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    told: Option<Instant>,
    held_back: u64,
}

impl Rarely {
    /// The first line is let through, and the first after each interval.
    pub const fn every(every: Duration) -> Self {
        Self { every, state: Mutex::new(State { told: None, held_back: 0 }) }
    }

    /// Whether to tell now: how many lines were held back since the last one that was told, or `None` to hold
    /// this one back too.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.told.is_some_and(|told| now.saturating_duration_since(told) < self.every) {
            state.held_back += 1;
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_then_one_an_interval_with_a_count() {
        let lines = Rarely::every(REMINDER_EVERY);
        let began = Instant::now();
        let at = |seconds| lines.admit(began + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(59)], [Some(0), None, None]);
        assert_eq!([at(60), at(61)], [Some(2), None]);
        assert_eq!(at(600), Some(1));
        assert_eq!(at(1_000), Some(0));
    }
}
