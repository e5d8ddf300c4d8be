//! How long somebody who was asked has said nothing, and what went wrong last.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// The signs of life of Cassandra, or of brokers.
#[derive(Debug)]
pub(super) struct Pulse {
    last_answer: Cell<Instant>,
    last_trouble: RefCell<Option<String>>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { last_answer: Cell::new(Instant::now()), last_trouble: RefCell::new(None) }
    }

    /// How long nothing was answered, and what failed last since then.
    pub(super) fn silence(&self) -> (Duration, Option<String>) {
        (self.last_answer.get().elapsed(), self.last_trouble.borrow().clone())
    }

    /// Nothing was asked, so that silence means nothing.
    pub(super) fn rest(&self) {
        self.last_answer.set(Instant::now());
    }

    pub(super) fn answered(&self) {
        self.rest();
        self.last_trouble.replace(None);
    }

    pub(super) fn troubled(&self, trouble: String) {
        self.last_trouble.replace(Some(trouble));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_lasts_until_an_answer() {
        let pulse = Pulse::new();
        pulse.troubled("timeout: none".to_owned());
        assert!(pulse.silence().1.is_some());
        pulse.answered();
        assert!(pulse.silence().1.is_none());
    }
}
