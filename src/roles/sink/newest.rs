//! Which rows of `latest` are to be written: of all rows of a symbol that came while Cassandra was busy, only the
//! newest. Pure; a row comes here once `stock` has it, and is done with the write that covers it.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::writing::Taken;

/// A symbol that trades without a pause is written so often.
const WITHIN: Duration = Duration::from_secs(1);

/// One write of `latest`.
#[derive(Debug)]
pub(super) struct Latest {
    /// The row to write.
    pub(super) newest: Rc<Taken>,
    /// All rows that need nothing more once it is written, the newest among them.
    pub(super) covered: Vec<Rc<Taken>>,
}

/// Writes to come, by symbol.
#[derive(Debug, Default)]
pub(super) struct Newest {
    pending: HashMap<String, Latest>,
    /// Each pending symbol once, in the order of its first row, and when that came.
    order: VecDeque<(String, Instant)>,
}

impl Newest {
    /// A row that `stock` has.
    pub(super) fn add(&mut self, taken: Rc<Taken>, now: Instant) {
        if let Some(pending) = self.pending.get_mut(&taken.row.symbol) {
            if taken.row.is_newer_than(&pending.newest.row) {
                pending.newest = Rc::clone(&taken);
            }
            pending.covered.push(taken);
            return;
        }
        self.order.push_back((taken.row.symbol.clone(), now));
        let latest = Latest { newest: Rc::clone(&taken), covered: vec![taken.clone()] };
        self.pending.insert(taken.row.symbol.clone(), latest);
    }

    /// The next write: the first in order when there is nothing better to do, else only one that has waited.
    pub(super) fn next(&mut self, now: Instant, is_idle: bool) -> Option<Latest> {
        let (_, since) = self.order.front()?;
        if !is_idle && now.saturating_duration_since(*since) < WITHIN {
            return None;
        }
        let (symbol, _) = self.order.pop_front()?;
        self.pending.remove(&symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::sink::writing::tests::taken;

    #[test]
    fn only_the_newest_row_of_a_symbol_is_written_and_covers_the_others() {
        let (mut newest, now) = (Newest::default(), Instant::now());
        for (symbol, offset, time_ms) in
            [("A", 1, 10), ("B", 2, 10), ("A", 3, 30), ("A", 4, 20), ("A", 5, 30)]
        {
            newest.add(taken(symbol, offset, time_ms), now);
        }
        assert!(newest.next(now, false).is_none());
        let latest = newest.next(now, true).unwrap();
        assert_eq!((latest.newest.row.source.offset, latest.covered.len()), (5, 4));
        assert!(newest.next(now + WITHIN, false).is_some());
        assert!(newest.next(now + WITHIN, true).is_none());
    }
}
