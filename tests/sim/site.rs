//! Everything that processes share, and the checks that look on.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tickgate::core::Settings;
use tickgate::core::rules::RuleSettings;

use crate::disk::Table;
use crate::group::{Group, Member};
use crate::invariants::silences::Silences;
use crate::invariants::{Breach, exactly_once, state};
use crate::journal::Journal;
use crate::reference::Reference;
use crate::schedule::Schedule;
use crate::teeth::Planted;
use crate::trace::Trace;
use tickgate::model::Partition;

/// Wall time at the start, in ms since 1970.
pub const BASE_MS: i64 = 1_795_356_000_000;
pub const THRESHOLD_MS: i64 = 30_000;
pub const GRACE_MS: i64 = 5_000;

#[derive(Debug)]
pub struct Site {
    pub rng: ChaCha8Rng,
    pub trace: Trace,
    pub schedule: Schedule,
    pub planted: Planted,
    pub journal: Journal,
    pub group: Group,
    pub reference: Reference,
    pub silences: Silences,
    pub rounds: u64,
    /// Nothing fails any more.
    pub calm: bool,
    /// Ids of workers that are up and own partitions as far as they know, with their membership.
    pub living: BTreeMap<String, (Member, u32)>,
}

impl Site {
    pub fn new(rng: ChaCha8Rng, schedule: Schedule, planted: Planted, prints: bool) -> Self {
        Self {
            rng,
            trace: Trace::new(prints),
            planted,
            journal: Journal::default(),
            group: Group::new(schedule.partitions),
            reference: Reference::default(),
            silences: Silences::default(),
            rounds: 0,
            calm: false,
            living: BTreeMap::new(),
            schedule,
        }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            staging: "staging".to_owned(),
            commit_interval_ms: 100,
            round_max_records: self.schedule.round_max_records,
            error_after_ms: THRESHOLD_MS,
            grace_ms: GRACE_MS,
            hot_symbols: self.schedule.hot_symbols,
            accept_loss: false,
            rules: RuleSettings { partitions: self.schedule.partitions, ..RuleSettings::default() },
            fingerprint: 1,
        }
    }

    pub fn partitions(&self) -> std::ops::Range<Partition> {
        0..self.schedule.partitions
    }

    /// Whether a fault that comes so often in 1,000 comes now.
    pub fn fails(&mut self, in_1000: u32) -> bool {
        !self.calm && self.rng.random_ratio(in_1000, 1_000)
    }

    /// Looks at every transaction committed since the last look.
    pub fn look(&mut self) -> Result<(), Breach> {
        for txn in std::mem::take(&mut self.journal.decided) {
            exactly_once::check(txn, &self.journal, &mut self.reference)?;
            self.silences.note(txn, &self.journal)?;
            self.rounds += 1;
        }
        Ok(())
    }

    pub fn look_at_table(&self, partition: Partition, table: &Table, whole: bool) -> Result<(), Breach> {
        if whole {
            state::check_whole(&self.journal, partition, table, &self.reference)
        } else {
            state::check(&self.journal, partition, table)
        }
    }
}
