//! Everything that processes share, and the checks that look on.

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tickgate::core::Settings;
use tickgate::core::rules::RuleSettings;
use tickgate::model::{Offset, Partition};

use crate::cleaning;
use crate::disk::Table;
use crate::group::Group;
use crate::invariants::feeds::Feeds;
use crate::invariants::living_owner::Living;
use crate::invariants::one_owner::Owners;
use crate::invariants::refusals::Refusals;
use crate::invariants::routing::Routes;
use crate::invariants::silences::Silences;
use crate::invariants::{Breach, fencing, hold, listings, one_output, store, unclaims};
use crate::journal::{Journal, Topic};
use crate::looks::Looks;
use crate::reference::{JUMP_PERMILLE, REPEATED_AFTER_MS, Reference};
use crate::schedule::{Members, Schedule};
use crate::tally::{Kind, Tally};
use crate::teeth::Planted;
use crate::trace::Trace;

/// Wall time at the start, in ms since 1970.
pub const BASE_MS: i64 = 1_795_356_000_000;
pub const GRACE_MS: i64 = 5_000;
/// Of the time that a store is trusted for, as much as in the gate.
const RENEW_AFTER_MS: i64 = 60_000;

#[derive(Debug)]
pub struct Site {
    pub rng: ChaCha8Rng,
    pub trace: Trace,
    pub tally: Tally,
    pub schedule: Schedule,
    pub planted: Planted,
    pub journal: Journal,
    pub group: Group,
    pub reference: Reference,
    pub silences: Silences,
    pub feeds: Feeds,
    pub looks: Looks,
    pub living: Living,
    pub owners: Owners,
    pub refusals: Refusals,
    routes: Routes,
    pub rounds: u64,
    /// Nothing fails any more.
    pub calm: bool,
}

impl Site {
    pub fn new(rng: ChaCha8Rng, schedule: Schedule, planted: Planted, prints: bool) -> Self {
        Self {
            rng,
            trace: Trace::new(prints),
            tally: Tally::default(),
            planted,
            journal: Journal::new(schedule.transaction_timeout_ms),
            group: Group::new(schedule.partitions, schedule.members == Members::Cooperative),
            reference: Reference::default(),
            silences: Silences::default(),
            feeds: Feeds::default(),
            looks: Looks::default(),
            living: Living::default(),
            owners: Owners::new(schedule.members.are_static()),
            refusals: Refusals::default(),
            routes: Routes::default(),
            rounds: 0,
            calm: false,
            schedule,
        }
    }

    pub fn settings(&self) -> Settings {
        Settings {
            staging: "staging".to_owned(),
            commit_interval_ms: 100,
            round_max_records: self.schedule.round_max_records,
            classes: Arc::new(self.schedule.watch.classes()),
            watchlist: Arc::new(self.schedule.watch.listed()),
            grace_ms: GRACE_MS,
            renew_after_ms: RENEW_AFTER_MS,
            hot_symbols: self.schedule.hot_symbols,
            page_symbols: 1,
            scan_rows_max: 3,
            accept_loss: self.schedule.accept_loss,
            rules: RuleSettings {
                partitions: self.schedule.partitions,
                price_jump_permille: JUMP_PERMILLE,
                repeated_price_after_ms: REPEATED_AFTER_MS,
                ..RuleSettings::DEFAULT
            },
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
            fencing::check(txn, &self.journal)?;
            if unclaims::is_one(txn, &self.journal) {
                unclaims::check(txn, &self.journal)?;
                self.owners.check(txn, &self.journal)?;
                continue;
            }
            self.refusals.check(txn, &self.journal)?;
            self.owners.check(txn, &self.journal)?;
            self.routes.check(txn, &self.journal, &self.reference)?;
            one_output::check(txn, &self.journal, &mut self.reference)?;
            let (watch, partitions) = (&self.schedule.watch, self.schedule.partitions);
            listings::check(txn, &self.journal, &mut self.reference, watch, partitions)?;
            self.silences.note(txn, &self.journal, &mut self.tally)?;
            self.feeds.note(txn, &self.journal, partitions, &mut self.tally)?;
            self.rounds += 1;
        }
        Ok(())
    }

    pub fn look_at_table(&self, partition: Partition, table: &Table, whole: bool) -> Result<(), Breach> {
        if whole {
            store::check_whole(&self.journal, partition, table, &self.reference)
        } else {
            store::check(&self.journal, partition, table)
        }
    }

    /// A worker says that these records are gone unjudged, and goes on as it was told to.
    pub fn lose(&mut self, partition: Partition, from: Offset, to: Offset) -> Result<(), Breach> {
        let start = self.journal.start(Topic::Staging, partition);
        hold(self.schedule.accept_loss && from < to && to <= start, || {
            format!("partition {partition}: {from} to {to} are called lost, staging starts at {start}")
        })?;
        self.tally.note(Kind::LossAccepted);
        self.reference.lose(partition, from..to);
        Ok(())
    }

    /// A pass of the cleaner.
    pub fn clean(&mut self, partition: Partition, to: Offset) {
        let retention_ms = match self.planted {
            Planted::TombstoneCleanedEarly => 0,
            _ => cleaning::DELETE_RETENTION_MS,
        };
        let cleaned = cleaning::clean(&mut self.journal, partition, to, retention_ms);
        self.trace.note(format_args!("changelog {partition} is cleaned below {to}: {cleaned:?}"));
        self.tally.add(Kind::RowCleaned, cleaned.rows);
        self.tally.add(Kind::TombstoneCleaned, cleaned.tombstones);
    }
}
