//! How far a partition is done: the offset that may be committed.

use std::collections::VecDeque;

use crate::model::Offset;

/// One partition's records under way. What may be committed is the contiguous prefix that is done: a record
/// that is done past one that is not moves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix {
    /// Records taken and not known to be below the prefix's end, in order; whether each is done.
    open: VecDeque<(Offset, bool)>,
    /// Every record below has been taken.
    taken_until: Offset,
}

impl Prefix {
    /// A partition that is read from there on.
    pub(super) fn from(start: Offset) -> Self {
        Self { open: VecDeque::new(), taken_until: start }
    }

    /// Takes the next record in. Offsets rise, with gaps: not every one is a record. `false` for one that was
    /// taken before, which is nobody's work any more.
    pub(super) fn take(&mut self, offset: Offset) -> bool {
        if offset < self.taken_until {
            return false;
        }
        self.open.push_back((offset, false));
        self.taken_until = offset + 1;
        true
    }

    /// A record needs nothing more.
    pub(super) fn done(&mut self, offset: Offset) {
        if let Ok(at) = self.open.binary_search_by_key(&offset, |(offset, _)| *offset) {
            self.open[at].1 = true;
        }
        while self.open.front().is_some_and(|(_, is_done)| *is_done) {
            self.open.pop_front();
        }
    }

    /// There is no record below `until` that was not taken.
    pub(super) fn reach(&mut self, until: Offset) {
        self.taken_until = self.taken_until.max(until);
    }

    /// Every record below is done, and none beyond is known to be.
    pub(super) fn position(&self) -> Offset {
        self.open.front().map_or(self.taken_until, |(offset, _)| *offset)
    }

    /// Whether nothing that was taken is still to be done.
    pub(super) fn is_done(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_done_past_a_gap_moves_nothing() {
        let mut prefix = Prefix::from(5);
        assert_eq!(prefix.position(), 5);
        for offset in [5, 6, 9] {
            assert!(prefix.take(offset));
        }
        prefix.done(6);
        prefix.done(9);
        assert_eq!(prefix.position(), 5);
        prefix.done(5);
        assert_eq!(prefix.position(), 10);
        assert!(prefix.is_done());
    }

    #[test]
    fn what_was_taken_is_not_taken_again_and_ends_without_records_count() {
        let mut prefix = Prefix::from(5);
        assert!(!prefix.take(4) && prefix.take(7) && !prefix.take(7));
        prefix.reach(12);
        assert_eq!(prefix.position(), 7);
        prefix.done(7);
        assert_eq!(prefix.position(), 12);
        prefix.reach(3);
        assert_eq!(prefix.position(), 12);
    }

    proptest! {
        #[test]
        fn the_position_is_the_first_that_is_not_done(
            gaps in proptest::collection::vec(0..4_i64, 1..60),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..80),
        ) {
            let mut prefix = Prefix::from(0);
            let mut offsets = Vec::new();
            for gap in gaps {
                let offset = offsets.last().map_or(0, |last| last + 1) + gap;
                prop_assert!(prefix.take(offset));
                offsets.push(offset);
            }
            let mut done = BTreeSet::new();
            for index in order {
                let offset = *index.get(&offsets);
                prefix.done(offset);
                done.insert(offset);
                let first_open = offsets.iter().find(|offset| !done.contains(offset));
                let expected = first_open.copied().unwrap_or(offsets[offsets.len() - 1] + 1);
                prop_assert_eq!(prefix.position(), expected);
                prop_assert_eq!(prefix.is_done(), first_open.is_none());
            }
        }
    }
}
