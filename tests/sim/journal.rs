//! Kafka's logs and transactions, as far as the gate can tell: offsets, producer epochs, markers that are
//! written some time after the commit was answered and take an offset, last stable offsets, transactions that
//! time out, retention, leaders that have just been elected. The cleaner is in `cleaning`.
//!
//! What a reader no longer gets is kept, marked as gone: the invariants look at what was, not at what is left.
//!
//! Deliberately not here: brokers' replicas and unclean elections, batches, producers' sequence numbers (Kafka's
//! own duty), and a leader's low high watermark as an answer. For a moment after an election brokers don't answer
//! where a log ends (KIP-207), so here whoever asks has to wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tickgate::model::{
    CheckpointRow, ClassRow, Event, Freshness, Kind, Offset, Partition, Source, SymbolRow,
};

use crate::offsets::Offsets;

/// A transaction's number, unique in a run.
pub type Txn = usize;

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
    /// A good quote whose output Kafka refuses for good: the producer at once, or a broker when it comes there.
    Unsendable {
        at_once: bool,
    },
}

#[derive(Debug, Clone)]
pub enum Body {
    Staged(Arc<Staged>),
    /// An output that stands for an input; no kind is a good record.
    Output {
        source: Source,
        kind: Option<Kind>,
        epoch: u32,
        /// Names of the suspect rules that it is marked with.
        marks: Vec<&'static str>,
    },
    Event {
        kind: Kind,
        said: Arc<Freshness>,
    },
    /// An event of a whole class.
    Feed(Event),
    Row(Arc<str>, Option<SymbolRow>),
    Class(Arc<str>, ClassRow),
    Checkpoint(CheckpointRow),
    Marker,
}

#[derive(Debug)]
pub struct Entry {
    pub body: Body,
    pub txn: Option<Txn>,
    pub at_ms: i64,
    /// The cleaner has removed it.
    pub gone: bool,
    /// From when on the cleaner may remove it, a tombstone that it has seen before.
    pub horizon_ms: Option<i64>,
}

/// One partition of one topic.
#[derive(Debug, Default)]
pub struct Log {
    pub entries: Vec<Entry>,
    /// What is below has been deleted.
    pub start: Offset,
    /// Until then a new leader doesn't say where the log ends.
    pub elected_until_ms: i64,
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
    epoch: u32,
    began_ms: i64,
    /// What it wrote, in order.
    pub wrote: Vec<(Topic, Partition, Offset)>,
    pub offsets: Vec<(Partition, Offset)>,
    /// The group's generation that the offsets were accepted in; none for somebody outside the group.
    pub generation: Option<u32>,
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

#[derive(Debug)]
pub struct Journal {
    logs: BTreeMap<(Topic, Partition), Log>,
    /// How long a transaction may stay open.
    transaction_timeout_ms: i64,
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
    pub fn new(transaction_timeout_ms: i64) -> Self {
        Self {
            logs: BTreeMap::new(),
            transaction_timeout_ms,
            txns: Vec::new(),
            producers: BTreeMap::new(),
            offsets: Offsets::default(),
            markers: Vec::new(),
            decided: Vec::new(),
            now_ms: 0,
        }
    }

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

    pub fn start(&self, topic: Topic, partition: Partition) -> Offset {
        self.read(topic, partition).map_or(0, |log| log.start)
    }

    /// Whether a leader says where the log ends.
    pub fn tells_end(&self, topic: Topic, partition: Partition) -> bool {
        self.read(topic, partition).is_none_or(|log| log.elected_until_ms <= self.now_ms)
    }

    /// What a reader of committed records gets; with `to` at or below the last stable offset.
    pub fn readable(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        to: Offset,
    ) -> impl Iterator<Item = (Offset, &Entry)> {
        let from = from.max(self.start(topic, partition));
        self.committed(topic, partition, from, to).filter(|(_, entry)| !entry.gone)
    }

    /// The entries that a commit has made true, whether or not its markers are written and whether or not they
    /// are still there, from an offset on.
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
        self.log(topic, partition).entries.push(Entry::new(body, None, at_ms));
    }

    /// Staging's partition is made anew: an empty log, and the group's offset goes with the old one.
    pub fn recreate_staging(&mut self, partition: Partition) {
        self.logs.insert((Topic::Staging, partition), Log::default());
        self.offsets.forget(partition);
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
        log.entries.push(Entry::new(body, Some(txn), at_ms));
        self.txns[txn].wrote.push((topic, partition, offset(at)));
        Ok(offset(at))
    }

    /// Adds input offsets to the transaction. The group has been asked before.
    pub fn send_offsets(
        &mut self,
        who: (&str, u32),
        offsets: &[(Partition, Offset, String)],
        generation: Option<u32>,
    ) -> Result<(), Trouble> {
        let txn = self.join(who, Place::Group)?;
        self.txns[txn].generation = generation;
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
                log.entries.push(Entry::new(Body::Marker, Some(txn), at_ms));
            }
        }
    }

    /// Ends transactions that have been open for too long; their producers are fenced. Answers whose they were.
    pub fn expire_transactions(&mut self) -> Vec<String> {
        let (now_ms, timeout_ms) = (self.now_ms, self.transaction_timeout_ms);
        let over = |txn: &Txn| {
            let transaction = &self.txns[*txn];
            transaction.fate == Fate::Open && now_ms - transaction.began_ms > timeout_ms
        };
        let expired: Vec<String> = self
            .producers
            .iter()
            .filter(|(_, state)| state.current.as_ref().is_some_and(over))
            .map(|(id, _)| id.clone())
            .collect();
        for id in &expired {
            let _busy = self.init(id);
        }
        expired
    }

    /// Whether a transaction's producer still had its id when it ended.
    pub fn was_rightful(&self, txn: Txn) -> bool {
        let transaction = &self.txns[txn];
        self.producers.get(&transaction.producer).is_some_and(|state| state.epoch == transaction.epoch)
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
                    epoch,
                    began_ms: self.now_ms,
                    wrote: Vec::new(),
                    offsets: Vec::new(),
                    generation: None,
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

impl Entry {
    fn new(body: Body, txn: Option<Txn>, at_ms: i64) -> Self {
        Self { body, txn, at_ms, gone: false, horizon_ms: None }
    }
}

pub fn offset(index: usize) -> Offset {
    Offset::try_from(index).unwrap()
}

pub fn index(offset: Offset) -> usize {
    usize::try_from(offset).unwrap()
}
