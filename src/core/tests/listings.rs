//! Symbols of the watch list.

use super::silences::{look, said};
use super::*;
use crate::model::partition_of;

fn watching(symbols: &[&str], partitions: i32) -> Settings {
    let watchlist = Arc::new(symbols.iter().map(|symbol| (*symbol).into()).collect());
    let rules = RuleSettings { partitions, ..settings().rules };
    Settings { watchlist, rules, ..settings() }
}

/// Takes partition 0 over at a time, and lists.
fn listing(settings: Settings, rows: &[(&str, SymbolRow)], now: Now) -> (Gate, Vec<Effect>) {
    let (mut core, _) = taking_over(settings, Some(5), None);
    core.store = rows.iter().map(|(name, row)| ((*name).into(), row.clone())).collect();
    core.handle(Input::Restored(vec![restored(Some(checkpoint(5)))]), now);
    let mut seen = settle(&mut core, now);
    while core.poll_timeout(now).is_some_and(|(wait, _)| wait.is_zero()) {
        core.handle(Input::Tick { generation: GENERATION }, now);
        seen.extend(settle(&mut core, now));
    }
    (core, seen)
}

#[test]
fn a_symbol_never_seen_is_silent_from_its_listing_on() {
    let (mut core, seen) = listing(watching(&["NEW"], 1), &[], at(5_000));
    let expected = ["resume", "look up", "begin", "log", "send offsets", "commit", "apply", "look up"];
    assert_eq!(names(&seen)[..8], expected);
    assert_eq!(core.store["NEW"], SymbolRow { listed_at: Some(5_000), ..SymbolRow::default() });
    assert_eq!(look(&mut core, at(6_051)), ["stale error clock 1051"]);
    let (mut core, seen) = {
        let rows: Vec<(&str, SymbolRow)> =
            core.store.iter().map(|(name, row)| (&**name, row.clone())).collect();
        listing(watching(&["NEW"], 1), &rows, at(9_000))
    };
    assert_eq!(names(&seen)[..2], ["resume", "look up"], "it is listed, and was told");
    assert_eq!(core.store["NEW"].listed_at, Some(5_000));
    assert_eq!(look(&mut core, at(60_000)), [""; 0]);
    arrive_as(&mut core, "NEW", 5, 8_000, at(60_001));
    assert_eq!(said(&settle(&mut core, at(60_001))), ["recovered error next_record 3000"]);
}

#[test]
fn who_was_seen_is_silent_from_then_on_though_it_is_listed_later() {
    let (mut core, _) = listing(watching(&["OLD"], 1), &[("OLD", seen(4_500))], at(5_000));
    assert_eq!(core.store["OLD"], SymbolRow { listed_at: Some(5_000), ..seen(4_500) });
    assert_eq!(look(&mut core, at(5_551)), ["stale error clock 1051"]);
}

#[test]
fn a_tombstone_ends_the_watch_until_the_partition_is_taken_over_anew() {
    let (mut core, _) = listing(watching(&["NEW"], 1), &[], at(5_000));
    let tombstone =
        Record { partition: 0, offset: 5, kafka_time: Some(5_100), key: Some(b"NEW"), value: None };
    core.handle(Input::Arrivals { records: &[tombstone], generation: GENERATION }, at(5_100));
    settle(&mut core, at(5_100));
    core.handle(Input::Tick { generation: GENERATION }, at(5_200));
    settle(&mut core, at(5_200));
    assert!(core.store.is_empty());
    assert_eq!(look(&mut core, at(60_000)), [""; 0], "nobody is due");
    assert_eq!(core.progress().watched_symbols, 0);
}

#[test]
fn a_symbol_is_listed_in_its_own_partition_alone() {
    let at_home: Vec<String> = (0..40).map(|at| format!("S{at}")).collect();
    let names: Vec<&str> = at_home.iter().map(String::as_str).collect();
    let (core, _) = listing(watching(&names, 3), &[], at(0));
    let expected: std::collections::BTreeSet<&str> =
        names.iter().copied().filter(|name| partition_of(name.as_bytes(), 3) == 0).collect();
    assert!((1..40).contains(&expected.len()));
    assert_eq!(core.store.keys().map(|name| &**name).collect::<std::collections::BTreeSet<_>>(), expected);
}

#[test]
fn a_listing_whose_round_was_aborted_is_made_again() {
    let (mut core, _) = taking_over(watching(&["NEW"], 1), Some(5), None);
    core.handle(Input::Restored(vec![restored(Some(checkpoint(5)))]), at(0));
    settle(&mut core, at(0));
    core.handle(Input::Tick { generation: GENERATION }, at(10));
    while let Some(effect) = core.poll_effect() {
        let answer = match effect {
            Effect::Lookup(names) => Input::LookedUp(vec![None; names.len()]),
            Effect::Commit => Input::Failed(Failure::Abort { reason: "refused".to_owned() }),
            Effect::Notice(_) => continue,
            _ => Input::Done,
        };
        core.handle(answer, at(10));
    }
    assert!(core.store.is_empty());
    core.handle(Input::Tick { generation: GENERATION }, at(20));
    settle(&mut core, at(20));
    assert_eq!(core.store["NEW"].listed_at, Some(20));
}
