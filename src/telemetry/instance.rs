//! What `/v1/instance` tells about a running `process`: who it is and what it works on.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

use crate::model::{Offset, Partition};

/// A snapshot that the workers keep up to date and the health server shows. Clones are the same view.
#[derive(Debug, Clone)]
pub struct InstanceView {
    shared: Arc<Mutex<Instance>>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// Its name, as in its transactional ids.
    pub instance: String,
    /// The consumer group.
    pub group: String,
    /// The fingerprint of what its settings say about rules and freshness, in hex: instances of a group should agree.
    pub settings: String,
    /// Its workers, by number.
    pub workers: BTreeMap<u32, Worker>,
}

/// One worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Worker {
    /// The id of the transactional producer in use; empty before there is one.
    pub transactional_id: String,
    /// The partitions of staging it owns, or is taking over.
    pub partitions: BTreeMap<Partition, PartitionView>,
}

/// One partition of one worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PartitionView {
    /// Where the task is in its life: one word, such as `restoring` or `running`.
    pub phase: &'static str,
    /// The next input offset after the last committed round.
    pub next_offset: Option<Offset>,
    /// The partition's end when it was last looked at.
    pub end_offset: Option<Offset>,
    /// Changelog rows read to bring its state up to date, in the last restore.
    pub restored_rows: u64,
}

impl InstanceView {
    /// An instance without workers, with the fingerprint of its settings.
    pub fn new(instance: impl Into<String>, group: impl Into<String>, fingerprint: u64) -> Self {
        let (instance, group, settings) = (instance.into(), group.into(), format!("{fingerprint:016x}"));
        let empty = Instance { instance, group, settings, workers: BTreeMap::new() };
        Self { shared: Arc::new(Mutex::new(empty)) }
    }

    /// Changes what is shown of one worker.
    pub fn update(&self, worker: u32, change: impl FnOnce(&mut Worker)) {
        let mut instance = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        change(instance.workers.entry(worker).or_default());
    }

    /// What is shown now.
    pub fn snapshot(&self) -> Instance {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
