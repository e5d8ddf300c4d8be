//! The pure checker: a whole world passes, every damage is found and named, and what cannot be judged is
//! counted.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod damage;
mod table;
mod world;

use std::sync::Arc;

use damage::DAMAGES;
use tickgate::audit::{
    BreachKind, Count, Ends, Findings, Message, PartitionCheck, Report, Scope, Topic, TopicNames, Unjudged,
};
use tickgate::core::Classes;
use tickgate::core::record::Record;
use tickgate::core::rules::judge;
use tickgate::model::headers;
use tickgate_state::CheckpointRow;
use world::{Entry, FINGERPRINT, THRESHOLD_MS, World};

/// What is around a world's records.
#[derive(Debug, Clone, Copy, Default)]
struct Around {
    staging_start: i64,
    stock_data_start: i64,
    bad_data_start: i64,
    /// Instead of the cut.
    committed: Option<i64>,
    /// Offsets were pending for as long as was waited.
    never_settled: bool,
    /// The rows were decided with other settings.
    other_settings: bool,
}

fn check(world: &World, around: Around) -> Findings {
    let end = world.staging.last().map_or(0, |entry| entry.offset + 1);
    let mut check = PartitionCheck::new(Scope {
        partition: world.partition,
        cut: world.cut,
        staging_end: end,
        staging: world.staging_name.clone(),
        rules: world.rules.clone(),
        classes: Arc::new(Classes::of_one(None, Some(THRESHOLD_MS))),
        fingerprint: FINGERPRINT + u64::from(around.other_settings),
        shown_max: 20,
    });
    world.changelog.iter().for_each(|entry| check.row(&message(entry)));
    let until = check.inputs_until();
    let retained = |entry: &&Entry| entry.offset >= around.staging_start && entry.offset < until;
    for entry in world.staging.iter().filter(retained) {
        let record = Record {
            partition: world.partition,
            offset: entry.offset,
            kafka_time: Some(entry.time),
            key: entry.key.as_deref(),
            value: entry.value.as_deref(),
        };
        check.input(&message(entry), &judge(&record, &world.rules));
    }
    check.inputs_read(around.staging_start);
    let stock_data = world.stock_data.iter().filter(|entry| entry.offset >= around.stock_data_start);
    stock_data.for_each(|entry| check.stock_data(&message(entry)));
    let bad_data = world.bad_data.iter().filter(|entry| entry.offset >= around.bad_data_start);
    bad_data.for_each(|entry| check.bad_data(&message(entry)));
    check.finish(Ends {
        stock_data_start: around.stock_data_start,
        bad_data_start: around.bad_data_start,
        committed: (!around.never_settled).then_some(around.committed.unwrap_or(world.cut)),
    })
}

fn message(entry: &Entry) -> Message<'_> {
    Message {
        offset: entry.offset,
        kafka_time: Some(entry.time),
        key: entry.key.as_deref(),
        value: entry.value.as_deref(),
        headers: entry.headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_slice()))).collect(),
    }
}

fn whole() -> World {
    World::whole(1, 3, "staging", 3)
}

#[test]
fn a_whole_world_is_whole() {
    let world = whole();
    let findings = check(&world, Around::default());
    assert!(findings.is_whole(), "{:#?}", findings.offenders());
    let counted = |count| findings.counted(count);
    assert_eq!(
        [Count::Inputs, Count::Accepted, Count::Rejected, Count::Removed, Count::StockData].map(counted),
        [30, 21, 6, 3, 21]
    );
    // Of the three silences within and the two between the repeats, each is one stale and one recovered.
    assert_eq!(counted(Count::Stale), counted(Count::Recovered));
    assert!(counted(Count::Stale) >= 5, "{}", counted(Count::Stale));
    assert_eq!(counted(Count::BadData), 9 + 2 * counted(Count::Stale));
    assert_eq!(counted(Count::SymbolsCompared), 3);
    assert_eq!(counted(Count::CheckpointsCompared), 1);
    assert_eq!((counted(Count::MarksCompared), findings.unjudged(Unjudged::SuspectByState)), (21, 0));
}

#[test]
fn gaps_between_offsets_are_no_loss() {
    let mut world = whole();
    for entry in &mut world.staging {
        entry.offset *= 3;
    }
    world.fold();
    world.cut = world.staging.last().unwrap().offset + 1;
    let findings = check(&world, Around::default());
    assert!(findings.is_whole(), "{:#?}", findings.offenders());
}

#[test]
fn every_damage_is_found_and_named() {
    for damage in DAMAGES {
        let mut world = whole();
        (damage.hurt)(&mut world);
        world.renumber();
        let findings = check(&world, Around::default());
        let offenders = findings.offenders();
        assert!(findings.breaches(damage.kind) > 0, "{}: {offenders:#?}", damage.name);
        let named = offenders.iter().any(|breach| {
            breach.kind == damage.kind
                && breach.topic == damage.topic
                && breach.partition == world.partition
                && (damage.offset.is_none() || breach.offset == damage.offset)
        });
        assert!(named, "{}: {offenders:#?}", damage.name);
    }
}

#[test]
fn a_damage_has_no_other_breach_beside_it() {
    for name in
        ["a lost output", "a doubled output", "a misrouted output", "an altered value", "a stale twice"]
    {
        let damage = DAMAGES.iter().find(|damage| damage.name == name).unwrap();
        let mut world = whole();
        (damage.hurt)(&mut world);
        world.renumber();
        let findings = check(&world, Around::default());
        let kinds: Vec<_> = findings.offenders().iter().map(|breach| breach.kind).collect();
        let misrouted = [BreachKind::Misrouted, BreachKind::AlteredHeaders];
        assert!(kinds == [damage.kind] || kinds == misrouted, "{name}: {:#?}", findings.offenders());
    }
}

#[test]
fn what_is_beyond_the_cut_is_counted_while_the_group_runs() {
    let mut world = whole();
    let committed = world.cut;
    world.cut = 24;
    let findings = check(&world, Around { committed: Some(committed), ..Around::default() });
    assert!(findings.is_whole(), "{:#?}", findings.offenders());
    assert_eq!(findings.counted(Count::Inputs), 24);
    assert_eq!(findings.unjudged(Unjudged::OutputsBeyondCut), 6);
    // The rows stand for all inputs, those beyond the cut included, and are compared all the same.
    assert_eq!(findings.counted(Count::SymbolsCompared), 3);
}

#[test]
fn a_running_group_may_be_ahead_of_its_rows() {
    let mut world = whole();
    // The last round was committed after the changelog was read; its outputs were seen.
    let rows_until = world.changelog.iter().rposition(|entry| entry.key.as_deref() == Some(b"k")).unwrap();
    let earlier = world.changelog[..rows_until].iter().rposition(|entry| entry.key.as_deref() == Some(b"k"));
    world.changelog.truncate(earlier.unwrap() + 1);
    let committed = world.cut;
    world.cut = 24;
    let findings = check(&world, Around { committed: Some(committed), ..Around::default() });
    assert!(findings.is_whole(), "{:#?}", findings.offenders());
}

#[test]
fn retention_is_counted_and_not_a_breach() {
    let world = whole();
    let around = Around { staging_start: 12, ..Around::default() };
    let findings = check(&world, around);
    assert!(findings.is_whole(), "{:#?}", findings.offenders());
    assert_eq!(findings.counted(Count::Inputs), 18);
    assert_eq!(findings.unjudged(Unjudged::OutputsWithoutInput), 12);
    assert!(findings.unjudged(Unjudged::EventHistoryRetired) > 0);
    // Of 12 accepted inputs, those after their symbol's removal are certain.
    assert_eq!((findings.counted(Count::MarksCompared), findings.unjudged(Unjudged::SuspectByState)), (3, 9));

    let around = Around { stock_data_start: 7, bad_data_start: 5, ..Around::default() };
    let findings = check(&world, around);
    assert!(findings.is_whole(), "{:#?}", findings.offenders());
    assert!(findings.unjudged(Unjudged::OutputRetired) >= 9);
}

#[test]
fn retention_hides_no_later_loss() {
    let mut world = whole();
    world.stock_data.remove(15);
    let around = Around { stock_data_start: 7, ..Around::default() };
    assert_eq!(check(&world, around).breaches(BreachKind::LostOutput), 1);
    let mut world = whole();
    let last = world.changelog.len() - 2;
    world.changelog[last].value = None;
    let around = Around { staging_start: 12, ..Around::default() };
    assert_eq!(check(&world, around).breaches(BreachKind::WrongLastSeen), 1);
}

#[test]
fn what_is_late_beside_the_history_that_is_left_must_say_so() {
    let mut world = whole();
    let late = world
        .stock_data
        .iter_mut()
        .rfind(|entry| entry.headers.iter().any(|(name, value)| name == headers::SUSPECT && value == b"late"))
        .unwrap();
    late.headers.retain(|(name, _)| name != headers::SUSPECT);
    let around = Around { staging_start: 20, ..Around::default() };
    assert_eq!(check(&world, around).breaches(BreachKind::WrongSuspect), 1);
}

#[test]
fn an_unsendable_input_is_one_output_and_moves_nothing() {
    let mut world = whole();
    // The last quote of its symbol: without it, the row stands at the one before.
    let place = world.stock_data.len() - 1;
    let mut output = world.stock_data.remove(place);
    output.headers.retain(|(name, _)| name == headers::SRC);
    output.value = Some(br#"{"size":1}"#.to_vec());
    output.headers.push((headers::KIND.to_owned(), b"unsendable".to_vec()));
    world.bad_data.push(output);
    world.renumber();
    let findings = check(&world, Around::default());
    assert_eq!(findings.counted(Count::Unsendable), 1);
    assert_eq!(findings.unjudged(Unjudged::UnsendableBytes), 1);
    assert_eq!(findings.breaches(BreachKind::LostOutput), 0);
    assert_eq!(findings.breaches(BreachKind::WrongLastSeen), 1);
}

#[test]
fn outputs_of_a_newer_epoch_replace_those_before() {
    let mut world = whole();
    let mut again = world.stock_data.clone();
    for output in &mut again {
        output.headers.push((headers::EPOCH.to_owned(), 1_u32.to_be_bytes().to_vec()));
    }
    world.stock_data.extend(again);
    world.renumber();
    let findings = check(&world, Around::default());
    assert!(findings.is_whole(), "{:#?}", findings.offenders());
    assert_eq!(findings.unjudged(Unjudged::RemadeAfterReset), 21);

    for entry in world.changelog.iter_mut().filter(|entry| entry.key.as_deref() == Some(b"k")) {
        let mut row = CheckpointRow::decode(entry.value.as_ref().unwrap()).unwrap();
        row.epoch = 1;
        entry.value = Some(row.encode());
    }
    let findings = check(&world, Around::default());
    assert!(findings.is_whole(), "{:#?}", findings.offenders());
    assert_eq!(findings.unjudged(Unjudged::SuspectByState), 21);
}

#[test]
fn a_commit_that_never_settles_is_counted() {
    let findings = check(&whole(), Around { never_settled: true, ..Around::default() });
    assert!(findings.is_whole());
    assert_eq!(findings.unjudged(Unjudged::CommitNeverSettled), 1);
}

#[test]
fn other_settings_are_counted() {
    let findings = check(&whole(), Around { other_settings: true, ..Around::default() });
    assert_eq!(findings.unjudged(Unjudged::OtherSettings), 1);
    assert_eq!(check(&whole(), Around::default()).unjudged(Unjudged::OtherSettings), 0);
}

#[test]
fn a_record_that_staging_never_had_is_found() {
    let mut world = whole();
    world.staging.remove(3);
    let findings = check(&world, Around::default());
    assert_eq!(findings.breaches(BreachKind::NoSuchInput), 1);
}

#[test]
fn the_report_says_where_in_both_forms() {
    let mut world = whole();
    (DAMAGES[0].hurt)(&mut world);
    world.renumber();
    let mut findings = Findings::new(20);
    findings.merge(check(&world, Around::default()));
    let topics = TopicNames {
        staging: "in".to_owned(),
        stock_data: "good".to_owned(),
        bad_data: "bad".to_owned(),
        changelog: "log".to_owned(),
        stock_table: "k.stock".to_owned(),
        latest_table: "k.latest".to_owned(),
    };
    assert_eq!(topics.name(Topic::Changelog), "log");
    let report = Report { group: "gate".to_owned(), topics, findings };
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["whole"], false);
    assert_eq!(json["breaches"]["lost_output"], 1);
    assert_eq!(json["counts"]["inputs"], 30);
    assert_eq!(json["counts"]["marks_compared"], 20);
    assert_eq!(json["offenders"][0]["topic"], "in");
    assert_eq!(json["offenders"][0]["partition"], 1);
    assert_eq!(json["offenders"][0]["offset"], 3);
    let table = report.to_string();
    assert!(table.contains("lost_output: in/1@3"), "{table}");
    assert!(table.ends_with("NOT WHOLE"), "{table}");
}

#[test]
fn more_breaches_than_are_shown_are_counted() {
    let mut world = whole();
    world.stock_data.clear();
    let findings = check(&world, Around::default());
    assert_eq!(findings.breaches(BreachKind::LostOutput), 21);
    assert_eq!(findings.offenders().len(), 20);
}

#[test]
fn silences_are_measured_anew_and_those_that_nobody_reported_are_counted() {
    let mut world = World::whole(1, 3, "staging", 1);
    let findings = check(&world, Around::default());
    assert_eq!((findings.counted(Count::Stale), findings.counted(Count::SilencesCompared)), (1, 1));
    assert_eq!(findings.unjudged(Unjudged::UnreportedSilences), 0);
    world.bad_data.truncate(3);
    let findings = check(&world, Around::default());
    assert!(findings.is_whole(), "{:?}", findings.offenders());
    assert_eq!(findings.unjudged(Unjudged::UnreportedSilences), 1);
}
