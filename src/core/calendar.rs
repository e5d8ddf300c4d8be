//! Open time: how much of a stretch of time counts by a calendar.
//!
//! A calendar is a table of sessions in UTC, made from zones and holidays outside the core, so that nothing here
//! depends on time zone data. Before its first session and after its last one everything counts: a table that has
//! run out brings alarms, not silence.

use std::sync::Arc;

/// Which times count. Times are in ms since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    name: Arc<str>,
    /// Apart from each other, in order; none at all is always open.
    sessions: Arc<[Session]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Session {
    from: i64,
    until: i64,
    /// Open time of all sessions before.
    before: i64,
}

impl Calendar {
    /// The name of the calendar that is always open.
    pub const ALWAYS: &str = "24x7";

    /// Always open.
    pub fn always() -> Self {
        Self { name: Self::ALWAYS.into(), sessions: Arc::default() }
    }

    /// Open from the first to below the second time of each pair. Pairs may overlap and come in any order.
    pub fn of_sessions(name: &str, mut pairs: Vec<(i64, i64)>) -> Self {
        pairs.retain(|(from, until)| from < until);
        pairs.sort_unstable();
        let mut sessions: Vec<Session> = Vec::with_capacity(pairs.len());
        for (from, until) in pairs {
            match sessions.last_mut() {
                Some(last) if from <= last.until => last.until = last.until.max(until),
                last => {
                    let before = last.map_or(0, |last| last.before + (last.until - last.from));
                    sessions.push(Session { from, until, before });
                }
            }
        }
        Self { name: name.into(), sessions: sessions.into() }
    }

    /// What settings and events call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Open milliseconds from one time to a later one; 0 where it is not later.
    pub fn open_ms(&self, from: i64, to: i64) -> i64 {
        if to <= from { 0 } else { self.total(to).saturating_sub(self.total(from)) }
    }

    /// The first moment by which so many open milliseconds have passed since `from`.
    pub fn after(&self, from: i64, open_ms: i64) -> i64 {
        let target = self.total(from).saturating_add(open_ms);
        let index = self.sessions.partition_point(|session| session.before < target);
        match self.sessions.get(index.saturating_sub(1)) {
            Some(session) => session.from.saturating_add(target.saturating_sub(session.before)),
            None => target,
        }
    }

    /// Open time since the first session's begin; before it, the time until then, negative.
    fn total(&self, at: i64) -> i64 {
        let index = self.sessions.partition_point(|session| session.from < at);
        let Some(session) = self.sessions.get(index.saturating_sub(1)) else { return at };
        let since = at.saturating_sub(session.from);
        if index == 0 || index == self.sessions.len() && at > session.until {
            return session.before.saturating_add(since);
        }
        session.before + since.min(session.until - session.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_always_open_counts_all() {
        let always = Calendar::always();
        assert_eq!((always.open_ms(5, 9), always.open_ms(9, 5), always.after(5, 4)), (4, 0, 9));
        assert_eq!(always.open_ms(i64::MIN, i64::MAX), i64::MAX);
        assert_eq!(always.after(i64::MAX, 1), i64::MAX);
    }

    #[test]
    fn sessions_count_and_what_is_between_them_does_not() {
        let calendar = Calendar::of_sessions("c", vec![(300, 310), (100, 110), (105, 120), (7, 7)]);
        let rows = [
            ((100, 120), 20),
            ((100, 300), 20),
            ((110, 305), 15),
            ((120, 300), 0),
            ((150, 200), 0),
            ((90, 100), 10),
            ((305, 320), 15),
            ((310, 330), 20),
            ((90, 330), 60),
        ];
        for ((from, to), open_ms) in rows {
            assert_eq!(calendar.open_ms(from, to), open_ms, "{from} to {to}");
        }
        let rows = [((100, 5), 105), ((100, 20), 120), ((100, 21), 301), ((200, 1), 301), ((305, 9), 314)];
        for ((from, open_ms), at) in rows {
            assert_eq!(calendar.after(from, open_ms), at, "{open_ms} after {from}");
        }
    }

    proptest! {
        /// Against a count of every single millisecond, and `after` against `open_ms`.
        #[test]
        fn open_time_is_what_a_clock_would_count(
            pairs in proptest::collection::vec((0..80_i64, 0..20_i64), 0..6),
            from in -20..120_i64,
            length in 0..140_i64,
            wanted in 1..100_i64,
        ) {
            let pairs: Vec<(i64, i64)> = pairs.into_iter().map(|(from, length)| (from, from + length)).collect();
            let calendar = Calendar::of_sessions("c", pairs.clone());
            let real: Vec<(i64, i64)> = pairs.into_iter().filter(|(from, until)| from < until).collect();
            let first = real.iter().map(|(from, _)| *from).min();
            let last = real.iter().map(|(_, until)| *until).max();
            let is_open = |at: i64| {
                first.is_none_or(|first| at < first)
                    || last.is_none_or(|last| at >= last)
                    || real.iter().any(|(from, until)| (*from..*until).contains(&at))
            };
            let counted = i64::try_from((from..from + length).filter(|at| is_open(*at)).count()).unwrap();
            prop_assert_eq!(calendar.open_ms(from, from + length), counted);
            let after = calendar.after(from, wanted);
            prop_assert!(calendar.open_ms(from, after) >= wanted);
            prop_assert!(calendar.open_ms(from, after - 1) < wanted);
        }
    }
}
