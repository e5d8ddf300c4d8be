//! One input partition's progress: where it stands, and the symbols it holds in memory.
//!
//! A symbol lives in a slot: what is committed and, while a round is open, what the round makes of it. The
//! slots are the hot map and the round's overlay in one, so a record costs one look-up. Nothing pending is
//! ever seen by anyone but the open round.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::model::{Offset, Partition, SymbolRow};

/// A symbol's place in its task, valid until the slots are evicted between rounds.
pub(super) type SlotId = u32;

/// What is known of a symbol.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) symbol: Arc<str>,
    committed: Known,
    pending: Pending,
}

#[derive(Debug)]
enum Pending {
    /// The open round hasn't touched it.
    No,
    Set(SymbolRow),
    Removed,
}

impl Pending {
    fn is_no(&self) -> bool {
        matches!(self, Self::No)
    }

    fn row(&self) -> Option<&SymbolRow> {
        match self {
            Self::Set(row) => Some(row),
            Self::No | Self::Removed => None,
        }
    }
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
    /// Symbols whose reported silence goes on, as committed.
    pub(super) stale: usize,
    ids: HashMap<Arc<str>, SlotId>,
    slots: Vec<Slot>,
    touched: Vec<SlotId>,
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
            stale: 0,
            ids: HashMap::new(),
            slots: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// The symbol's slot, made if it isn't there.
    pub(super) fn slot_id(&mut self, symbol: &str) -> SlotId {
        if let Some(id) = self.ids.get(symbol) {
            return *id;
        }
        let id = SlotId::try_from(self.slots.len()).expect("slots are bounded by `hot_symbols` and a batch");
        let symbol: Arc<str> = symbol.into();
        self.ids.insert(symbol.clone(), id);
        self.slots.push(Slot { symbol, committed: Known::No, pending: Pending::No });
        id
    }

    /// Whether the store must be asked first.
    pub(super) fn is_unknown(&self, id: SlotId) -> bool {
        let slot = &self.slots[id as usize];
        matches!(slot.committed, Known::No) && slot.pending.is_no()
    }

    /// What the store holds for the symbol.
    pub(super) fn learn(&mut self, id: SlotId, row: Option<SymbolRow>) {
        let slot = &mut self.slots[id as usize];
        if matches!(slot.committed, Known::No) {
            slot.committed = Known::Yes(row);
        }
    }

    pub(super) fn symbol(&self, id: SlotId) -> &Arc<str> {
        &self.slots[id as usize].symbol
    }

    /// The symbol's row as the open round sees it.
    pub(super) fn row(&self, id: SlotId) -> Option<&SymbolRow> {
        let slot = &self.slots[id as usize];
        match (&slot.pending, &slot.committed) {
            (Pending::No, Known::Yes(row)) => row.as_ref(),
            (pending, _) => pending.row(),
        }
    }

    /// The open round sets the symbol's row.
    pub(super) fn set(&mut self, id: SlotId, row: Option<SymbolRow>) {
        let slot = &mut self.slots[id as usize];
        if slot.pending.is_no() {
            self.touched.push(id);
        }
        slot.pending = row.map_or(Pending::Removed, Pending::Set);
    }

    /// The round's rows, in the order in which symbols were first touched.
    pub(super) fn pending_rows(&self) -> Vec<(Arc<str>, Option<SymbolRow>)> {
        self.touched
            .iter()
            .map(|id| {
                let slot = &self.slots[*id as usize];
                (slot.symbol.clone(), slot.pending.row().cloned())
            })
            .collect()
    }

    /// The round is committed and applied; answers each touched symbol with its row before and after.
    pub(super) fn settle(
        &mut self,
        position: Offset,
        now_ms: i64,
        mut each: impl FnMut(&Arc<str>, Option<&SymbolRow>, Option<&SymbolRow>),
    ) {
        for id in self.touched.drain(..) {
            let slot = &mut self.slots[id as usize];
            let row = match std::mem::replace(&mut slot.pending, Pending::No) {
                Pending::Set(row) => Some(row),
                Pending::Removed => None,
                Pending::No => continue,
            };
            let before = match &slot.committed {
                Known::Yes(before) => before.as_ref(),
                Known::No => None,
            };
            self.stale = self.stale + usize::from(is_stale(row.as_ref())) - usize::from(is_stale(before));
            each(&slot.symbol, before, row.as_ref());
            slot.committed = Known::Yes(row);
        }
        self.committed = self.next;
        self.committed_time = self.time;
        self.position = position;
        self.settled_ms = now_ms;
        let committed = self.committed;
        self.unsendable.retain(|offset, _| *offset >= committed);
    }

    /// The round is aborted: the overlay is gone, input goes on at the committed offset.
    pub(super) fn drop_round(&mut self) {
        for id in self.touched.drain(..) {
            self.slots[id as usize].pending = Pending::No;
        }
        self.next = self.committed;
        self.time = self.committed_time;
    }

    /// How many symbols are in memory.
    pub(super) fn hot(&self) -> usize {
        self.slots.len()
    }

    /// Forgets what is in memory; the store has it. Only between rounds.
    pub(super) fn evict(&mut self) {
        assert!(self.touched.is_empty(), "an open round's symbols must not be evicted");
        self.ids.clear();
        self.slots.clear();
    }
}

/// Whether the row's silence has been reported and goes on.
pub(super) fn is_stale(row: Option<&SymbolRow>) -> bool {
    row.and_then(|row| row.reported.as_ref()).is_some_and(|reported| reported.error)
}
