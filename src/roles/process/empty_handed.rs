//! A static member whose first assignment is empty joins once more.
//!
//! Kafka answers a static member that comes back with the assignment it stored for it, without a rebalance, and
//! librdkafka (2.12) doesn't learn from that answer whether it leads the group. Stored as empty, because its
//! broker didn't know the topic yet when it was made, it would stay empty through every restart. A join by a
//! member of the group that leads it makes Kafka share the partitions out anew; one by any other changes nothing.

use std::time::{Duration, Instant};

/// Time for the brokers to learn of a topic that was only just made.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether a worker still has to ask, once in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EmptyHanded {
    /// Nothing was assigned to this static member yet, not even nothing.
    Watching,
    /// Its first assignment was empty.
    Due(Instant),
    /// It has, or has asked.
    Over,
}

impl EmptyHanded {
    pub(super) fn new(is_static: bool) -> Self {
        if is_static { Self::Watching } else { Self::Over }
    }

    /// The group has assigned so many partitions.
    pub(super) fn assigned(&mut self, partitions: usize, now: Instant) {
        *self = match self {
            Self::Watching if partitions == 0 => Self::Due(now + PAUSE),
            _ => Self::Over,
        };
    }

    /// Whether to join again now; says so once.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let is_due = matches!(self, Self::Due(at) if now >= *at);
        if is_due {
            *self = Self::Over;
        }
        is_due
    }

    /// Whether the assignment isn't to be believed yet.
    pub(super) fn is_doubtful(self) -> bool {
        matches!(self, Self::Due(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_once_and_only_where_the_first_assignment_is_empty() {
        let now = Instant::now();
        let mut empty = EmptyHanded::new(true);
        assert!(!empty.take_due(now + PAUSE));
        empty.assigned(0, now);
        assert!(empty.is_doubtful() && !empty.take_due(now));
        assert!(empty.take_due(now + PAUSE) && !empty.is_doubtful());
        empty.assigned(0, now);
        assert!(!empty.take_due(now + 2 * PAUSE));

        let mut overtaken = EmptyHanded::new(true);
        overtaken.assigned(0, now);
        overtaken.assigned(3, now);
        assert!(!overtaken.take_due(now + PAUSE));

        let mut dynamic = EmptyHanded::new(false);
        dynamic.assigned(0, now);
        assert!(!dynamic.take_due(now + PAUSE));
    }
}
