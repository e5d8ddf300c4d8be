//! The core by hand: each test feeds inputs and reads effects, without any journal.

mod listings;
mod silences;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::effect::{Applied, Effect, Notice, Output, Refusal, Span, Stop};
use super::input::{End, Failure, FeedPart, Generation, Input, Now, Owner, Restored};
use super::record::Record;
use super::rules::RuleSettings;
use super::{Calendar, Class, Classes, Processor, Settings, Wake};
use crate::model::{CheckpointRow, Claim, ClassRow, Kind, Offset, Partition, Reported, SymbolRow, WallTime};

mod feeds;
mod interrupted;

const GENERATION: Generation = Generation(1);

fn settings() -> Settings {
    Settings {
        staging: "staging".to_owned(),
        commit_interval_ms: 100,
        round_max_records: 1000,
        classes: Arc::new(Classes::of_one(None, Some(1_000))),
        watchlist: Arc::default(),
        grace_ms: 50,
        renew_after_ms: i64::MAX / 2,
        hot_symbols: 100,
        page_symbols: 2,
        scan_rows_max: 3,
        accept_loss: false,
        rules: RuleSettings { future_skew_ms: i64::MAX / 2, ..RuleSettings::default() },
        fingerprint: 7,
    }
}

fn at(ms: i64) -> Now {
    Now { wall: WallTime(ms), monotonic_ms: ms }
}

fn checkpoint(next_offset: Offset) -> CheckpointRow {
    CheckpointRow { next_offset, epoch: 0, fingerprint: 7, input_time: Some(5) }
}

fn restored(checkpoint: Option<CheckpointRow>) -> Restored {
    Restored {
        partition: 0,
        position: 10,
        checkpoint,
        classes: Vec::new(),
        log_start: 0,
        log_end: 100,
        time_below_checkpoint: None,
    }
}

/// A core and the store beside it, of one partition.
struct Gate {
    core: Processor,
    store: BTreeMap<Box<str>, SymbolRow>,
    /// The committed offset.
    committed: Option<Offset>,
    /// Class rows of the own partition, and those of others as the replica has them.
    classes: BTreeMap<Box<str>, ClassRow>,
    others: Vec<FeedPart>,
}

impl Deref for Gate {
    type Target = Processor;

    fn deref(&self) -> &Processor {
        &self.core
    }
}

impl DerefMut for Gate {
    fn deref_mut(&mut self) -> &mut Processor {
        &mut self.core
    }
}

impl Gate {
    fn rows(&self, span: &Span, limit: usize) -> Vec<(Box<str>, SymbolRow)> {
        let inside = |name: &str| name >= &*span.from && span.until.as_deref().is_none_or(|end| name < end);
        let rows = self.store.iter().filter(|(name, _)| inside(name)).take(limit);
        rows.map(|(name, row)| (name.clone(), row.clone())).collect()
    }

    fn silent_feeds(&self) -> Vec<Box<str>> {
        let silent = self.classes.iter().filter(|(_, row)| row.silent_from.is_some());
        silent.map(|(name, _)| name.clone()).collect()
    }

    /// The own partition as far as it is committed, and the others as they were set.
    fn feed_parts(&self, ends: bool, now: Now) -> Vec<FeedPart> {
        let next_offset = self.core.progress().tasks[0].1;
        let own = feed_part(0, next_offset, &self.classes, now);
        let parts = self.others.iter().cloned().chain([own]);
        parts.map(|part| FeedPart { end: part.end.filter(|_| ends), ..part }).collect()
    }

    fn apply(&mut self, applied: &[Applied]) {
        let writes = || applied.iter().map(|part| &part.writes[part.index]);
        for (name, row) in writes().flat_map(|write| &write.classes) {
            self.classes.insert((**name).into(), row.clone());
        }
        for (symbol, row) in applied.iter().flat_map(|part| &part.writes[part.index].rows) {
            match row {
                Some(row) => drop(self.store.insert((**symbol).into(), row.clone())),
                None => drop(self.store.remove(&**symbol)),
            }
        }
    }
}

/// A partition that is read to its end.
fn feed_part(partition: Partition, at: Offset, classes: &BTreeMap<Box<str>, ClassRow>, now: Now) -> FeedPart {
    let end = End { partition, last_stable: at, high_watermark: at, readable: false, looked_at: now.wall };
    let classes = classes.iter().map(|(name, row)| (name.clone(), row.clone())).collect();
    FeedPart { partition, end: Some(end), next_offset: at, classes }
}

/// A core that has been assigned partition 0 and has got as far as `Restore`.
fn taking_over(settings: Settings, committed: Option<Offset>, claim: Option<&Claim>) -> (Gate, Vec<Effect>) {
    let core = Processor::new(settings, "me".to_owned(), at(0));
    let (classes, others) = (BTreeMap::new(), Vec::new());
    let mut core = Gate { core, store: BTreeMap::new(), committed, classes, others };
    let mut seen = Vec::new();
    core.handle(Input::Assigned { partitions: vec![0], generation: GENERATION }, at(0));
    while let Some(effect) = core.poll_effect() {
        seen.push(effect.clone());
        let answer = match effect {
            Effect::ReadOwners(_) => Input::Owners(vec![Owner { partition: 0, claim: claim.cloned() }]),
            Effect::AwaitStable(_) => Input::Stable(vec![(0, committed)]),
            Effect::ReadTargets(_) => Input::Targets(vec![(0, 10)]),
            Effect::Restore(_) => break,
            _ => Input::Done,
        };
        core.handle(answer, at(0));
    }
    (core, seen)
}

/// Answers everything with success until the core is idle; positions grow by 10.
fn settle(core: &mut Gate, now: Now) -> Vec<Effect> {
    let mut seen = Vec::new();
    let mut position = 10;
    while let Some(effect) = core.poll_effect() {
        seen.push(effect.clone());
        let answer = match effect {
            Effect::Commit if core.tasks.is_empty() => Input::Committed(Vec::new()),
            Effect::Notice(_) | Effect::Rejoin(_) | Effect::Stop(_) => continue,
            Effect::Commit => {
                position += 10;
                Input::Committed(vec![(0, position + now.monotonic_ms)])
            }
            Effect::Lookup(names) => {
                Input::LookedUp(names.iter().map(|(_, name)| core.store.get(&**name).cloned()).collect())
            }
            Effect::AwaitStable(_) => Input::Stable(vec![(0, core.committed)]),
            Effect::Scan { spans, limit } => {
                Input::Scanned(spans.iter().map(|span| core.rows(span, limit)).collect())
            }
            Effect::Apply(applied) => {
                core.apply(&applied);
                Input::Done
            }
            Effect::LookAtEnds(of) => Input::Ends(
                of.iter()
                    .map(|(partition, committed)| End {
                        partition: *partition,
                        last_stable: *committed,
                        high_watermark: *committed,
                        readable: false,
                        looked_at: now.wall,
                    })
                    .collect(),
                core.silent_feeds(),
            ),
            Effect::LookAtFeeds { ends } => Input::Feeds(core.feed_parts(ends, now)),
            _ => Input::Done,
        };
        core.handle(answer, now);
    }
    seen
}

/// A core that owns partition 0, reads at offset 5 and has looked its store through.
fn running() -> Gate {
    running_on(&[])
}

/// The same, on a store with these symbols.
fn running_on(rows: &[(&str, SymbolRow)]) -> Gate {
    running_with(settings(), rows)
}

fn running_with(settings: Settings, rows: &[(&str, SymbolRow)]) -> Gate {
    let (mut core, _) = taking_over(settings, Some(5), None);
    core.store = rows.iter().map(|(name, row)| ((*name).into(), row.clone())).collect();
    core.handle(Input::Restored(vec![restored(Some(checkpoint(5)))]), at(0));
    settle(&mut core, at(0));
    while core.poll_timeout(at(0)).is_some_and(|(wait, _)| wait.is_zero()) {
        core.handle(Input::Tick { generation: GENERATION }, at(0));
        assert!(names(&settle(&mut core, at(0))).iter().all(|name| *name == "scan"));
    }
    core
}

fn seen(last_seen: i64) -> SymbolRow {
    SymbolRow { last_seen: Some(last_seen), ..SymbolRow::default() }
}

fn quote(ms: i64) -> String {
    let time = crate::model::EventTime(ms);
    format!(r#"{{"symbol":"A","last_price":1.5,"volume":1,"timestamp":"{time}"}}"#)
}

fn arrive(core: &mut Gate, offset: Offset, event_ms: i64, now: Now) {
    arrive_as(core, "A", offset, event_ms, now);
}

fn arrive_as(core: &mut Gate, symbol: &str, offset: Offset, event_ms: i64, now: Now) {
    let value = quote(event_ms).replace(r#""A""#, &format!(r#""{symbol}""#));
    let record = Record {
        partition: 0,
        offset,
        kafka_time: Some(now.wall.0),
        key: Some(symbol.as_bytes()),
        value: Some(value.as_bytes()),
    };
    core.handle(Input::Arrivals { records: &[record], generation: GENERATION }, now);
}

fn names(effects: &[Effect]) -> Vec<&'static str> {
    effects.iter().map(Effect::name).collect()
}

fn events(effects: &[Effect]) -> Vec<Kind> {
    let outputs = effects.iter().filter_map(|effect| match effect {
        Effect::Send(outputs) => Some(outputs),
        _ => None,
    });
    outputs
        .flatten()
        .filter_map(|output| match output {
            Output::Event { kind, .. } => Some(*kind),
            _ => None,
        })
        .collect()
}

#[test]
fn a_takeover_fences_the_dead_before_it_claims_and_claims_before_it_takes_the_target() {
    let dead = Claim { transactional_id: "other".to_owned(), released: false };
    let (_, seen) = taking_over(settings(), Some(5), Some(&dead));
    assert_eq!(
        names(&seen),
        ["accept", "read owners", "fence", "await stable", "claim", "read targets", "restore"]
    );
}

#[test]
fn neither_an_owner_that_gave_up_nor_the_own_id_is_fenced() {
    for claim in [
        Claim { transactional_id: "other".to_owned(), released: true },
        Claim { transactional_id: "me".to_owned(), released: false },
    ] {
        let (_, seen) = taking_over(settings(), Some(5), Some(&claim));
        assert!(!names(&seen).contains(&"fence"), "{seen:?}");
    }
}

#[test]
fn state_and_input_must_agree() {
    let below = |mut part: Restored, time| {
        part.time_below_checkpoint = Some(time);
        part
    };
    let starting_at = |mut part: Restored, log_start| {
        part.log_start = log_start;
        part
    };
    let same = restored(Some(checkpoint(5)));
    let differs = Refusal::CheckpointDiffers { partition: 0, committed: 4, checkpoint: Some(5) };
    let none = Refusal::CheckpointDiffers { partition: 0, committed: 4, checkpoint: None };
    let beyond = Refusal::BeyondEnd { partition: 0, offset: 101, log_end: 100 };
    let before = Refusal::BeforeStart { partition: 0, offset: 5, log_start: 8 };
    let recreated = |found| Refusal::Recreated { partition: 0, offset: 5, found, expected: 5 };
    for (committed, part, refusal) in [
        (Some(4), same.clone(), differs),
        (Some(4), restored(None), none),
        (Some(101), restored(Some(checkpoint(101))), beyond.clone()),
        (None, restored(Some(checkpoint(101))), beyond),
        (Some(5), starting_at(same.clone(), 8), before),
        (None, below(same.clone(), 6), recreated(Some(6))),
        (None, same, recreated(None)),
    ] {
        let (mut core, _) = taking_over(settings(), committed, None);
        core.handle(Input::Restored(vec![part]), at(0));
        let seen = settle(&mut core, at(0));
        let Some(Effect::Stop(Stop::Refused(found))) = seen.last() else { panic!("{refusal:?}: {seen:?}") };
        assert_eq!(*found, refusal);
        let before: &[&str] =
            if committed.is_some() { &["await stable", "claim", "stop"] } else { &["await stable", "stop"] };
        assert_eq!(names(&seen), before, "only an owner may refuse");
    }
}

#[test]
fn a_worker_that_lost_its_partitions_unawares_refuses_nothing() {
    let (mut core, _) = taking_over(settings(), Some(4), None);
    core.handle(Input::Restored(vec![restored(Some(checkpoint(5)))]), at(0));
    assert!(matches!(core.poll_effect(), Some(Effect::AwaitStable(_))));
    core.handle(Input::Stable(vec![(0, Some(4))]), at(0));
    assert!(matches!(core.poll_effect(), Some(Effect::Claim(claims)) if claims == [(0, 4)]));
    core.handle(Input::Failed(Failure::Refused { reason: "an old generation".to_owned() }), at(0));
    let seen = settle(&mut core, at(0));
    assert_eq!(names(&seen), ["notice", "release"]);
    assert!(matches!(seen.last(), Some(Effect::Release(partitions)) if *partitions == [0]));
}

#[test]
fn without_a_committed_offset_the_checkpoint_stands_in_and_is_committed_before_reading() {
    let (mut core, _) = taking_over(settings(), None, None);
    let part = Restored { time_below_checkpoint: Some(5), ..restored(Some(checkpoint(5))) };
    core.handle(Input::Restored(vec![part]), at(0));
    let seen = settle(&mut core, at(0));
    assert_eq!(names(&seen), ["notice", "begin", "log", "send offsets", "commit", "apply", "resume"]);
    assert!(matches!(seen.last(), Some(Effect::Resume(offsets)) if *offsets == [(0, 5)]));
}

#[test]
fn accepted_loss_goes_on_at_the_logs_start_and_says_what_is_gone() {
    let (mut core, _) = taking_over(Settings { accept_loss: true, ..settings() }, Some(5), None);
    let mut part = restored(Some(checkpoint(5)));
    part.log_start = 8;
    core.handle(Input::Restored(vec![part]), at(0));
    let seen = settle(&mut core, at(0));
    assert!(matches!(
        seen[..2],
        [Effect::AwaitStable(_), Effect::Notice(Notice::Lost { from: 5, to: 8, .. })]
    ));
    assert!(matches!(seen.last(), Some(Effect::Resume(offsets)) if *offsets == [(0, 8)]), "{seen:?}");
}

#[test]
fn a_round_commits_before_it_applies() {
    let mut core = running();
    arrive(&mut core, 5, 10_000, at(10));
    assert_eq!(names(&settle(&mut core, at(10))), ["look up", "begin", "send"]);
    assert!(matches!(core.poll_timeout(at(10)), Some((_, Wake::Commit))));
    core.handle(Input::Tick { generation: GENERATION }, at(110));
    assert_eq!(names(&settle(&mut core, at(110))), ["log", "send offsets", "commit", "apply"]);
    assert_eq!(core.progress().tasks[0].1, 6);
}

#[test]
fn a_changelog_that_went_back_is_not_applied_but_taken_over_anew() {
    let mut core = running();
    arrive(&mut core, 5, 10_000, at(10));
    settle(&mut core, at(10));
    core.handle(Input::Tick { generation: GENERATION }, at(110));
    while !matches!(core.poll_effect(), Some(Effect::Commit)) {
        core.handle(Input::Done, at(110));
    }
    core.handle(Input::Committed(vec![(0, 3)]), at(110));
    assert_eq!(names(&settle(&mut core, at(110))), ["rejoin"]);
}

#[test]
fn an_abort_drops_the_overlay_and_reads_again() {
    let mut core = running();
    arrive(&mut core, 5, 10_000, at(10));
    settle(&mut core, at(10));
    core.handle(Input::Tick { generation: GENERATION }, at(110));
    assert!(matches!(core.poll_effect(), Some(Effect::Log(_))));
    core.handle(Input::Failed(Failure::Abort { reason: "broken".to_owned() }), at(110));
    let seen = settle(&mut core, at(110));
    assert_eq!(names(&seen), ["notice", "abort", "rewind"]);
    assert!(matches!(seen.last(), Some(Effect::Rewind(offsets)) if *offsets == [(0, 5)]));
    // The aborted event time is forgotten: an earlier one is no late one.
    arrive(&mut core, 5, 9_000, at(120));
    settle(&mut core, at(120));
    core.handle(Input::Tick { generation: GENERATION }, at(300));
    let seen = settle(&mut core, at(300));
    let Some(Effect::Log(writes)) = seen.first() else { panic!("{seen:?}") };
    assert_eq!(writes[0].rows[0].1.as_ref().and_then(|row| row.last_seen), Some(9_000));
}

#[test]
fn an_unknown_outcome_is_asked_again() {
    let mut core = running();
    arrive(&mut core, 5, 10_000, at(10));
    settle(&mut core, at(10));
    core.handle(Input::Tick { generation: GENERATION }, at(110));
    for _ in 0..2 {
        core.poll_effect();
        core.handle(Input::Done, at(110));
    }
    assert!(matches!(core.poll_effect(), Some(Effect::Commit)));
    core.handle(Input::Failed(Failure::Unknown), at(110));
    assert!(matches!(core.poll_effect(), Some(Effect::Commit)));
    core.handle(Input::Committed(vec![(0, 50)]), at(110));
    assert_eq!(names(&settle(&mut core, at(110))), ["apply"]);
}

#[test]
fn fenced_means_neither_apply_nor_abort() {
    let mut core = running();
    arrive(&mut core, 5, 10_000, at(10));
    settle(&mut core, at(10));
    core.handle(Input::Tick { generation: GENERATION }, at(110));
    core.poll_effect();
    core.handle(Input::Failed(Failure::Fenced { reason: "fenced".to_owned() }), at(110));
    assert_eq!(names(&settle(&mut core, at(110))), ["rejoin"]);
}

#[test]
fn a_revocation_marks_finishes_and_only_then_releases() {
    let mut core = running();
    arrive(&mut core, 5, 10_000, at(10));
    settle(&mut core, at(10));
    core.handle(Input::Revoked { partitions: vec![0], generation: GENERATION }, at(20));
    let seen = settle(&mut core, at(20));
    assert_eq!(names(&seen), ["log", "send offsets", "commit", "apply", "release"]);
    assert!(matches!(&seen[1], Effect::SendOffsets { offsets, .. } if *offsets == [(0, 6, true)]));
}

#[test]
fn an_idle_partition_is_marked_when_it_is_given_up() {
    let mut core = running();
    core.handle(Input::Shutdown { generation: GENERATION }, at(20));
    let seen = settle(&mut core, at(20));
    assert_eq!(names(&seen), ["begin", "log", "send offsets", "commit", "apply", "release", "stop"]);
    assert!(matches!(&seen[2], Effect::SendOffsets { offsets, .. } if *offsets == [(0, 5, true)]));
}

#[test]
fn a_batch_from_another_membership_aborts_the_round() {
    let mut core = running();
    arrive(&mut core, 5, 10_000, at(10));
    settle(&mut core, at(10));
    core.handle(Input::Arrivals { records: &[], generation: Generation(2) }, at(20));
    assert_eq!(names(&settle(&mut core, at(20))), ["notice", "abort", "rewind"]);
}

#[test]
fn a_refused_output_is_replaced_and_does_not_count() {
    let mut core = running();
    arrive(&mut core, 5, 10_000, at(10));
    settle(&mut core, at(10));
    core.handle(Input::Tick { generation: GENERATION }, at(110));
    core.poll_effect();
    let refused = Failure::Unsendable { partition: 0, offset: 5, reason: "too large".to_owned() };
    core.handle(Input::Failed(refused), at(110));
    assert_eq!(names(&settle(&mut core, at(110))), ["notice", "abort", "rewind"]);
    arrive(&mut core, 5, 10_000, at(120));
    let seen = settle(&mut core, at(120));
    assert!(
        matches!(&seen[1], Effect::Send(outputs) if matches!(outputs[0], Output::Unsendable { .. })),
        "{seen:?}"
    );
    core.handle(Input::Tick { generation: GENERATION }, at(300));
    let seen = settle(&mut core, at(300));
    assert!(matches!(&seen[0], Effect::Log(writes) if writes[0].rows.is_empty()));
}
