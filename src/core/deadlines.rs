//! When to look at which symbols.
//!
//! A partition's symbols, in the order of their names, are cut into pages of some dozens, and a page keeps one
//! moment: none of its symbols is due before. Who a page's symbols are and when each is due, the store says
//! when that moment has come. So memory does not grow with what is watched, but for a few bytes a symbol, and a
//! record moves nothing here: a later deadline leaves the page's moment too early, which costs one look.
//!
//! A partition that was just taken over is one page that nobody has looked through. It is cut up by scanning the
//! store bit by bit, so a takeover does not wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::sync::Arc;

use super::class::{Class, Classes};
use super::freshness::{self, Standing};
use super::input::NamedRow;
use crate::model::{Level, Partition, SymbolRow};

/// The moment of a page that nobody has looked through.
const UNKNOWN: i64 = i64::MIN;
/// The moment of a page without a symbol that awaits notice.
const NEVER: i64 = i64::MAX;

/// A page's first possible name; the next page's ends it.
pub(super) type First = Arc<str>;

/// Symbols of a partition whose names follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Which partition.
    pub partition: Partition,
    /// The first name that may be in it.
    pub from: Arc<str>,
    /// The first name behind it; `None` is the partition's end.
    pub until: Option<Arc<str>>,
}

/// What is known of a page without looking.
#[derive(Debug, Clone, Copy, Default)]
struct Page {
    /// Wall time in ms; never later than the first deadline in the page.
    at: i64,
    symbols: usize,
    count: Count,
}

/// How many symbols are watched, by how they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) fresh: usize,
    pub(super) warn: usize,
    pub(super) error: usize,
}

impl Count {
    fn of(&mut self, standing: Standing) -> Option<&mut usize> {
        match standing {
            Standing::Unwatched => None,
            Standing::Fresh => Some(&mut self.fresh),
            Standing::Silent(Level::Warn) => Some(&mut self.warn),
            Standing::Silent(Level::Error) => Some(&mut self.error),
        }
    }

    fn add(&mut self, standing: Standing) {
        if let Some(count) = self.of(standing) {
            *count += 1;
        }
    }

    fn remove(&mut self, standing: Standing) {
        if let Some(count) = self.of(standing) {
            *count = count.saturating_sub(1);
        }
    }
}

/// All pages of the worker's partitions, also by their moments.
#[derive(Debug)]
pub(super) struct Deadlines {
    page_symbols: usize,
    pages: BTreeMap<Partition, BTreeMap<First, Page>>,
    by_time: BTreeSet<(i64, Partition, First)>,
}

impl Deadlines {
    /// Without partitions; a page is cut in pieces of `page_symbols` when it has more than twice as many.
    pub(super) fn new(page_symbols: usize) -> Self {
        Self { page_symbols: page_symbols.max(1), pages: BTreeMap::new(), by_time: BTreeSet::new() }
    }

    /// A partition of which nothing is known, or no longer.
    pub(super) fn add(&mut self, partition: Partition) {
        if self.pages.contains_key(&partition) {
            self.forget(&[partition]);
        }
        self.put(partition, "".into(), Page { at: UNKNOWN, ..Page::default() });
    }

    pub(super) fn forget(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.pages.remove(partition);
        }
        self.by_time.retain(|(_, of, _)| !partitions.contains(of));
    }

    /// A page that nobody has looked through.
    pub(super) fn unknown(&self) -> Option<Span> {
        let (at, partition, first) = self.by_time.first()?;
        (*at == UNKNOWN).then(|| self.span(*partition, first))
    }

    /// The first moment at which something may be due, among what is known.
    pub(super) fn first(&self) -> Option<i64> {
        self.by_time.first().map(|(at, _, _)| *at)
    }

    /// The partitions with pages whose moment has come.
    pub(super) fn due_partitions(&self, until: i64) -> Vec<Partition> {
        let partitions: BTreeSet<Partition> = self.due(until).map(|(_, partition, _)| *partition).collect();
        partitions.into_iter().collect()
    }

    /// The pages of these partitions whose moment has come, earliest first: about `symbols_max` symbols, but at
    /// least one page.
    pub(super) fn due_pages(&self, until: i64, of: &[Partition], symbols_max: usize) -> Vec<Span> {
        let mut symbols = 0;
        let mut spans = Vec::new();
        for (_, partition, first) in self.due(until).filter(|(_, partition, _)| of.contains(partition)) {
            symbols += self.pages[partition][first].symbols;
            if symbols > symbols_max && !spans.is_empty() {
                break;
            }
            spans.push(self.span(*partition, first));
        }
        spans
    }

    /// Takes in the rows of a page, in the order of names: `limit` rows may not have been all. Answers the pages
    /// that it is now, each with its rows.
    pub(super) fn scanned(
        &mut self,
        span: &Span,
        rows: &[NamedRow],
        limit: usize,
        classes: &Classes,
    ) -> Vec<(First, Range<usize>)> {
        let partition = span.partition;
        self.take(partition, &span.from);
        let seen = match rows {
            [seen @ .., last] if rows.len() >= limit => {
                // Where the scan ended, the rest begins.
                self.put(partition, (*last.0).into(), Page { at: UNKNOWN, ..Page::default() });
                seen
            }
            all => all,
        };
        if seen.is_empty() {
            // Without a symbol it belongs to the page before; the first one stays.
            if span.from.is_empty() {
                self.put(partition, span.from.clone(), Page { at: NEVER, ..Page::default() });
            }
            return Vec::new();
        }
        let size = if seen.len() > 2 * self.page_symbols { self.page_symbols } else { seen.len() };
        let mut pages = Vec::with_capacity(seen.len().div_ceil(size));
        for (start, part) in (0..).step_by(size).zip(seen.chunks(size)) {
            let first: First = if start == 0 { span.from.clone() } else { (*part[0].0).into() };
            self.put(partition, first.clone(), Page::of(part, classes));
            pages.push((first, start..start + part.len()));
        }
        pages
    }

    /// Nothing of the page is due before `at` any more.
    pub(super) fn settle(&mut self, partition: Partition, first: &First, at: Option<i64>) {
        if let Some(page) = self.take(partition, first) {
            self.put(partition, first.clone(), Page { at: at.unwrap_or(NEVER), ..page });
        }
    }

    /// A symbol's row was changed by a committed round.
    pub(super) fn moved(
        &mut self,
        partition: Partition,
        symbol: &str,
        class: &Class,
        before: Option<&SymbolRow>,
        after: Option<&SymbolRow>,
    ) {
        let is = |row: Option<&SymbolRow>| (row.is_some(), freshness::standing(row, class));
        let (was, now) = (is(before), is(after));
        let from = |row: Option<&SymbolRow>| row.and_then(freshness::silence_from);
        if was == now && from(before) <= from(after) {
            // A later silence of the same standing is due later.
            return;
        }
        let Some((first, page)) = self.page_of(partition, symbol) else { return };
        if page.at == UNKNOWN {
            return;
        }
        page.symbols = (page.symbols + usize::from(now.0)).saturating_sub(usize::from(was.0));
        page.count.add(now.1);
        page.count.remove(was.1);
        let deadline = after.and_then(|row| freshness::deadline(row, class));
        if let Some(at) = deadline.filter(|at| *at < page.at) {
            let page = Page { at, ..*page };
            let first = first.clone();
            self.take(partition, &first);
            self.put(partition, first, page);
        }
    }

    /// Over all pages that are known.
    pub(super) fn count(&self) -> Count {
        self.pages.values().flat_map(BTreeMap::values).fold(Count::default(), |sum, page| Count {
            fresh: sum.fresh + page.count.fresh,
            warn: sum.warn + page.count.warn,
            error: sum.error + page.count.error,
        })
    }

    fn due(&self, until: i64) -> impl Iterator<Item = &(i64, Partition, First)> {
        self.by_time.iter().take_while(move |(at, _, _)| *at <= until).filter(|(at, _, _)| *at != UNKNOWN)
    }

    fn page_of(&mut self, partition: Partition, symbol: &str) -> Option<(&First, &mut Page)> {
        let up_to = (Bound::Unbounded, Bound::Included(symbol));
        self.pages.get_mut(&partition)?.range_mut::<str, _>(up_to).next_back()
    }

    fn span(&self, partition: Partition, first: &First) -> Span {
        let rest = (Bound::Excluded(&**first), Bound::Unbounded);
        let behind = self.pages[&partition].range::<str, _>(rest).next();
        Span { partition, from: first.clone(), until: behind.map(|(first, _)| first.clone()) }
    }

    fn put(&mut self, partition: Partition, first: First, page: Page) {
        if page.at != NEVER {
            self.by_time.insert((page.at, partition, first.clone()));
        }
        self.pages.entry(partition).or_default().insert(first, page);
    }

    fn take(&mut self, partition: Partition, first: &First) -> Option<Page> {
        let page = self.pages.get_mut(&partition)?.remove(first)?;
        self.by_time.remove(&(page.at, partition, first.clone()));
        Some(page)
    }
}

impl Page {
    fn of(rows: &[NamedRow], classes: &Classes) -> Self {
        let mut page = Self { at: NEVER, symbols: rows.len(), count: Count::default() };
        for (symbol, row) in rows {
            let class = classes.class_of(symbol);
            page.at = freshness::deadline(row, class).map_or(page.at, |at| at.min(page.at));
            page.count.add(freshness::standing(Some(row), class));
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WARN_MS: i64 = 7;
    const THRESHOLD_MS: i64 = 10;

    fn classes() -> Classes {
        Classes::of_one(Some(WARN_MS), Some(THRESHOLD_MS))
    }

    fn deadline(row: &SymbolRow) -> Option<i64> {
        freshness::deadline(row, classes().class_of(""))
    }

    type Rows = BTreeMap<Box<str>, SymbolRow>;

    fn seen(last_seen: i64) -> SymbolRow {
        SymbolRow { last_seen: Some(last_seen), ..SymbolRow::default() }
    }

    fn rows_of(store: &Rows, span: &Span, limit: usize) -> Vec<(Box<str>, SymbolRow)> {
        let inside = |name: &str| name >= &*span.from && span.until.as_deref().is_none_or(|end| name < end);
        let inside = store.iter().filter(|(name, _)| inside(name));
        inside.take(limit).map(|(name, row)| (name.clone(), row.clone())).collect()
    }

    /// Looks everything through that nobody has.
    fn look_through(deadlines: &mut Deadlines, store: &Rows, limit: usize) {
        while let Some(span) = deadlines.unknown() {
            deadlines.scanned(&span, &rows_of(store, &span, limit), limit, &classes());
        }
    }

    #[test]
    fn a_partition_is_cut_into_pages_of_the_size() {
        let store: Rows = (0..100).map(|at| (format!("{at:03}").into(), seen(at))).collect();
        let mut deadlines = Deadlines::new(8);
        deadlines.add(3);
        assert_eq!(deadlines.first(), Some(UNKNOWN));
        look_through(&mut deadlines, &store, 30);
        let sizes: Vec<usize> = deadlines.pages[&3].values().map(|page| page.symbols).collect();
        assert!(sizes.iter().all(|size| (1..=16).contains(size)), "{sizes:?}");
        assert_eq!(deadlines.count(), Count { fresh: 100, warn: 0, error: 0 });
        assert_eq!(deadlines.first(), Some(WARN_MS + 1));
        let due = deadlines.due_pages(WARN_MS + 1, &[3], 1_000);
        assert_eq!(due.len(), 1);
        assert_eq!((&*due[0].from, due[0].until.as_deref()), ("", Some("008")));
        assert!(deadlines.due_pages(WARN_MS + 1, &[4], 1_000).is_empty());
        deadlines.forget(&[3]);
        assert_eq!(deadlines.first(), None);
    }

    #[test]
    fn a_page_without_symbols_joins_the_one_before() {
        let mut deadlines = Deadlines::new(1);
        deadlines.add(0);
        let store: Rows = ["A", "B", "C"].into_iter().map(|name| (name.into(), seen(1))).collect();
        look_through(&mut deadlines, &store, 100);
        assert_eq!(deadlines.pages[&0].len(), 3);
        let last = deadlines.due_pages(1_000, &[0], 100).pop().expect("all are due");
        assert!(deadlines.scanned(&last, &[], 100, &classes()).is_empty());
        assert_eq!(deadlines.pages[&0].len(), 2);
        deadlines.moved(0, "Z", classes().class_of("Z"), None, Some(&seen(0)));
        assert_eq!(deadlines.first(), Some(8), "the page before has what comes behind it now");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Write(u8, Option<(i64, u8)>),
        Look(i64),
        Scan,
        TakeOver,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (any::<u8>(), proptest::option::of((0..100_i64, 0..3_u8)))
                .prop_map(|(name, row)| Step::Write(name % 40, row)),
            2 => (0..120_i64).prop_map(Step::Look),
            2 => Just(Step::Scan),
            1 => Just(Step::TakeOver),
        ]
    }

    proptest! {
        /// No symbol is due before its page is, each is in exactly one page, and what is counted is there.
        #[test]
        fn pages_never_miss_a_deadline(
            steps in proptest::collection::vec(step(), 1..80),
            page_symbols in 1..5_usize,
            limit in 2..9_usize,
        ) {
            let mut store = Rows::new();
            let mut deadlines = Deadlines::new(page_symbols);
            deadlines.add(0);
            for step in steps {
                match step {
                    Step::Write(name, row) => {
                        let name: Box<str> = format!("S{name}").into();
                        let after = row.map(|(last_seen, levels)| SymbolRow {
                            reported: (levels > 0).then_some(crate::model::Reported {
                                silence_from: last_seen,
                                warn: true,
                                error: levels > 1,
                            }),
                            ..seen(last_seen)
                        });
                        let before = store.get(&name).cloned();
                        let classes = classes();
                        let class = classes.class_of(&name);
                        deadlines.moved(0, &name, class, before.as_ref(), after.as_ref());
                        match after {
                            Some(row) => drop(store.insert(name, row)),
                            None => drop(store.remove(&name)),
                        }
                    }
                    Step::Look(until) => {
                        for span in deadlines.due_pages(until, &[0], 20) {
                            let rows = rows_of(&store, &span, limit);
                            for (first, range) in deadlines.scanned(&span, &rows, limit, &classes()) {
                                let left = rows[range].iter();
                                let at = left.filter_map(|(_, row)| deadline(row)).min();
                                deadlines.settle(0, &first, at);
                            }
                        }
                    }
                    Step::Scan => {
                        if let Some(span) = deadlines.unknown() {
                            deadlines.scanned(&span, &rows_of(&store, &span, limit), limit, &classes());
                        }
                    }
                    Step::TakeOver => {
                        deadlines.forget(&[0]);
                        deadlines.add(0);
                    }
                }
                for (name, row) in &store {
                    let (_, page) = deadlines.page_of(0, name).expect("each name has a page");
                    if let Some(at) = deadline(row) {
                        prop_assert!(page.at <= at, "{name} is due at {at}, its page at {}", page.at);
                    }
                }
                let moments: BTreeSet<_> = deadlines.pages[&0]
                    .iter()
                    .filter(|(_, page)| page.at != NEVER)
                    .map(|(first, page)| (page.at, 0, first.clone()))
                    .collect();
                prop_assert_eq!(&moments, &deadlines.by_time);
            }
            look_through(&mut deadlines, &store, limit);
            let standing = |of: Standing| {
                let classes = classes();
                store.values().filter(|row| freshness::standing(Some(row), classes.class_of("")) == of).count()
            };
            let (warn, error) = (standing(Standing::Silent(Level::Warn)), standing(Standing::Silent(Level::Error)));
            prop_assert_eq!(deadlines.count(), Count { fresh: standing(Standing::Fresh), warn, error });
        }
    }
}
