//! A partition's rows beside the changelog's: what it must hold at a position is the last record of each key below
//! that position, and nothing where that is a tombstone.
//!
//! The rows come in pages, each of one moment: all rows of a range of keys, at the position of that moment. So a
//! store may be written while it is compared; every key is held against the changelog at its own page's position.
//!
//! Compaction takes a record once a later one of its key is there, and takes a key's older records first. So a key
//! without any record below its position, but with one beyond, cannot be judged any more: it was superseded.

use std::collections::HashMap;

use openssl::sha::Sha256;

use crate::model::Offset;

/// One partition under comparison. Feed it its pages, then the whole changelog as it is after that.
#[derive(Debug, Default)]
pub(super) struct Fold {
    /// The last key and the position of each page but the last, whose range has no end.
    cuts: Vec<(Box<[u8]>, Offset)>,
    last: Offset,
    keys: HashMap<Box<[u8]>, Entry>,
    stored: u64,
}

#[derive(Debug, Default)]
struct Entry {
    stored: Option<Box<[u8]>>,
    expected: Expected,
    /// There is a record at or beyond the position.
    superseded: bool,
}

/// What the last record below the position says.
#[derive(Debug, Default, PartialEq, Eq)]
enum Expected {
    /// There is none.
    #[default]
    Unknown,
    /// It is a tombstone.
    Nothing,
    /// What is stored.
    Stored,
    Other(Box<[u8]>),
}

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compared {
    /// Rows that are stored.
    pub(super) rows: u64,
    /// Of these, superseded in the changelog: not judged.
    pub(super) superseded: u64,
    /// Of what is stored.
    pub(super) stored: Digest,
    /// Of what the changelog calls for.
    pub(super) expected: Digest,
    /// How many keys differ.
    pub(super) different: u64,
    /// The first of them, by key.
    pub(super) first: Vec<Difference>,
}

/// A key whose row is not as the changelog has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) key: Vec<u8>,
    pub(super) stored: Option<Vec<u8>>,
    pub(super) expected: Option<Vec<u8>>,
}

/// Stands for a set of rows, in whatever order they come: the sum of the first half of each row's SHA-256.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest(u128);

impl Fold {
    /// Takes the next page of rows, in the order of keys; `has_more` says whether another follows.
    pub(super) fn page(&mut self, rows: Vec<(Vec<u8>, Vec<u8>)>, position: Offset, has_more: bool) {
        self.last = position;
        if let (true, Some((key, _))) = (has_more, rows.last()) {
            self.cuts.push((key.as_slice().into(), position));
        }
        self.stored += rows.len() as u64;
        for (key, value) in rows {
            let entry = Entry { stored: Some(value.into()), ..Entry::default() };
            self.keys.insert(key.into(), entry);
        }
    }

    /// The highest position of all pages: the changelog is to be read so far at least.
    pub(super) fn until(&self) -> Offset {
        self.cuts.iter().map(|(_, position)| *position).fold(self.last, Offset::max)
    }

    /// Takes the changelog's next record.
    pub(super) fn record(&mut self, offset: Offset, key: &[u8], value: Option<&[u8]>) {
        let page = self.cuts.partition_point(|(last, _)| **last < *key);
        let position = self.cuts.get(page).map_or(self.last, |(_, position)| *position);
        let entry = match self.keys.get_mut(key) {
            Some(entry) => entry,
            None => self.keys.entry(key.into()).or_default(),
        };
        if offset >= position {
            entry.superseded = true;
            return;
        }
        entry.expected = match value {
            None => Expected::Nothing,
            Some(value) if entry.stored.as_deref() == Some(value) => Expected::Stored,
            Some(value) => Expected::Other(value.into()),
        };
    }

    /// The comparison, with at most `shown_max` differences. `may_lack_tombstones`: the state is so old that
    /// tombstones which it has not seen may be gone, so what has no record at all is not judged either.
    pub(super) fn finish(self, shown_max: usize, may_lack_tombstones: bool) -> Compared {
        let mut compared = Compared {
            rows: self.stored,
            superseded: 0,
            stored: Digest::default(),
            expected: Digest::default(),
            different: 0,
            first: Vec::new(),
        };
        for (key, entry) in self.keys {
            let stored = entry.stored.as_deref();
            let expected = match &entry.expected {
                Expected::Unknown if stored.is_some() && (entry.superseded || may_lack_tombstones) => {
                    compared.superseded += 1;
                    stored
                }
                Expected::Unknown | Expected::Nothing => None,
                Expected::Stored => stored,
                Expected::Other(value) => Some(&**value),
            };
            compared.stored.add(&key, stored);
            compared.expected.add(&key, expected);
            if stored != expected {
                compared.different += 1;
                compared.show(&key, stored, expected, shown_max);
            }
        }
        compared.cut(shown_max);
        compared
    }
}

impl Compared {
    /// Keeps the first differences of those that have come so far.
    fn show(&mut self, key: &[u8], stored: Option<&[u8]>, expected: Option<&[u8]>, shown_max: usize) {
        let (stored, expected) = (stored.map(<[u8]>::to_vec), expected.map(<[u8]>::to_vec));
        self.first.push(Difference { key: key.to_vec(), stored, expected });
        // Sorted and cut now and then, so that a store that differs everywhere does not fill memory.
        if self.first.len() > 2 * shown_max.max(16) {
            self.cut(shown_max);
        }
    }

    fn cut(&mut self, shown_max: usize) {
        self.first.sort_by(|one, other| one.key.cmp(&other.key));
        self.first.truncate(shown_max);
    }
}

impl Digest {
    fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some(value) = value else { return };
        let mut hash = Sha256::new();
        hash.update(&(key.len() as u64).to_be_bytes());
        hash.update(key);
        hash.update(value);
        let hash = hash.finish();
        let half = hash.first_chunk().expect("a SHA-256 has 32 bytes");
        self.0 = self.0.wrapping_add(u128::from_be_bytes(*half));
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Record = (u8, Option<u8>);

    fn key(of: u8) -> Vec<u8> {
        vec![b's', of]
    }

    /// The rows at a position.
    fn rows_at(log: &[Record], position: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut rows = BTreeMap::new();
        for (of, value) in &log[..position] {
            match value {
                Some(value) => rows.insert(key(*of), vec![*value]),
                None => rows.remove(&key(*of)),
            };
        }
        rows
    }

    /// Pages of `page_rows`, each as the store stood at the next of the positions.
    fn paged(log: &[Record], positions: &[usize], page_rows: usize) -> Fold {
        let mut fold = Fold::default();
        let mut after: Option<Vec<u8>> = None;
        let mut at = positions.iter().copied();
        let mut position = 0;
        loop {
            position = at.next().unwrap_or(position).max(position).min(log.len());
            let behind = |key: &Vec<u8>| after.as_ref().is_none_or(|after| key > after);
            let mut rows = rows_at(log, position).into_iter().filter(|(key, _)| behind(key));
            let page: Vec<_> = rows.by_ref().take(page_rows).collect();
            let has_more = rows.next().is_some();
            after = page.last().map(|(key, _)| key.clone()).or(after);
            fold.page(page, i64::try_from(position).unwrap(), has_more);
            if !has_more {
                return fold;
            }
        }
    }

    /// Feeds what compaction up to an offset has left.
    fn feed(fold: &mut Fold, log: &[Record], compacted: usize) {
        for (offset, (of, value)) in log.iter().enumerate() {
            let is_superseded =
                log[offset + 1..compacted.max(offset + 1)].iter().any(|(other, _)| other == of);
            if !is_superseded {
                fold.record(
                    i64::try_from(offset).unwrap(),
                    &key(*of),
                    value.map(|value| [value]).as_ref().map(|value| &value[..]),
                );
            }
        }
    }

    fn log() -> impl Strategy<Value = Vec<Record>> {
        proptest::collection::vec((0..8_u8, any::<Option<u8>>()), 0..60)
    }

    proptest! {
        /// However the store moves between pages, and whatever compaction took, a true store is whole.
        #[test]
        fn a_true_store_is_whole(
            log in log(),
            positions in proptest::collection::vec(0..60_usize, 1..9),
            page_rows in 1..4_usize,
            compacted in 0..61_usize,
        ) {
            let mut fold = paged(&log, &positions, page_rows);
            feed(&mut fold, &log, compacted.min(log.len()));
            let compared = fold.finish(10, false);
            prop_assert_eq!(&compared.first, &vec![]);
            prop_assert_eq!(compared.different, 0);
            prop_assert_eq!(compared.stored, compared.expected);
        }

        /// A row that was changed, lost or made up is found, unless the changelog has superseded it.
        #[test]
        fn a_false_row_is_found(log in log(), page_rows in 1..4_usize, of in 0..8_u8, value in any::<Option<u8>>()) {
            let mut rows = rows_at(&log, log.len());
            let expected = rows.get(&key(of)).cloned();
            let stored = value.map(|value| vec![value]);
            prop_assume!(stored != expected);
            match &stored {
                Some(value) => rows.insert(key(of), value.clone()),
                None => rows.remove(&key(of)),
            };
            let mut fold = Fold::default();
            let rows: Vec<_> = rows.into_iter().collect();
            let pages = rows.chunks(page_rows).count();
            let position = i64::try_from(log.len()).unwrap();
            for (number, page) in rows.chunks(page_rows).enumerate() {
                fold.page(page.to_vec(), position, number + 1 < pages);
            }
            if rows.is_empty() {
                fold.page(vec![], position, false);
            }
            feed(&mut fold, &log, log.len());
            let compared = fold.finish(10, false);
            prop_assert_eq!(compared.first, vec![Difference { key: key(of), stored, expected }]);
            prop_assert_eq!(compared.different, 1);
            prop_assert_ne!(compared.stored, compared.expected);
        }
    }

    #[test]
    fn the_first_differences_are_by_key() {
        let mut fold = Fold::default();
        let rows = (0..200_u8).map(|of| (key(of), vec![0])).collect();
        fold.page(rows, 7, false);
        assert_eq!(fold.until(), 7);
        let compared = fold.finish(3, false);
        let keys: Vec<_> = compared.first.iter().map(|difference| difference.key[1]).collect();
        assert_eq!((compared.different, keys), (200, vec![0, 1, 2]));
    }

    #[test]
    fn a_row_whose_tombstone_may_be_gone_is_not_judged() {
        let stale = || {
            let mut fold = Fold::default();
            fold.page(vec![(key(1), vec![1])], 5, false);
            fold
        };
        assert_eq!(stale().finish(1, false).different, 1);
        let compared = stale().finish(1, true);
        assert_eq!((compared.different, compared.superseded), (0, 1));
        // What is there to be judged by still is.
        let mut fold = stale();
        fold.record(3, &key(1), Some(&[2]));
        assert_eq!(fold.finish(1, true).different, 1);
    }
}
