//! Effects on the modelled journal and disk, as the real shell carries them out on Kafka and `RocksDB`; and the
//! wrong orders that `teeth` plants.

use std::sync::Arc;

use rand::RngExt;
use tickgate::core::effect::{Applied, Target, Writes};
use tickgate::core::input::{End, Failure, Owner, Restored};
use tickgate::core::{Effect, Input, Output};
use tickgate::model::{Claim, Event, Kind, Offset, Partition, Source};

use crate::disk::{Table, Write};
use crate::invariants::{Breach, hold};
use crate::journal::{Body, Fate, Topic, Trouble, Truth};
use crate::site::Site;
use crate::teeth::Planted;
use crate::worker::{Life, Process, Sent};

/// Changelog rows that a restore writes at once.
const SLICE_ROWS: usize = 3;

/// How long a takeover waits for the mark of an owner that gives up in order, as the gate does.
const MARK_WAIT_MS: i64 = 250;
/// In 1,000: a fenced producer learns of it when it sends.
const LEARNS_AT_ONCE: u32 = 200;

/// An effect's answer; nothing while it has to wait.
type Answer = Option<Input<'static>>;

impl Process {
    pub fn perform(&mut self, effect: &Effect, site: &mut Site) -> Result<Answer, Breach> {
        let stops = self.asked_to_stop;
        let life = self.life.as_mut().expect("only the living perform effects");
        site.trace.note(format_args!("{} {effect}", life.id));
        let answer = match effect {
            Effect::ReadOwners(partitions) => life.read_owners(partitions, site),
            Effect::Fence(ids) => patiently(life.fence(ids, site)?, stops),
            Effect::AwaitStable(partitions) => patiently(await_stable(partitions, site), stops),
            Effect::Claim(offsets) => Some(life.claim(offsets, site)),
            Effect::ReadTargets(partitions) => Some(read_targets(partitions, site)),
            Effect::Restore(targets) => patiently(self.restore(targets, site)?, stops),
            Effect::Resume(offsets) => {
                life.seat.assign();
                life.places = offsets.iter().copied().collect();
                Some(Input::Done)
            }
            Effect::Begin => {
                life.round = Sent::default();
                Some(Input::Done)
            }
            Effect::Send(outputs) => life.send(outputs, site),
            Effect::Log(writes) => self.log(writes, site)?,
            Effect::SendOffsets { offsets, generation } => {
                let membership = life.memberships.iter().find(|(of, _)| of == generation);
                let accepted = membership.is_some_and(|(_, (member, at))| site.group.accepts(*member, *at))
                    || site.planted == Planted::GiveUpFirst;
                life.send_offsets(offsets, accepted, site)
            }
            Effect::Commit => Some(life.commit(stops, site)),
            Effect::Abort => Some(life.abort(site)),
            Effect::Rewind(offsets) => {
                if site.planted != Planted::NoRewind {
                    life.places.extend(offsets.iter().copied());
                }
                Some(Input::Done)
            }
            Effect::Apply(applied) => Some(self.apply(applied, site)?),
            Effect::Release(_) => {
                life.places.clear();
                life.seat.unassign(&mut site.group, site.journal.now_ms);
                Some(Input::Done)
            }
            Effect::Lookup(symbols) => Some(self.look_up(symbols)),
            Effect::LookAtEnds(partitions) => Some(self.look_at_ends(partitions, site)),
            Effect::Notice(_) | Effect::Rejoin(_) | Effect::Stop(_) => None,
        };
        Ok(answer)
    }

    fn restore(&mut self, targets: &[Target], site: &mut Site) -> Result<Answer, Breach> {
        let behind = |target: &Target| {
            site.journal.last_stable(Topic::Changelog, target.partition) < target.changelog_end
        };
        if targets.iter().any(behind) {
            return Ok(None);
        }
        for target in targets {
            if let Some(slice) = self.slice(target, site) {
                self.disk.apply(vec![slice]);
                self.look_at(target.partition, false, site)?;
                return Ok(None);
            }
        }
        let mut restored = Vec::with_capacity(targets.len());
        for target in targets {
            self.look_at(target.partition, true, site)?;
            let partition = target.partition;
            let empty = Table::default();
            let table = self.disk.table(partition).unwrap_or(&empty);
            restored.push(Restored {
                partition,
                position: table.position.unwrap_or(0),
                checkpoint: table.checkpoint.clone(),
                rows: table.rows.iter().map(|(symbol, row)| ((&**symbol).into(), row.clone())).collect(),
                log_start: 0,
                log_end: site.journal.high_watermark(Topic::Staging, partition),
                time_below_checkpoint: None,
            });
        }
        Ok(Some(Input::Restored(restored)))
    }

    /// The next rows that the store lacks; nothing once it stands at the target.
    fn slice(&self, target: &Target, site: &Site) -> Option<Write> {
        let (partition, to) = (target.partition, target.changelog_end);
        let stored = self.disk.position(partition);
        let clears = stored.is_some_and(|at| at > to);
        let from = if clears { 0 } else { stored.unwrap_or(0) };
        if from >= to && !clears {
            return None;
        }
        let mut slice = Write { partition, clears, rows: Vec::new(), checkpoint: None, position: Some(to) };
        for (at, entry) in site.journal.committed(Topic::Changelog, partition, from, to).take(SLICE_ROWS) {
            match &entry.body {
                Body::Row(symbol, row) => slice.rows.push((symbol.clone(), row.clone())),
                Body::Checkpoint(checkpoint) => slice.checkpoint = Some(checkpoint.clone()),
                _ => {}
            }
            let more = site.journal.committed(Topic::Changelog, partition, at + 1, to).next().is_some();
            slice.position = Some(if more { at + 1 } else { to });
        }
        Some(slice)
    }

    fn log(&mut self, writes: &Arc<Vec<Writes>>, site: &mut Site) -> Result<Answer, Breach> {
        let life = self.life.as_mut().expect("only the living perform effects");
        for write in writes.iter() {
            for (symbol, row) in &write.rows {
                let mut row = row.clone();
                if let (Planted::AlertNotLogged, Some(row)) = (site.planted, &mut row) {
                    row.reported = None;
                }
                if let Err(answer) =
                    life.add(Topic::Changelog, write.partition, Body::Row(symbol.clone(), row), site)
                {
                    return Ok(answer);
                }
            }
            let checkpoint = Body::Checkpoint(write.checkpoint.clone());
            match life.add(Topic::Changelog, write.partition, checkpoint, site) {
                Ok(at) => life.round.positions.push((write.partition, at + 1)),
                Err(answer) => return Ok(answer),
            }
        }
        if site.planted == Planted::ApplyBeforeCommit {
            let batch =
                writes.iter().zip(&life.round.positions).map(|(write, (_, to))| stored(write, *to, site));
            self.disk.apply(batch.collect());
            for write in writes.iter() {
                self.look_at(write.partition, false, site)?;
            }
        }
        Ok(Some(Input::Done))
    }

    fn apply(&mut self, applied: &[Applied], site: &mut Site) -> Result<Input<'static>, Breach> {
        if site.planted == Planted::ApplyBeforeCommit {
            return Ok(Input::Done);
        }
        let mut batch = Vec::with_capacity(applied.len());
        for part in applied {
            let write = &part.writes[part.index];
            let position = self.disk.position(write.partition).unwrap_or(0);
            hold(position == part.from, || {
                format!("partition {}: decided on {}, stored {position}", write.partition, part.from)
            })?;
            batch.push(stored(write, part.to, site));
        }
        self.disk.apply(batch);
        for part in applied {
            self.look_at(part.writes[part.index].partition, true, site)?;
        }
        Ok(Input::Done)
    }

    fn look_at(&self, partition: Partition, whole: bool, site: &Site) -> Result<(), Breach> {
        self.disk.table(partition).map_or(Ok(()), |table| site.look_at_table(partition, table, whole))
    }

    fn look_up(&self, symbols: &[(Partition, Arc<str>)]) -> Input<'static> {
        let row = |(partition, symbol): &(Partition, Arc<str>)| {
            self.disk.table(*partition).and_then(|table| table.rows.get(symbol)).cloned()
        };
        Input::LookedUp(symbols.iter().map(row).collect())
    }

    fn look_at_ends(&self, partitions: &[(Partition, Offset)], site: &Site) -> Input<'static> {
        let looked_at = self.now(site).wall;
        let end = |(partition, committed): &(Partition, Offset)| {
            let high_watermark = site.journal.high_watermark(Topic::Staging, *partition);
            let last_stable = site.journal.last_stable(Topic::Staging, *partition);
            let mut left = site.journal.committed(Topic::Staging, *partition, *committed, last_stable);
            End {
                partition: *partition,
                last_stable,
                high_watermark,
                readable: left.next().is_some(),
                looked_at,
            }
        };
        Input::Ends(partitions.iter().map(end).collect())
    }
}

impl Life {
    /// Waits a little for the marks of owners that give up in order.
    fn read_owners(&mut self, partitions: &[Partition], site: &Site) -> Answer {
        self.excused.clear();
        let mut owners = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let claim = site.journal.offsets.committed(*partition).and_then(|(_, said)| Claim::decode(said));
            if site.journal.offsets.is_pending(*partition) {
                self.excused.extend(claim.iter().map(|claim| claim.transactional_id.clone()));
            }
            owners.push(Owner { partition: *partition, claim });
        }
        let foreign = |owner: &Owner| {
            owner.claim.as_ref().is_some_and(|claim| !claim.released && claim.transactional_id != self.id)
        };
        let give_up_ms = *self.marks_until_ms.get_or_insert(site.journal.now_ms + MARK_WAIT_MS);
        if owners.iter().any(foreign) && site.journal.now_ms <= give_up_ms {
            return None;
        }
        self.marks_until_ms = None;
        Some(Input::Owners(owners))
    }

    fn fence(&self, ids: &[String], site: &mut Site) -> Result<Answer, Breach> {
        let own = site.group.accepts(self.seat.member, self.seat.generation);
        for id in ids {
            let lives = site.living.get(id).is_some_and(|(member, generation)| {
                site.group.accepts(*member, *generation) && !site.group.assigned(*member).is_empty()
            });
            // The mark of an orderly release may still be on its way: then a fence costs a rejoin, no more.
            let excused = self.excused.contains(id);
            hold(!own || !lives || excused, || {
                format!("{} fences {id}, which lives and owns partitions", self.id)
            })?;
            if site.journal.init(id).is_err() {
                return Ok(None);
            }
        }
        Ok(Some(Input::Done))
    }

    fn claim(&self, offsets: &[(Partition, Offset)], site: &mut Site) -> Input<'static> {
        if !site.group.accepts(self.seat.member, self.seat.generation) {
            return Input::Failed(Failure::Refused { reason: "an old generation".to_owned() });
        }
        site.living.insert(self.id.clone(), (self.seat.member, self.seat.generation));
        for (partition, offset) in offsets {
            let claim = Claim { transactional_id: self.id.clone(), released: false };
            site.journal.offsets.commit(*partition, *offset, claim.encode());
        }
        Input::Done
    }

    fn send(&mut self, outputs: &[Output], site: &mut Site) -> Answer {
        if site.fails(site.schedule.refusals / 4) {
            return Some(Input::Failed(Failure::Abort { reason: "a send failed".to_owned() }));
        }
        for output in outputs {
            let (partition, topic, body) = self.message(output);
            if let Err(answer) = self.add(topic, partition, body, site) {
                return answer;
            }
        }
        Some(Input::Done)
    }

    fn message(&mut self, output: &Output) -> (Partition, Topic, Body) {
        let (at, kind) = match output {
            Output::Event { partition, kind, value, .. } => {
                let event =
                    Event::from_json(*kind, value).expect("an event's kind").expect("an event's JSON");
                let said = Arc::new(event.freshness().clone());
                return (*partition, Topic::BadData, Body::Event { kind: *kind, said });
            }
            Output::Forward { at, .. } => (*at, None),
            Output::Reject { at, .. } => (*at, Some(Kind::Rejected)),
            Output::Remove { at, .. } => (*at, Some(Kind::Removed)),
            Output::Unsendable { at, .. } => (*at, Some(Kind::Unsendable)),
        };
        let (partition, offset, staged) = self.batch[at].clone();
        self.round.inputs = true;
        if staged.truth == Truth::Unsendable && kind.is_none() {
            let reason = "too large".to_owned();
            self.round.failed.get_or_insert(Failure::Unsendable { partition, offset, reason });
        }
        let topic = if kind.is_none() { Topic::StockData } else { Topic::BadData };
        (partition, topic, Body::Output { source: Source { partition, offset }, kind })
    }

    /// Sends one message. What a fenced producer sends is never there; mostly it learns of it later.
    fn add(
        &mut self,
        topic: Topic,
        partition: Partition,
        body: Body,
        site: &mut Site,
    ) -> Result<Offset, Answer> {
        match site.journal.send((&self.id, self.epoch), topic, partition, body) {
            Ok(at) => {
                self.round.known = true;
                Ok(at)
            }
            Err(Trouble::Busy) => Err(None),
            Err(Trouble::Fenced) if site.fails(LEARNS_AT_ONCE) => Err(Some(Input::Failed(fenced()))),
            Err(Trouble::Fenced) => Ok(site.journal.high_watermark(topic, partition)),
        }
    }

    fn send_offsets(
        &mut self,
        offsets: &[(Partition, Offset, bool)],
        accepted: bool,
        site: &mut Site,
    ) -> Answer {
        if site.planted == Planted::TimerWithoutOffsets && !self.round.inputs {
            return Some(Input::Done);
        }
        if !accepted {
            return Some(Input::Failed(Failure::Abort { reason: "an old generation".to_owned() }));
        }
        let list: Vec<(Partition, Offset, String)> = offsets
            .iter()
            .map(|(partition, offset, released)| {
                let claim = Claim { transactional_id: self.id.clone(), released: *released };
                (*partition, *offset, claim.encode())
            })
            .collect();
        match site.journal.send_offsets((&self.id, self.epoch), &list) {
            Ok(()) => Some(Input::Done),
            Err(Trouble::Busy) => None,
            Err(Trouble::Fenced) => Some(Input::Failed(fenced())),
        }
    }

    fn commit(&mut self, stops: bool, site: &mut Site) -> Input<'static> {
        if let Some(failure) = self.round.failed.clone() {
            return Input::Failed(failure);
        }
        if site.fails(site.schedule.refusals) {
            return Input::Failed(Failure::Abort { reason: "the commit was refused".to_owned() });
        }
        let lost = site.fails(site.schedule.lost_replies);
        if lost && site.rng.random_bool(0.5) {
            return self.unknown(stops, site);
        }
        match site.journal.end((&self.id, self.epoch), Fate::Committed) {
            Err(_) => Input::Failed(fenced()),
            Ok(()) if lost => self.unknown(stops, site),
            Ok(()) => Input::Committed(self.round.positions.clone()),
        }
    }

    fn unknown(&mut self, stops: bool, site: &mut Site) -> Input<'static> {
        if site.planted == Planted::UnknownIsAborted {
            self.round.forgotten = true;
            return Input::Failed(Failure::Abort { reason: "no reply".to_owned() });
        }
        if stops && site.rng.random_bool(0.5) {
            return Input::Failed(Failure::Interrupted);
        }
        Input::Failed(Failure::Unknown)
    }

    fn abort(&mut self, site: &mut Site) -> Input<'static> {
        if !self.round.known {
            return Input::Done;
        }
        match site.journal.end((&self.id, self.epoch), Fate::Aborted) {
            Err(_) if !self.round.forgotten => Input::Failed(fenced()),
            _ => Input::Done,
        }
    }
}

fn await_stable(partitions: &[Partition], site: &Site) -> Answer {
    let offsets = &site.journal.offsets;
    if site.planted != Planted::ClaimBeforeStable && partitions.iter().any(|of| offsets.is_pending(*of)) {
        return None;
    }
    let stable = |of: &Partition| (*of, offsets.committed(*of).map(|(offset, _)| offset));
    Some(Input::Stable(partitions.iter().map(stable).collect()))
}

fn read_targets(partitions: &[Partition], site: &Site) -> Input<'static> {
    let end = |of: &Partition| match site.planted {
        Planted::TargetAtLastStable => site.journal.last_stable(Topic::Changelog, *of),
        _ => site.journal.high_watermark(Topic::Changelog, *of),
    };
    Input::Targets(partitions.iter().map(|of| (*of, end(of))).collect())
}

/// What a process that was asked to stop no longer waits for.
fn patiently(answer: Answer, stops: bool) -> Answer {
    answer.or_else(|| stops.then_some(Input::Failed(Failure::Interrupted)))
}

fn stored(write: &Writes, to: Offset, site: &Site) -> Write {
    let rows = if site.planted == Planted::PositionWithoutValues { Vec::new() } else { write.rows.clone() };
    let checkpoint = Some(write.checkpoint.clone());
    Write { partition: write.partition, clears: false, rows, checkpoint, position: Some(to) }
}

fn fenced() -> Failure {
    Failure::Fenced { reason: "a newer epoch".to_owned() }
}
