//! Which symbol is asked for next, and when: pure, with the time as an argument.
//!
//! Promises: all symbols take turns; calls are spread evenly; in no minute and in no second does a server see
//! more calls than allowed, however long they are on their way, because a call counts from its start until
//! long enough after its end; a pause holds for all symbols.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// Calls under way at most: a slow one must not hold up the others, and a server in trouble must not get more.
const IN_FLIGHT_MAX: usize = 8;
const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);

/// How many calls are allowed, over all symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In any minute; 1 at least.
    pub calls_per_minute: u32,
    /// In any second; 1 at least.
    pub calls_per_second: u32,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Ask for this symbol, by its number.
    Ask(usize),
    /// Nothing before then.
    Wait(Instant),
    /// Nothing before one more call has ended.
    WaitForAnswer,
}

/// The order of symbols and the room for calls.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Symbols that are not being asked for, the next one first.
    queue: VecDeque<usize>,
    /// Symbols that are being asked for.
    asked: BTreeSet<usize>,
    /// Symbols whose last call had no answer, and that have been given another turn at once.
    retried: BTreeSet<usize>,
    /// Between the starts of two calls.
    pace: Duration,
    minute: Window,
    second: Window,
    not_before: Instant,
}

impl Schedule {
    /// A schedule for so many symbols.
    pub(super) fn new(symbols: usize, limits: Limits, now: Instant) -> Self {
        let (minute, second) = (limits.calls_per_minute.max(1), limits.calls_per_second.max(1));
        Self {
            queue: (0..symbols).collect(),
            asked: BTreeSet::new(),
            retried: BTreeSet::new(),
            pace: (MINUTE / minute).max(SECOND / second),
            minute: Window::new(minute, MINUTE),
            second: Window::new(second, SECOND),
            not_before: now,
        }
    }

    /// What to do at `now`.
    pub(super) fn turn(&mut self, now: Instant) -> Turn {
        let room = self.minute.room_at(self.asked.len(), now).zip(self.second.room_at(self.asked.len(), now));
        let Some((minute, second)) = room else { return Turn::WaitForAnswer };
        if self.queue.is_empty() || self.asked.len() >= IN_FLIGHT_MAX {
            return Turn::WaitForAnswer;
        }
        let at = self.not_before.max(minute).max(second);
        if at > now {
            return Turn::Wait(at);
        }
        let Some(symbol) = self.queue.pop_front() else { return Turn::WaitForAnswer };
        self.asked.insert(symbol);
        // A little late is made up for; a pause is not.
        let late = now.saturating_duration_since(self.not_before).min(self.pace);
        self.not_before = now + self.pace.saturating_sub(late);
        Turn::Ask(symbol)
    }

    /// The call for a symbol was answered: it takes its place behind the others.
    pub(super) fn answered(&mut self, symbol: usize, now: Instant) {
        self.end(symbol, now);
        self.retried.remove(&symbol);
        self.queue.push_back(symbol);
    }

    /// The call for a symbol had no answer: it is the next one again, once.
    pub(super) fn failed(&mut self, symbol: usize, now: Instant) {
        self.end(symbol, now);
        if self.retried.insert(symbol) {
            self.queue.push_front(symbol);
        } else {
            self.retried.remove(&symbol);
            self.queue.push_back(symbol);
        }
    }

    /// No call starts before `until`.
    pub(super) fn pause(&mut self, until: Instant) {
        self.not_before = self.not_before.max(until);
    }

    /// Calls under way are given up; they count all the same.
    pub(super) fn give_up(&mut self, now: Instant) {
        while let Some(symbol) = self.asked.last().copied() {
            self.end(symbol, now);
            self.queue.push_front(symbol);
        }
    }

    fn end(&mut self, symbol: usize, now: Instant) {
        if self.asked.remove(&symbol) {
            self.minute.ended(now);
            self.second.ended(now);
        }
    }
}

/// How many calls there were of late.
#[derive(Debug)]
struct Window {
    limit: usize,
    span: Duration,
    /// When the last calls ended, `limit` at most.
    ends: VecDeque<Instant>,
}

impl Window {
    fn new(limit: u32, span: Duration) -> Self {
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), span, ends: VecDeque::new() }
    }

    /// From when on there is room for one more call beside so many under way; `None` when not before one of
    /// these has ended.
    fn room_at(&mut self, in_flight: usize, now: Instant) -> Option<Instant> {
        while self.ends.front().is_some_and(|end| *end + self.span <= now) {
            self.ends.pop_front();
        }
        let free = self.limit.checked_sub(in_flight).filter(|free| *free > 0)?;
        // So many of the ended calls must be over for longer than the span.
        let over = (self.ends.len() + 1).saturating_sub(free);
        Some(over.checked_sub(1).and_then(|at| self.ends.get(at)).map_or(now, |end| *end + self.span))
    }

    fn ended(&mut self, now: Instant) {
        if self.ends.len() >= self.limit {
            self.ends.pop_front();
        }
        self.ends.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(calls_per_minute: u32, calls_per_second: u32) -> Limits {
        Limits { calls_per_minute, calls_per_second }
    }

    /// Runs a schedule for `span`, each call taking `takes` to be answered: the symbol, start and end of each.
    fn run(
        schedule: &mut Schedule,
        began: Instant,
        span: Duration,
        mut takes: impl FnMut(usize) -> Duration,
    ) -> Vec<(usize, Instant, Instant)> {
        let (mut now, mut calls) = (began, Vec::new());
        let mut under_way: Vec<(Instant, usize)> = Vec::new();
        while now < began + span {
            under_way.sort_unstable();
            if let Some((end, symbol)) = under_way.first().copied().filter(|(end, _)| *end <= now) {
                under_way.remove(0);
                schedule.answered(symbol, end);
                continue;
            }
            let next_end = under_way.first().map(|(end, _)| *end);
            match schedule.turn(now) {
                Turn::Ask(symbol) => {
                    let end = now + takes(calls.len());
                    calls.push((symbol, now, end));
                    under_way.push((end, symbol));
                }
                Turn::Wait(at) => now = next_end.map_or(at, |end| end.min(at)).max(now + NOTCH),
                Turn::WaitForAnswer => now = next_end.expect("there is a call to wait for").max(now + NOTCH),
            }
        }
        calls
    }

    const NOTCH: Duration = Duration::from_micros(1);

    /// The most calls that a server can have seen within `span`, each anywhere between its start and its end.
    fn most_within(calls: &[(usize, Instant, Instant)], span: Duration) -> usize {
        let counted = |from: Instant| {
            // One that ends at `from` or later may have arrived then; one that starts within the span, too.
            calls.iter().filter(|(_, start, end)| *end >= from && *start < from + span).count()
        };
        // The worst window begins where a call ends.
        calls.iter().map(|(_, _, end)| counted(*end)).max().unwrap_or(0)
    }

    #[test]
    fn symbols_take_turns_at_an_even_pace() {
        let began = Instant::now();
        let mut schedule = Schedule::new(4, limits(60, 30), began);
        let calls = run(&mut schedule, began, Duration::from_secs(20), |_| Duration::from_millis(80));
        let order: Vec<usize> = calls.iter().map(|(symbol, ..)| *symbol).take(9).collect();
        assert_eq!(order, [0, 1, 2, 3, 0, 1, 2, 3, 0]);
        for pair in calls.windows(2) {
            let apart = pair[1].1 - pair[0].1;
            assert!(apart.abs_diff(SECOND) < Duration::from_millis(10), "{apart:?}");
        }
    }

    #[test]
    fn a_slow_call_holds_up_nobody_else() {
        let began = Instant::now();
        let mut schedule = Schedule::new(3, limits(600, 30), began);
        let takes = |call| if call == 1 { Duration::from_secs(9) } else { Duration::from_millis(10) };
        let calls = run(&mut schedule, began, Duration::from_secs(10), takes);
        assert!(calls.len() > 90, "{} calls", calls.len());
        assert_eq!(calls.iter().filter(|(symbol, ..)| *symbol == 1).count(), 1 + 10 / 3);
    }

    #[test]
    fn a_pause_holds_for_all_and_is_not_made_up_for() {
        let began = Instant::now();
        let mut schedule = Schedule::new(2, limits(600, 30), began);
        schedule.pause(began + MINUTE);
        schedule.pause(began + SECOND);
        assert_eq!(schedule.turn(began), Turn::Wait(began + MINUTE));
        let calls = run(&mut schedule, began, MINUTE + SECOND, |_| NOTCH);
        assert_eq!(calls[0].1, began + MINUTE);
        assert!((9..=11).contains(&calls.len()), "{} calls", calls.len());
    }

    #[test]
    fn a_failed_call_is_tried_again_at_once_but_not_for_ever() {
        let now = Instant::now();
        let mut schedule = Schedule::new(2, limits(6_000, 1_000), now);
        let mut asked = Vec::new();
        for step in 0..6 {
            let now = now + SECOND * step;
            let Turn::Ask(symbol) = schedule.turn(now) else { panic!("expected a turn") };
            asked.push(symbol);
            if symbol == 0 { schedule.failed(symbol, now) } else { schedule.answered(symbol, now) }
        }
        assert_eq!(asked, [0, 0, 1, 0, 0, 1]);
    }

    #[test]
    fn calls_that_are_given_up_count_and_come_first() {
        let now = Instant::now();
        let mut schedule = Schedule::new(3, limits(2, 2), now);
        assert_eq!(schedule.turn(now), Turn::Ask(0));
        schedule.give_up(now);
        schedule.pause(now);
        let later = now + MINUTE / 2;
        assert_eq!(schedule.turn(later), Turn::Ask(0));
        assert_eq!(schedule.turn(later + SECOND), Turn::Wait(now + MINUTE));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_server_sees_too_many(
            symbols in 1..40_usize,
            per_minute in 1..400_u32,
            per_second in 1..12_u32,
            takes in proptest::collection::vec(0..4_000_u64, 1..20),
        ) {
            let began = Instant::now();
            let mut schedule = Schedule::new(symbols, limits(per_minute, per_second), began);
            let duration = |call: usize| Duration::from_millis(takes[call % takes.len()]) + NOTCH;
            let calls = run(&mut schedule, began, MINUTE * 3, duration);
            prop_assert!(!calls.is_empty());
            prop_assert!(most_within(&calls, MINUTE) <= per_minute as usize);
            prop_assert!(most_within(&calls, SECOND) <= per_second as usize);
        }
    }
}
