//! Kafka's logs and transactions, as far as the gate can tell: offsets, producer epochs, markers that are
//! written some time after the commit was answered and take an offset, last stable offsets.
//!
//! Deliberately not here: replicas, retention, compaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tickgate::model::{CheckpointRow, Freshness, Kind, Offset, Partition, Source, SymbolRow};

use crate::offsets::Offsets;

/// A transaction's number, unique in a run.
pub type Txn = usize;

/// How long a transaction may stay open.
const TRANSACTION_TIMEOUT_MS: i64 = 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    Staging,
    StockData,
    BadData,
    Changelog,
}

/// A record on staging, and what it was made to be.
#[derive(Debug)]
pub struct Staged {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub kafka_time: i64,
    pub truth: Truth,
}

/// What the gate must make of a record. Known from its making, not from judging it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    Quote {
        symbol: Arc<str>,
        time: i64,
        cents: i64,
    },
    Bad,
    Tombstone {
        symbol: Arc<str>,
    },
    /// A good quote whose output Kafka refuses for good.
    Unsendable,
}

#[derive(Debug, Clone)]
pub enum Body {
    Staged(Arc<Staged>),
    /// An output that stands for an input; no kind is a good record.
    Output {
        source: Source,
        kind: Option<Kind>,
    },
    Event {
        kind: Kind,
        said: Arc<Freshness>,
    },
    Row(Arc<str>, Option<SymbolRow>),
    Checkpoint(CheckpointRow),
    Marker,
}

#[derive(Debug)]
pub struct Entry {
    pub body: Body,
    pub txn: Option<Txn>,
    pub at_ms: i64,
}

/// One partition of one topic.
#[derive(Debug, Default)]
pub struct Log {
    pub entries: Vec<Entry>,
    /// First offset of each transaction whose marker is still missing.
    open: BTreeMap<Txn, usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Open,
    Committed,
    Aborted,
}

#[derive(Debug)]
pub struct Transaction {
    pub fate: Fate,
    pub producer: String,
    began_ms: i64,
    /// What it wrote, in order.
    pub wrote: Vec<(Topic, Partition, Offset)>,
    pub offsets: Vec<(Partition, Offset)>,
    places: BTreeSet<Place>,
}

/// Where a marker goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Log(Topic, Partition),
    Group,
}

#[derive(Debug, Default)]
struct ProducerState {
    epoch: u32,
    /// The last transaction, until all its markers are written.
    current: Option<Txn>,
    last: Option<Fate>,
}

/// Why a transactional call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Fenced,
    /// Markers of the transaction before are still being written: ask again.
    Busy,
}

#[derive(Debug, Default)]
pub struct Journal {
    logs: BTreeMap<(Topic, Partition), Log>,
    pub txns: Vec<Transaction>,
    producers: BTreeMap<String, ProducerState>,
    pub offsets: Offsets,
    /// Decided but not yet written.
    pub markers: Vec<(Txn, Place)>,
    /// Commits that nobody has looked at yet.
    pub decided: Vec<Txn>,
    pub now_ms: i64,
}

impl Journal {
    pub fn log(&mut self, topic: Topic, partition: Partition) -> &mut Log {
        self.logs.entry((topic, partition)).or_default()
    }

    pub fn read(&self, topic: Topic, partition: Partition) -> Option<&Log> {
        self.logs.get(&(topic, partition))
    }

    pub fn high_watermark(&self, topic: Topic, partition: Partition) -> Offset {
        self.read(topic, partition).map_or(0, |log| offset(log.entries.len()))
    }

    pub fn last_stable(&self, topic: Topic, partition: Partition) -> Offset {
        self.read(topic, partition)
            .map_or(0, |log| offset(log.open.values().copied().min().unwrap_or(log.entries.len())))
    }

    /// The entries that a commit has made true, whether or not its markers are written, from an offset on.
    pub fn committed(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        to: Offset,
    ) -> impl Iterator<Item = (Offset, &Entry)> {
        let entries = self.read(topic, partition).map_or(&[][..], |log| &log.entries);
        let to = index(to).min(entries.len());
        let from = index(from).min(to);
        entries[from..to].iter().enumerate().map(move |(at, entry)| (offset(from + at), entry)).filter(
            |(_, entry)| {
                !matches!(entry.body, Body::Marker)
                    && entry.txn.is_none_or(|txn| self.txns[txn].fate == Fate::Committed)
            },
        )
    }

    /// Appends outside any transaction.
    pub fn append(&mut self, topic: Topic, partition: Partition, body: Body) {
        let at_ms = self.now_ms;
        self.log(topic, partition).entries.push(Entry { body, txn: None, at_ms });
    }

    /// Takes a transactional id over: whoever had it is fenced, its open transaction aborted.
    pub fn init(&mut self, id: &str) -> Result<u32, Trouble> {
        let state = self.producers.entry(id.to_owned()).or_default();
        match state.current {
            Some(txn) if self.txns[txn].fate == Fate::Open => {
                state.epoch += 1;
                self.decide(txn, Fate::Aborted);
                Err(Trouble::Busy)
            }
            Some(_) => Err(Trouble::Busy),
            None => {
                state.epoch += 1;
                Ok(state.epoch)
            }
        }
    }

    pub fn send(
        &mut self,
        who: (&str, u32),
        topic: Topic,
        partition: Partition,
        body: Body,
    ) -> Result<Offset, Trouble> {
        let txn = self.join(who, Place::Log(topic, partition))?;
        let at_ms = self.now_ms;
        let log = self.log(topic, partition);
        let at = log.entries.len();
        log.open.entry(txn).or_insert(at);
        log.entries.push(Entry { body, txn: Some(txn), at_ms });
        self.txns[txn].wrote.push((topic, partition, offset(at)));
        Ok(offset(at))
    }

    /// Adds input offsets to the transaction. The group has been asked before.
    pub fn send_offsets(
        &mut self,
        who: (&str, u32),
        offsets: &[(Partition, Offset, String)],
    ) -> Result<(), Trouble> {
        let txn = self.join(who, Place::Group)?;
        for (partition, offset, metadata) in offsets {
            self.offsets.pend(txn, *partition, *offset, metadata.clone());
            self.txns[txn].offsets.push((*partition, *offset));
        }
        Ok(())
    }

    /// Commits or aborts. Asked again, it answers as before.
    pub fn end(&mut self, (id, epoch): (&str, u32), fate: Fate) -> Result<(), Trouble> {
        let state = self.producers.get(id).filter(|state| state.epoch == epoch).ok_or(Trouble::Fenced)?;
        match state.current.filter(|txn| self.txns[*txn].fate == Fate::Open) {
            Some(txn) => self.decide(txn, fate),
            None if state.last != Some(fate) => return Err(Trouble::Fenced),
            None => {}
        }
        Ok(())
    }

    /// Writes one marker.
    pub fn deliver(&mut self, (txn, place): (Txn, Place)) {
        self.markers.retain(|marker| *marker != (txn, place));
        let transaction = &mut self.txns[txn];
        transaction.places.remove(&place);
        let committed = transaction.fate == Fate::Committed;
        if transaction.places.is_empty()
            && let Some(state) = self.producers.get_mut(&transaction.producer)
        {
            state.current = None;
        }
        match place {
            Place::Group => self.offsets.settle(txn, committed),
            Place::Log(topic, partition) => {
                let at_ms = self.now_ms;
                let log = self.log(topic, partition);
                log.open.remove(&txn);
                log.entries.push(Entry { body: Body::Marker, txn: Some(txn), at_ms });
            }
        }
    }

    /// Ends transactions that have been open for too long; their producers are fenced.
    pub fn expire_transactions(&mut self) {
        let now_ms = self.now_ms;
        let over = |txn: &Txn| {
            let transaction = &self.txns[*txn];
            transaction.fate == Fate::Open && now_ms - transaction.began_ms > TRANSACTION_TIMEOUT_MS
        };
        let expired: Vec<String> = self
            .producers
            .iter()
            .filter(|(_, state)| state.current.as_ref().is_some_and(over))
            .map(|(id, _)| id.clone())
            .collect();
        for id in expired {
            let _busy = self.init(&id);
        }
    }

    fn join(&mut self, (id, epoch): (&str, u32), place: Place) -> Result<Txn, Trouble> {
        let state = self.producers.get_mut(id).filter(|state| state.epoch == epoch).ok_or(Trouble::Fenced)?;
        let txn = match state.current {
            Some(txn) if self.txns[txn].fate != Fate::Open => return Err(Trouble::Busy),
            Some(txn) => txn,
            None => {
                let txn = self.txns.len();
                self.txns.push(Transaction {
                    fate: Fate::Open,
                    producer: id.to_owned(),
                    began_ms: self.now_ms,
                    wrote: Vec::new(),
                    offsets: Vec::new(),
                    places: BTreeSet::new(),
                });
                state.current = Some(txn);
                txn
            }
        };
        self.txns[txn].places.insert(place);
        Ok(txn)
    }

    fn decide(&mut self, txn: Txn, fate: Fate) {
        let transaction = &mut self.txns[txn];
        transaction.fate = fate;
        self.markers.extend(transaction.places.iter().map(|place| (txn, *place)));
        if let Some(state) = self.producers.get_mut(&transaction.producer) {
            state.last = Some(fate);
        }
        if fate == Fate::Committed {
            self.decided.push(txn);
        }
    }
}

pub fn offset(index: usize) -> Offset {
    Offset::try_from(index).unwrap()
}

pub fn index(offset: Offset) -> usize {
    usize::try_from(offset).unwrap()
}
