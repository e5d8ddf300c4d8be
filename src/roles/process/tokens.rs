//! The right to write a partition's state, and who has it: a worker for as long as it owns the partition, the replica
//! for a slice. A worker that comes is never kept waiting for longer than that.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tickgate_state::{PartitionWriter, Store};

use super::perform::key_partition;
use crate::model::Partition;

/// The partitions of one store.
pub(super) struct Tokens {
    store: Arc<Store>,
    places: Mutex<BTreeMap<Partition, Place>>,
    /// Raised whenever a worker comes or goes.
    changes: AtomicU64,
}

/// What workers have to do with a partition.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// Workers that write it or wait to.
    workers: u32,
    /// How many have come so far.
    arrivals: u64,
}

/// A worker's right to write a partition.
pub(super) struct Token {
    // Dropped before it is said that the worker is gone.
    writer: PartitionWriter,
    _place: Taken,
}

/// A worker that writes a partition or waits to: the replica leaves it alone.
pub(super) struct Taken {
    tokens: Arc<Tokens>,
    partition: Partition,
}

impl Tokens {
    pub(super) fn of(store: Arc<Store>) -> Arc<Self> {
        Arc::new(Self { store, places: Mutex::default(), changes: AtomicU64::new(0) })
    }

    /// A worker wants to write a partition, and has it from the replica once a slice is finished.
    pub(super) fn want(self: &Arc<Self>, partition: Partition) -> Taken {
        let mut places = self.places();
        let place = places.entry(partition).or_default();
        place.workers += 1;
        place.arrivals += 1;
        drop(places);
        self.changes.fetch_add(1, Ordering::SeqCst);
        Taken { tokens: Arc::clone(self), partition }
    }

    /// Whether workers have come or gone since, by the number that this gave before.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Whether no worker has to do with a partition, and if so how many have had so far.
    pub(super) fn left_alone(&self, partition: Partition) -> Option<u64> {
        let place = self.places().get(&partition).copied().unwrap_or_default();
        (place.workers == 0).then_some(place.arrivals)
    }

    /// For the replica: the right to write one slice, if no worker has come since it counted `arrivals`.
    pub(super) fn lend(&self, partition: Partition, arrivals: u64) -> Option<PartitionWriter> {
        let writer = self.store.writer(key_partition(partition)).ok()?;
        // Whoever comes from now on waits for the writer.
        (self.left_alone(partition) == Some(arrivals)).then_some(writer)
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<Partition, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// The token, if nobody else has it. Otherwise the wish again, to ask once more.
    pub(super) fn token(self) -> Result<Token, Self> {
        match self.tokens.store.writer(key_partition(self.partition)) {
            Ok(writer) => Ok(Token { writer, _place: self }),
            Err(_) => Err(self),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(place) = self.tokens.places().get_mut(&self.partition) {
            place.workers -= 1;
        }
        self.tokens.changes.fetch_add(1, Ordering::SeqCst);
    }
}

impl std::ops::Deref for Token {
    type Target = PartitionWriter;

    fn deref(&self) -> &PartitionWriter {
        &self.writer
    }
}

#[cfg(test)]
mod tests {
    use tickgate_state::{StoreIdentity, StoreOptions};

    use super::*;

    #[test]
    fn a_worker_waits_for_a_slice_and_the_replica_for_the_worker() {
        let dir = tempfile::tempdir().unwrap();
        let identity =
            StoreIdentity { group: "g".to_owned(), changelog: "c".to_owned(), cluster: String::new() };
        let store = Arc::new(Store::open(dir.path(), &identity, &StoreOptions::default()).unwrap());
        let tokens = Tokens::of(store);
        let arrivals = tokens.left_alone(7).unwrap();
        let slice = tokens.lend(7, arrivals).unwrap();
        let wish = tokens.want(7);
        assert!(tokens.left_alone(7).is_none());
        let Err(wish) = wish.token() else { panic!("two write one partition") };
        drop(slice);
        assert!(tokens.lend(7, arrivals).is_none(), "a worker waits for it");
        let before = tokens.changes();
        let token = wish.token().ok().unwrap();
        assert_eq!(token.partition(), 7);
        drop(token);
        assert_ne!(tokens.changes(), before);
        assert!(tokens.lend(7, arrivals).is_none(), "a worker was there in between");
        assert!(tokens.lend(7, tokens.left_alone(7).unwrap()).is_some());
    }
}
