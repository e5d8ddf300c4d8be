//! One input partition's progress: where it stands, and the symbols it holds in memory.
//!
//! A symbol lives in a slot: what is committed and, while a round is open, where to find what the round makes of
//! it. The slots are the hot map and the way into the round's overlay in one, so a record costs one look-up.
//! Nothing pending is ever seen by anyone but the open round.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use hashbrown::HashMap;

use super::class::{ClassId, Classes};
use super::input::End;
use crate::model::{ClassRow, Offset, Partition, SymbolRow, WallTime};

/// A symbol's place in its task, valid until the slots are evicted between rounds.
pub(super) type SlotId = u32;

/// What is known of a symbol.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) symbol: Arc<str>,
    class: ClassId,
    committed: Known,
    /// Where the open round's row is, if it has one. Not the row itself: of many symbols in memory a round
    /// touches few.
    pending: Option<NonZeroU32>,
}

#[derive(Debug)]
enum Known {
    /// Nobody has looked into the store yet.
    No,
    Yes(Option<SymbolRow>),
}

/// A partition that this worker owns and has restored.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) partition: Partition,
    /// Next input offset as committed.
    pub(super) committed: Offset,
    /// Next input offset, the open round included.
    pub(super) next: Offset,
    /// The changelog position that the store stands at.
    pub(super) position: Offset,
    /// When the store was last written on the proof that the worker owns the partition. Monotonic.
    pub(super) settled_ms: i64,
    /// Raised by a reset.
    pub(super) epoch: u32,
    /// Kafka time of the last input, committed and with the open round.
    pub(super) committed_time: Option<i64>,
    pub(super) time: Option<i64>,
    /// Inputs whose output Kafka refuses, with its words.
    pub(super) unsendable: HashMap<Offset, String>,
    awaited_end: AwaitedEnd,
    /// The class rows as committed, and those of the open round.
    classes: BTreeMap<ClassId, ClassRow>,
    pending_classes: BTreeMap<ClassId, ClassRow>,
    ids: HashMap<Arc<str>, SlotId>,
    slots: Vec<Slot>,
    /// The open round's rows, `None` for what it removes; `Slot::pending` counts from 1.
    pending: Vec<(SlotId, Option<SymbolRow>)>,
}

impl Task {
    pub(super) fn new(partition: Partition, next: Offset, position: Offset, epoch: u32, now_ms: i64) -> Self {
        Self {
            partition,
            committed: next,
            next,
            position,
            settled_ms: now_ms,
            epoch,
            committed_time: None,
            time: None,
            unsendable: HashMap::new(),
            awaited_end: AwaitedEnd::default(),
            classes: BTreeMap::new(),
            pending_classes: BTreeMap::new(),
            ids: HashMap::new(),
            slots: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// Where the task's clock stands after a look at the partition's end.
    pub(super) fn clock(&mut self, end: &End) -> Option<WallTime> {
        self.awaited_end.clock(self.committed, end)
    }

    /// Times of looks mean nothing any more.
    pub(super) fn forget_end(&mut self) {
        self.awaited_end = AwaitedEnd::default();
    }

    /// A symbol is removed at this offset. It may come back with an older time than it had, and a look at an end before
    /// that would take for silent what was heard of by then.
    pub(super) fn forget_end_below(&mut self, offset: Offset) {
        self.awaited_end.0.take_if(|(end, _)| *end <= offset);
    }

    /// The symbol's slot, made if it isn't there.
    pub(super) fn slot_id(&mut self, symbol: &str, classes: &Classes) -> SlotId {
        if let Some(id) = self.ids.get(symbol) {
            return *id;
        }
        let id = SlotId::try_from(self.slots.len()).expect("slots are bounded by `hot_symbols` and a batch");
        let (symbol, class): (Arc<str>, _) = (symbol.into(), classes.of(symbol));
        self.ids.insert(symbol.clone(), id);
        self.slots.push(Slot { symbol, class, committed: Known::No, pending: None });
        id
    }

    /// Whether the store must be asked first.
    pub(super) fn is_unknown(&self, id: SlotId) -> bool {
        let slot = &self.slots[id as usize];
        matches!(slot.committed, Known::No) && slot.pending.is_none()
    }

    /// What the store holds for the symbol.
    pub(super) fn learn(&mut self, id: SlotId, row: Option<SymbolRow>) {
        let slot = &mut self.slots[id as usize];
        if matches!(slot.committed, Known::No) {
            slot.committed = Known::Yes(row);
        }
    }

    pub(super) fn class(&self, id: SlotId) -> ClassId {
        self.slots[id as usize].class
    }

    pub(super) fn symbol(&self, id: SlotId) -> &Arc<str> {
        &self.slots[id as usize].symbol
    }

    /// The symbol's row as the open round sees it.
    pub(super) fn row(&self, id: SlotId) -> Option<&SymbolRow> {
        let slot = &self.slots[id as usize];
        match (slot.pending, &slot.committed) {
            (Some(number), _) => self.pending[place(number)].1.as_ref(),
            (None, Known::Yes(row)) => row.as_ref(),
            (None, Known::No) => None,
        }
    }

    /// The open round sets the symbol's row.
    pub(super) fn set(&mut self, id: SlotId, row: Option<SymbolRow>) {
        let slot = &mut self.slots[id as usize];
        if let Some(number) = slot.pending {
            self.pending[place(number)].1 = row;
            return;
        }
        self.pending.push((id, row));
        slot.pending = u32::try_from(self.pending.len()).ok().and_then(NonZeroU32::new);
    }

    /// The round's rows, in the order in which symbols were first touched.
    pub(super) fn pending_rows(&self) -> Vec<(Arc<str>, Option<SymbolRow>)> {
        let rows = self.pending.iter();
        rows.map(|(id, row)| (self.slots[*id as usize].symbol.clone(), row.clone())).collect()
    }

    /// The round is committed and applied; answers each touched symbol with its row before and after.
    pub(super) fn settle(
        &mut self,
        position: Offset,
        now_ms: i64,
        mut each: impl FnMut(&Arc<str>, ClassId, Option<&SymbolRow>, Option<&SymbolRow>),
    ) {
        for (id, row) in self.pending.drain(..) {
            let slot = &mut self.slots[id as usize];
            slot.pending = None;
            let before = match &slot.committed {
                Known::Yes(before) => before.as_ref(),
                Known::No => None,
            };
            each(&slot.symbol, slot.class, before, row.as_ref());
            slot.committed = Known::Yes(row);
        }
        self.classes.append(&mut self.pending_classes);
        self.committed = self.next;
        self.committed_time = self.time;
        self.position = position;
        self.settled_ms = now_ms;
        let committed = self.committed;
        self.unsendable.retain(|offset, _| *offset >= committed);
    }

    /// The round is aborted: the overlay is gone, input goes on at the committed offset.
    pub(super) fn drop_round(&mut self) {
        for (id, _) in self.pending.drain(..) {
            self.slots[id as usize].pending = None;
        }
        self.pending_classes.clear();
        self.next = self.committed;
        self.time = self.committed_time;
    }

    /// The class rows that the store has.
    pub(super) fn learn_classes(&mut self, rows: &[(Box<str>, ClassRow)], classes: &Classes) {
        let row = |name: &str| rows.iter().find(|(of, _)| **of == *name).map(|(_, row)| row.clone());
        let known = classes.feeds().filter_map(|(id, class)| Some((id, row(&class.name)?)));
        self.classes = known.collect();
    }

    /// A class's row as the open round sees it.
    pub(super) fn class_row(&self, id: ClassId) -> ClassRow {
        self.pending_classes.get(&id).or_else(|| self.classes.get(&id)).cloned().unwrap_or_default()
    }

    /// The open round sets a class's row.
    pub(super) fn set_class_row(&mut self, id: ClassId, row: ClassRow) {
        self.pending_classes.insert(id, row);
    }

    /// A quote of the class was accepted; `time` is its record's Kafka time.
    pub(super) fn accepted(&mut self, id: ClassId, time: i64) {
        let known = self.pending_classes.get(&id).or_else(|| self.classes.get(&id));
        if known.and_then(|row| row.last_accepted).is_none_or(|last| last < time) {
            let row = ClassRow { last_accepted: Some(time), ..known.cloned().unwrap_or_default() };
            self.pending_classes.insert(id, row);
        }
    }

    /// The round's class rows.
    pub(super) fn pending_classes(&self, classes: &Classes) -> Vec<(Arc<str>, ClassRow)> {
        let rows = self.pending_classes.iter();
        rows.map(|(id, row)| (classes.get(*id).name.clone(), row.clone())).collect()
    }

    /// How many symbols are in memory.
    pub(super) fn hot(&self) -> usize {
        self.slots.len()
    }

    /// Forgets what is in memory; the store has it. Only between rounds.
    pub(super) fn evict(&mut self) {
        assert!(self.pending.is_empty(), "an open round's symbols must not be evicted");
        // New ones, as each of many tasks would keep the room it needed when its turn was largest.
        self.ids = HashMap::new();
        self.slots = Vec::new();
        self.pending = Vec::new();
    }
}

/// An end of a partition, and when it was looked at, that is not committed up to yet.
#[derive(Debug, Default)]
pub(super) struct AwaitedEnd(Option<(Offset, WallTime)>);

impl AwaitedEnd {
    /// Up to which moment all of the partition is known after a look at its end: that of an end below which everything
    /// is committed. One that is not reached yet is kept until it is; where records never cease, none is ever reached
    /// at once.
    pub(super) fn clock(&mut self, committed: Offset, end: &End) -> Option<WallTime> {
        let is_stable = end.last_stable == end.high_watermark;
        if is_stable && (committed >= end.high_watermark || !end.readable) {
            self.0 = None;
            return Some(end.looked_at);
        }
        let reached = self.0.take_if(|(offset, _)| committed >= *offset);
        if self.0.is_none() && is_stable {
            self.0 = Some((end.high_watermark, end.looked_at));
        }
        reached.map(|(_, looked_at)| looked_at)
    }
}

/// Where the row with this number is.
fn place(number: NonZeroU32) -> usize {
    number.get() as usize - 1
}
