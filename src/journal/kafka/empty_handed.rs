//! A member whose first assignments are empty joins again, a few times.
//!
//! Whoever leads the group shares out what the coordinator's broker knows of the topic. If that broker has not
//! heard yet of a topic that was only just made, every member gets nothing, and nothing changes that later: the
//! leader has seen the topic elsewhere and waits for no news of it. A static member that comes back gets the empty
//! assignment that Kafka stored for it, without a rebalance, and librdkafka (2.12) doesn't learn whether it leads.
//! A join by a leader makes Kafka share the partitions out anew; one by any other is answered at once. Where there
//! are more members than partitions, a leader without any costs its group [`ATTEMPTS_MAX`] rebalances after its start;
//! under a cooperative protocol every member without any does, as it has to leave to join again.

use std::time::{Duration, Instant};

/// Time for the brokers to learn of a topic that was only just made; twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a member asks, for seven seconds in all.
const ATTEMPTS_MAX: u32 = 3;

/// Whether a member still has to ask.
#[derive(Debug, Default)]
pub(super) struct EmptyHanded {
    /// Its assignments so far, all empty.
    empty: u32,
    /// It has had partitions, or has asked often enough.
    is_over: bool,
    due: Option<Instant>,
}

impl EmptyHanded {
    /// Of a member that need not ask.
    pub(super) fn never() -> Self {
        Self { is_over: true, ..Self::default() }
    }

    /// The group has assigned so many partitions.
    pub(super) fn assigned(&mut self, partitions: usize, now: Instant) {
        self.is_over |= partitions > 0 || self.empty == ATTEMPTS_MAX;
        self.due = (!self.is_over).then(|| now + PAUSE * 2_u32.pow(self.empty));
        self.empty += u32::from(!self.is_over);
    }

    /// Whether to join again now; says so once an assignment.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| now >= *due).is_some()
    }

    /// Whether the group has assigned nothing that is to be believed yet.
    pub(super) fn is_doubtful(&self) -> bool {
        self.empty > 0 && !self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_a_few_times_and_only_while_there_was_nothing() {
        let mut now = Instant::now();
        let mut member = EmptyHanded::default();
        assert!(!member.take_due(now + PAUSE) && !member.is_doubtful());
        for attempt in 0..ATTEMPTS_MAX {
            member.assigned(0, now);
            assert!(member.is_doubtful() && !member.take_due(now), "{attempt}");
            now += PAUSE * 2_u32.pow(attempt);
            assert!(member.take_due(now) && !member.take_due(now), "{attempt}");
            assert!(member.is_doubtful());
        }
        member.assigned(0, now);
        assert!(!member.is_doubtful() && !member.take_due(now + 100 * PAUSE));
    }

    #[test]
    fn what_had_partitions_once_is_believed() {
        let now = Instant::now();
        let mut member = EmptyHanded::default();
        member.assigned(0, now);
        member.assigned(3, now);
        assert!(!member.is_doubtful() && !member.take_due(now + 100 * PAUSE));
        member.assigned(0, now);
        assert!(!member.is_doubtful() && !member.take_due(now + 100 * PAUSE));
    }
}
