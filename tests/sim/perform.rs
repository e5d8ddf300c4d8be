//! Effects on the modelled journal and disk, as the real shell carries them out on Kafka and `RocksDB`; and the
//! wrong orders that `teeth` plants.

use std::sync::Arc;

use rand::RngExt;
use tickgate::core::effect::{Applied, Writes};
use tickgate::core::input::{Failure, Owner};
use tickgate::core::{Effect, Generation, Input, Output};
use tickgate::model::{Claim, Event, Kind as EventKind, Offset, Partition, Rule, Source};

use crate::disk::Write;
use crate::group::Member;
use crate::invariants::{Breach, hold, store};
use crate::journal::{Body, Fate, Topic, Trouble, Truth};
use crate::process::Home;
use crate::site::Site;
use crate::tally::Kind;
use crate::teeth::Planted;
use crate::worker::{Life, Sent};

/// How long a takeover waits for the mark of an owner that gives up in order, as the gate does.
const MARK_WAIT_MS: i64 = 250;
/// How long a claim is tried that a cooperative group refuses, as by the gate.
const CLAIM_WAIT_MS: i64 = 5_000;
/// In 1,000: a fenced producer learns of it when it sends.
const LEARNS_AT_ONCE: u32 = 200;

/// An effect's answer; nothing while it has to wait.
pub type Answer = Option<Input<'static>>;

impl Life {
    pub fn perform(&mut self, effect: &Effect, home: &mut Home, site: &mut Site) -> Result<Answer, Breach> {
        let stops = home.asked_to_stop;
        site.trace.note(format_args!("{} {effect}", self.id));
        self.slip_before(effect, home);
        if self.is_superseded(effect, home, site) {
            site.tally.note(Kind::Superseded);
            return Ok(Some(Input::Failed(Failure::Superseded)));
        }
        let answer = match effect {
            Effect::Accept(_) => {
                self.seat.assign(&mut site.group, site.journal.now_ms);
                Some(Input::Accepted { generation: self.take_membership() })
            }
            Effect::ReadOwners(partitions) => self.read_owners(partitions, site),
            Effect::Fence(ids) => patiently(self.fence(ids, home, site)?, stops),
            Effect::AwaitStable(partitions) => patiently(await_stable(partitions, site), stops),
            Effect::Claim(offsets) => patiently(self.claim(offsets, site)?, stops),
            Effect::ReadTargets(partitions) => {
                self.current_at = home.now(site).wall.0;
                patiently(read_targets(partitions, site), stops)
            }
            Effect::Restore(targets) => patiently(self.restore(targets, home, site)?, stops),
            Effect::Resume(offsets) => {
                site.refusals.check_resumed(&self.id, offsets)?;
                self.seat.assign(&mut site.group, site.journal.now_ms);
                if !site.group.is_cooperative {
                    self.places.clear();
                }
                self.places.extend(offsets.iter().copied());
                Some(Input::Done)
            }
            Effect::Begin => {
                self.round = Sent::default();
                Some(Input::Done)
            }
            Effect::Send(outputs) => self.send(outputs, site),
            Effect::Log(writes) => self.log(writes, home, site)?,
            Effect::SendOffsets { offsets, generation } => {
                self.current_at = home.now(site).wall.0;
                self.send_offsets(offsets, *generation, site)
            }
            Effect::Commit => Some(self.commit(stops, site)),
            Effect::Abort => Some(self.abort(home, site)?),
            Effect::Rewind(offsets) => {
                if site.planted != Planted::NoRewind {
                    self.places.extend(offsets.iter().copied());
                }
                Some(Input::Done)
            }
            Effect::Apply(applied) => Some(self.apply(applied, home, site)?),
            Effect::Release(partitions) => Some(self.release(partitions, home, site)?),
            Effect::Lookup(symbols) => Some(home.look_up(symbols)),
            Effect::Scan { spans, limit } => Some(home.scan(spans, *limit)),
            Effect::LookAtEnds(partitions) => {
                site.looks.note(home.now(site).wall.0, site.journal.now_ms);
                Some(Input::Ends(home.look_at_ends(partitions, site), home.silent_feeds(site)))
            }
            Effect::LookAtFeeds { ends } => {
                site.looks.note(home.now(site).wall.0, site.journal.now_ms);
                Some(home.look_at_feeds(*ends, site))
            }
            Effect::Notice(_) | Effect::Rejoin(_) | Effect::Stop(_) => None,
        };
        Ok(answer)
    }

    /// Planted: what was to be applied is applied when the next effect is asked for, after it if partitions are
    /// given up with that.
    fn slip_before(&mut self, effect: &Effect, home: &mut Home) {
        if !self.slip.held.is_empty() && !matches!(effect, Effect::Release(_)) {
            home.disk.apply(std::mem::take(&mut self.slip.held));
        }
    }

    fn log(&mut self, writes: &Arc<Vec<Writes>>, home: &mut Home, site: &mut Site) -> Result<Answer, Breach> {
        for write in writes.iter() {
            for (symbol, row) in &write.rows {
                let mut row = row.clone();
                if let (Planted::AlertNotLogged, Some(row)) = (site.planted, &mut row) {
                    row.reported = None;
                }
                if let Err(answer) =
                    self.add(Topic::Changelog, write.partition, Body::Row(symbol.clone(), row), site)
                {
                    return Ok(answer);
                }
            }
            for (name, row) in &write.classes {
                let body = Body::Class(name.clone(), row.clone());
                if let Err(answer) = self.add(Topic::Changelog, write.partition, body, site) {
                    return Ok(answer);
                }
            }
            let checkpoint = Body::Checkpoint(write.checkpoint.clone());
            match self.add(Topic::Changelog, write.partition, checkpoint, site) {
                Ok(at) => self.round.positions.push((write.partition, at + 1)),
                Err(answer) => return Ok(answer),
            }
        }
        let positions = &self.round.positions;
        let batch =
            writes.iter().zip(positions).map(|(write, (_, to))| self.stored(write, *to, site)).collect();
        match site.planted {
            Planted::ApplyBeforeCommit => {
                home.disk.apply(batch);
                for write in writes.iter() {
                    home.look_at(write.partition, false, site)?;
                }
            }
            Planted::OverlayKept => self.slip.overlay = batch,
            _ => {}
        }
        Ok(Some(Input::Done))
    }

    fn apply(
        &mut self,
        applied: &[Applied],
        home: &mut Home,
        site: &mut Site,
    ) -> Result<Input<'static>, Breach> {
        if site.planted == Planted::ApplyBeforeCommit {
            return Ok(Input::Done);
        }
        let mut batch = Vec::with_capacity(applied.len());
        for part in applied {
            let write = &part.writes[part.index];
            let position = home.disk.position(write.partition).unwrap_or(0);
            hold(position == part.from, || {
                format!("partition {}: decided on {}, stored {position}", write.partition, part.from)
            })?;
            hold(home.disk.take(write.partition, &self.id), || {
                format!("partition {}: {} applies and is not its writer", write.partition, self.id)
            })?;
            batch.push(self.stored(write, part.to, site));
        }
        if site.planted == Planted::ReleaseBeforeApply {
            self.slip.held = batch;
            return Ok(Input::Done);
        }
        self.slip.overlay.clear();
        home.disk.apply(batch);
        for part in applied {
            home.look_at(part.writes[part.index].partition, true, site)?;
        }
        Ok(Input::Done)
    }

    fn release(
        &mut self,
        partitions: &[Partition],
        home: &mut Home,
        site: &mut Site,
    ) -> Result<Input<'static>, Breach> {
        for partition in partitions {
            let committed = self.committed.remove(partition);
            store::check_given_up(*partition, home.disk.position(*partition), committed)?;
        }
        self.places.retain(|partition, _| site.group.is_cooperative && !partitions.contains(partition));
        home.disk.give_back(&self.id, partitions);
        self.seat.unassign(&mut site.group, site.journal.now_ms);
        Ok(Input::Done)
    }

    fn stored(&self, write: &Writes, to: Offset, site: &Site) -> Write {
        let rows =
            if site.planted == Planted::PositionWithoutValues { Vec::new() } else { write.rows.clone() };
        Write {
            partition: write.partition,
            clears: false,
            rows,
            classes: if site.planted == Planted::PositionWithoutValues {
                Vec::new()
            } else {
                write.classes.clone()
            },
            checkpoint: Some(write.checkpoint.clone()),
            position: Some(to),
            current_at: self.current_at,
        }
    }
}

impl Life {
    /// Waits a little for the marks of owners that give up in order.
    fn read_owners(&mut self, partitions: &[Partition], site: &Site) -> Answer {
        self.excused.clear();
        let mut owners = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let claim = site.journal.offsets.committed(*partition).and_then(|(_, said)| Claim::decode(said));
            let marks = site.journal.offsets.pending(*partition).filter_map(Claim::decode);
            self.excused.extend(marks.filter(|mark| mark.released).map(|mark| mark.transactional_id));
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

    fn fence(&self, ids: &[String], home: &Home, site: &mut Site) -> Result<Answer, Breach> {
        let own = site.group.accepts(self.seat.member, self.seat.generation);
        for id in ids.iter().filter(|id| !home.fenced.contains(*id)) {
            if own {
                site.living.check(&self.id, id, &site.group, self.excused.contains(id))?;
            }
            if site.journal.init(id).is_err() {
                return Ok(None);
            }
            site.tally.note(Kind::OwnerFenced);
        }
        Ok(Some(Input::Done))
    }

    fn claim(&mut self, offsets: &[(Partition, Offset)], site: &mut Site) -> Result<Answer, Breach> {
        let membership = (self.seat.member, self.seat.generation);
        if !accepts(membership, site) {
            let reason = "an old generation".to_owned();
            if !site.group.is_cooperative {
                return Ok(Some(Input::Failed(Failure::Refused { reason })));
            }
            let now_ms = site.journal.now_ms;
            if now_ms <= *self.claims_until_ms.get_or_insert(now_ms + CLAIM_WAIT_MS) {
                site.tally.note(Kind::ClaimAwaited);
                return Ok(None);
            }
            self.claims_until_ms = None;
            return Ok(Some(Input::Failed(Failure::Fenced { reason })));
        }
        self.claims_until_ms = None;
        site.living.claimed(&self.id, membership);
        site.tally.note(Kind::Claimed);
        for (partition, offset) in offsets {
            let claim = Claim { transactional_id: self.id.clone(), released: false };
            site.journal.offsets.commit(*partition, *offset, claim.encode());
            site.owners.commits(*partition, membership.1, &self.id)?;
        }
        Ok(Some(Input::Done))
    }

    fn send(&mut self, outputs: &[Output], site: &mut Site) -> Answer {
        if site.fails(site.schedule.refusals / 4) {
            return Some(Input::Failed(Failure::Abort { reason: "a send failed".to_owned() }));
        }
        for output in outputs {
            let (partition, topic, body) = match self.message(output) {
                Ok(message) => message,
                Err(failure) => return Some(Input::Failed(failure)),
            };
            if let Err(answer) = self.add(topic, partition, body, site) {
                return answer;
            }
        }
        if let Some(output) = outputs.last()
            && site.planted == Planted::DoublePush
            && site.rng.random_ratio(1, 10)
            && let Ok((partition, topic, body)) = self.message(output)
        {
            let _again = self.add(topic, partition, body, site);
        }
        Some(Input::Done)
    }

    fn message(&mut self, output: &Output) -> Result<(Partition, Topic, Body), Failure> {
        let (at, epoch, kind) = match output {
            Output::Event { partition, kind, value, .. } => {
                let event =
                    Event::from_json(*kind, value).expect("an event's kind").expect("an event's JSON");
                let body = match event {
                    Event::Stale(said) | Event::Recovered(said) => {
                        Body::Event { kind: *kind, said: Arc::new(said) }
                    }
                    of_a_class => Body::Feed(of_a_class),
                };
                return Ok((*partition, Topic::BadData, body));
            }
            Output::Forward { at, epoch, .. } => (*at, *epoch, None),
            Output::Reject { at, epoch, .. } => (*at, *epoch, Some(EventKind::Rejected)),
            Output::Remove { at, epoch } => (*at, *epoch, Some(EventKind::Removed)),
            Output::Unsendable { at, epoch, .. } => (*at, *epoch, Some(EventKind::Unsendable)),
        };
        let marks = match output {
            Output::Forward { suspects, .. } => suspects.iter().map(Rule::name).collect(),
            _ => Vec::new(),
        };
        let (partition, offset, staged) = self.batch[at].clone();
        self.round.inputs = true;
        if let (Truth::Unsendable { at_once }, None) = (&staged.truth, kind) {
            let failure = Failure::Unsendable { partition, offset, reason: "too large".to_owned() };
            if *at_once {
                return Err(failure);
            }
            self.round.failed.get_or_insert(failure);
        }
        let topic = if kind.is_none() { Topic::StockData } else { Topic::BadData };
        Ok((partition, topic, Body::Output { source: Source { partition, offset }, kind, epoch, marks }))
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
        generation: Generation,
        site: &mut Site,
    ) -> Answer {
        if site.planted == Planted::TimerWithoutOffsets && !self.round.inputs {
            return Some(Input::Done);
        }
        let membership = match site.planted {
            Planted::MetadataAfterPoll => Some((self.seat.member, self.seat.generation)),
            _ => self.memberships.iter().find(|(of, _)| *of == generation).map(|(_, membership)| *membership),
        };
        let accepted = membership.filter(|of| accepts(*of, site) || site.planted == Planted::GiveUpFirst);
        let Some((_, of)) = accepted else {
            return Some(Input::Failed(Failure::Abort { reason: "an old generation".to_owned() }));
        };
        let list: Vec<(Partition, Offset, String)> = offsets
            .iter()
            .map(|(partition, offset, released)| {
                let claim = Claim { transactional_id: self.id.clone(), released: *released };
                (*partition, *offset, claim.encode())
            })
            .collect();
        // All of them belong to a takeover that the group has ended.
        let unclaims = self.round.positions.is_empty();
        if unclaims && site.planted == Planted::NotUnclaimed {
            return Some(Input::Done);
        }
        match site.journal.send_offsets((&self.id, self.epoch), &list, Some(of)) {
            Ok(()) if unclaims => {
                self.round.known = true;
                site.tally.note(Kind::Unclaimed);
                Some(Input::Done)
            }
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
            site.tally.note(Kind::CommitRefused);
            return Input::Failed(Failure::Abort { reason: "the commit was refused".to_owned() });
        }
        let lost = site.fails(site.schedule.lost_replies);
        if lost && site.rng.random_bool(0.5) {
            site.tally.note(Kind::UnknownNotDone);
            return self.unknown(stops, site);
        }
        match site.journal.end((&self.id, self.epoch), Fate::Committed) {
            Err(_) if site.planted != Planted::FencedGoesOn => Input::Failed(fenced()),
            Ok(()) if lost => {
                site.tally.note(Kind::UnknownButDone);
                self.unknown(stops, site)
            }
            _ => {
                site.tally.note(Kind::CommitSucceeded);
                self.committed.extend(self.round.positions.iter().copied());
                Input::Committed(self.round.positions.clone())
            }
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

    fn abort(&mut self, home: &mut Home, site: &mut Site) -> Result<Input<'static>, Breach> {
        site.tally.note(Kind::Abort);
        // Planted: the core drops its overlay, so the interpreter keeps one in its place, in the store.
        for mut write in std::mem::take(&mut self.slip.overlay) {
            let partition = write.partition;
            (write.position, write.checkpoint) = (None, None);
            home.disk.apply(vec![write]);
            home.look_at(partition, false, site)?;
        }
        if !self.round.known {
            return Ok(Input::Done);
        }
        Ok(match site.journal.end((&self.id, self.epoch), Fate::Aborted) {
            Err(_) if !self.round.forgotten => Input::Failed(fenced()),
            _ => Input::Done,
        })
    }
}

/// Whether the group takes a commit under a membership.
fn accepts((member, generation): (Member, u32), site: &Site) -> bool {
    let replaced = site.planted == Planted::ReplacedAccepted;
    site.group.accepts(member, generation) || replaced && site.group.accepts_replaced(member, generation)
}

fn await_stable(partitions: &[Partition], site: &Site) -> Answer {
    let offsets = &site.journal.offsets;
    if site.planted != Planted::ClaimBeforeStable && partitions.iter().any(|of| offsets.is_pending(*of)) {
        return None;
    }
    let stable = |of: &Partition| (*of, offsets.committed(*of).map(|(offset, _)| offset));
    Some(Input::Stable(partitions.iter().map(stable).collect()))
}

fn read_targets(partitions: &[Partition], site: &mut Site) -> Answer {
    let told = |of: &Partition| site.journal.tells_end(Topic::Changelog, *of);
    let all_told = partitions.iter().all(told);
    if !all_told && site.planted != Planted::TargetOfNewLeader {
        site.tally.note(Kind::ElectionAwaited);
        return None;
    }
    let mut targets = Vec::with_capacity(partitions.len());
    for of in partitions {
        let end = match site.planted {
            Planted::TargetAtLastStable => site.journal.last_stable(Topic::Changelog, *of),
            _ => site.journal.high_watermark(Topic::Changelog, *of),
        };
        // Planted: a new leader's high watermark lags for a moment, and is taken at its word.
        let lag =
            if site.journal.tells_end(Topic::Changelog, *of) { 0 } else { site.rng.random_range(1..=5) };
        targets.push((*of, (end - lag).max(0)));
    }
    Some(Input::Targets(targets))
}

/// What a process that was asked to stop no longer waits for.
fn patiently(answer: Answer, stops: bool) -> Answer {
    answer.or_else(|| stops.then_some(Input::Failed(Failure::Interrupted)))
}

fn fenced() -> Failure {
    Failure::Fenced { reason: "a newer epoch".to_owned() }
}
