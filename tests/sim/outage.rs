//! Times when no process is up: what is done to offsets and to staging behind the gate's back, and what an
//! operator does when the gate refuses to guess (`tickgate state reset`).

use rand::RngExt;
use tickgate::model::{CheckpointRow, Claim, Offset, Partition};

use crate::cleaning;
use crate::invariants::refusals::Tampered;
use crate::invariants::{Breach, store};
use crate::journal::{Body, Fate, Topic, Trouble};
use crate::schedule::Tampering;
use crate::tally::Kind;
use crate::world::World;

/// After this long without a heartbeat the group knows of nobody.
const FORGOTTEN_MS: i64 = 7_000;

impl World {
    /// All processes are gone for a while; once the group is empty, what this seed tampers with is tampered with.
    pub fn outage(&mut self) -> Result<(), Breach> {
        self.stop_all()?;
        let ms = self.site.rng.random_range(0..=600_000);
        if self.site.rng.random_bool(0.5) {
            self.clean_all();
            self.pass(ms);
            self.clean_all();
        }
        if self.site.rng.random_bool(0.5) {
            self.end_upstream();
            self.site.look()?;
            let partition = self.site.rng.random_range(0..self.site.schedule.partitions);
            self.tamper(partition);
        }
        Ok(())
    }

    fn stop_all(&mut self) -> Result<(), Breach> {
        for process in &mut self.processes {
            process.kill(false, &mut self.site)?;
        }
        self.pass(FORGOTTEN_MS);
        assert!(self.site.group.is_empty(), "nobody is there to send heartbeats");
        Ok(())
    }

    fn tamper(&mut self, partition: Partition) {
        let offsets = &self.site.journal.offsets;
        let Some((committed, _)) = offsets.committed(partition) else { return };
        if offsets.is_pending(partition) || self.site.refusals.awaits_operator(partition) {
            return;
        }
        self.site.trace.note(format_args!("partition {partition}: {:?}", self.site.schedule.tampering));
        match self.site.schedule.tampering {
            Tampering::Nothing => {}
            Tampering::Expiry => {
                self.site.journal.offsets.forget(partition);
                self.site.tally.note(Kind::OffsetsExpired);
            }
            Tampering::Moved => self.move_offset(partition, committed),
            Tampering::Deleted => self.delete_unjudged(partition, committed),
            Tampering::Recreated => self.recreate(partition),
        }
    }

    fn move_offset(&mut self, partition: Partition, committed: Offset) {
        let site = &mut self.site;
        let end = site.journal.high_watermark(Topic::Staging, partition);
        let to = site.rng.random_range(0..=end);
        if to != committed {
            site.journal.offsets.commit(partition, to, String::new());
            site.refusals.tampered(partition, Tampered::OffsetsMoved);
            site.tally.note(Kind::OffsetsMoved);
        }
    }

    fn delete_unjudged(&mut self, partition: Partition, committed: Offset) {
        let site = &mut self.site;
        let end = site.journal.last_stable(Topic::Staging, partition);
        if committed < end {
            let to = site.rng.random_range(committed + 1..=end);
            cleaning::delete_before(&mut site.journal, partition, to);
            if !site.schedule.accept_loss {
                site.refusals.tampered(partition, Tampered::RecordsDeleted);
            }
        }
    }

    fn recreate(&mut self, partition: Partition) {
        // Where nothing was judged yet, nothing tells the new log from the old one, and nothing needs to.
        if self.checkpoint(partition).is_none_or(|row| row.input_time.is_none()) {
            return;
        }
        self.site.journal.recreate_staging(partition);
        self.site.refusals.tampered(partition, Tampered::StagingRecreated);
        for _ in 0..self.site.rng.random_range(0..=10) {
            self.feed();
        }
    }

    fn checkpoint(&self, partition: Partition) -> Option<CheckpointRow> {
        let end = self.site.journal.high_watermark(Topic::Changelog, partition);
        store::view(&self.site.journal, partition, end).checkpoint
    }

    /// The operator stops every instance, and chooses where each partition goes on that the gate refuses, or would.
    pub fn reset(&mut self) -> Result<(), Breach> {
        if self.site.refusals.is_empty() {
            return Ok(());
        }
        self.stop_all()?;
        self.write_all_markers();
        let chosen: Vec<(Partition, CheckpointRow)> = self
            .site
            .refusals
            .settled()
            .into_iter()
            .filter_map(|(partition, how)| Some((partition, self.choose(partition, how)?)))
            .collect();
        self.resets += 1;
        let id = format!("gate.reset.{}", self.resets);
        let site = &mut self.site;
        site.trace.note(format_args!("{id}: {chosen:?}"));
        site.tally.note(Kind::Reset);
        let epoch = site.journal.init(&id).expect("a new id has nothing open");
        let mut offsets = Vec::new();
        let claim = Claim { transactional_id: id.clone(), released: true }.encode();
        for (partition, row) in chosen {
            offsets.push((partition, row.next_offset, claim.clone()));
            site.journal.send((&id, epoch), Topic::Changelog, partition, Body::Checkpoint(row)).expect(NEW);
        }
        site.journal.send_offsets((&id, epoch), &offsets, None).expect(NEW);
        site.journal.end((&id, epoch), Fate::Committed).expect(NEW);
        site.look()
    }

    /// Ends what the last owner has open, and says where to go on: at the checkpoint if that can be.
    fn choose(&mut self, partition: Partition, how: Tampered) -> Option<CheckpointRow> {
        let claim = self.site.journal.offsets.committed(partition).and_then(|(_, said)| Claim::decode(said));
        if let Some(claim) = claim.filter(|claim| !claim.released) {
            while self.site.journal.init(&claim.transactional_id) == Err(Trouble::Busy) {
                self.write_all_markers();
            }
        }
        let row = self.checkpoint(partition)?;
        if how == Tampered::OffsetsMoved {
            return Some(row);
        }
        let start = self.site.journal.start(Topic::Staging, partition);
        self.site.reference.reset(partition, start);
        Some(CheckpointRow { next_offset: start, epoch: row.epoch + 1, input_time: None, ..row })
    }
}

/// Why the operator's transaction can't fail.
const NEW: &str = "a new id is nobody else's";
