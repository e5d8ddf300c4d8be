//! Silences of whole classes.

use super::*;

/// Of two partitions the own one is the class's home.
fn judged() -> Settings {
    let class = Class {
        name: "coins".into(),
        calendar: Calendar::always(),
        warn_after_ms: None,
        error_after_ms: Some(1_000_000),
        feed_after_ms: Some(500),
    };
    let rules = RuleSettings { partitions: HOME_AMONG, ..settings().rules };
    Settings { classes: Arc::new(Classes::new(Vec::new(), class)), rules, ..settings() }
}

/// So many partitions that the home of `coins` is the first.
const HOME_AMONG: i32 = 2;

fn judging(others: Vec<FeedPart>) -> Gate {
    assert_eq!(crate::model::partition_of(b"coins", HOME_AMONG), 0);
    let (mut core, _) = taking_over(judged(), Some(5), None);
    core.others = others;
    core.handle(Input::Restored(vec![restored(Some(checkpoint(5)))]), at(0));
    settle(&mut core, at(0));
    while core.poll_timeout(at(0)).is_some_and(|(wait, _)| wait.is_zero()) {
        core.handle(Input::Tick { generation: GENERATION }, at(0));
        settle(&mut core, at(0));
    }
    core
}

fn class_row(last_accepted: i64) -> BTreeMap<Box<str>, ClassRow> {
    [("coins".into(), ClassRow { last_accepted: Some(last_accepted), silent_from: None })].into()
}

fn turn(core: &mut Gate, now: Now) -> Vec<Kind> {
    core.handle(Input::Tick { generation: GENERATION }, now);
    events(&settle(core, now))
}

#[test]
fn a_class_is_silent_once_and_back_once_over_all_partitions() {
    let other = |last, now| feed_part(1, 9, &class_row(last), now);
    let mut core = judging(vec![other(1_000, at(1_000))]);
    assert_eq!(turn(&mut core, at(1_100)), [], "the other partition had a quote");
    let (wait, wake) = core.poll_timeout(at(1_200)).unwrap();
    assert_eq!((wait.as_millis(), wake), (1_000 + 501 + 50 - 1_200, Wake::Look), "threshold, 1 ms, grace");
    core.others = vec![other(1_000, at(2_200))];
    assert_eq!(turn(&mut core, at(2_200)), [Kind::FeedSilent]);
    assert_eq!(core.classes["coins"].silent_from, Some(1_000));
    assert_eq!(core.progress().silent_feeds, 1);
    core.others = vec![other(1_000, at(3_300))];
    assert_eq!(turn(&mut core, at(3_300)), []);
    core.others = vec![other(4_000, at(4_400))];
    assert_eq!(turn(&mut core, at(4_400)), [Kind::FeedRecovered]);
    assert_eq!(core.classes["coins"].silent_from, None);
}

#[test]
fn what_is_not_known_to_its_end_makes_no_silence() {
    let behind = |now: Now| {
        let mut part = feed_part(1, 9, &class_row(1_000), now);
        part.next_offset = 8;
        part.end = part.end.map(|end| End { readable: true, ..end });
        part
    };
    let blind = |now: Now| FeedPart { end: None, ..feed_part(1, 9, &class_row(1_000), now) };
    let open = |now: Now| {
        let part = feed_part(1, 9, &class_row(1_000), now);
        FeedPart { end: part.end.map(|end| End { last_stable: 8, ..end }), ..part }
    };
    for other in [behind, blind, open] as [fn(Now) -> FeedPart; 3] {
        let mut core = judging(Vec::new());
        for ms in [10_000, 20_000, 30_000] {
            core.others = vec![other(at(ms))];
            assert_eq!(turn(&mut core, at(ms)), []);
        }
        core.others = Vec::new();
        assert_eq!(turn(&mut core, at(40_000)), [], "and nothing is known of it");
    }
}

#[test]
fn a_replica_that_is_made_anew_hides_no_quote() {
    let mut core = judging(vec![feed_part(1, 9, &class_row(9_900), at(10_000))]);
    assert_eq!(turn(&mut core, at(10_000)), []);
    core.others = vec![feed_part(1, 9, &BTreeMap::new(), at(10_300))];
    core.classes = class_row(1);
    core.core.feeds.forget();
    core.core.look_at_feeds(at(11_000));
    assert_eq!(events(&settle(&mut core, at(10_300))), []);
    assert_eq!(core.progress().silent_feeds, 0);
}

#[test]
fn an_accepted_quote_is_in_the_class_row_by_its_kafka_time() {
    let mut core = judging(Vec::new());
    arrive(&mut core, 5, 77, at(2_000));
    settle(&mut core, at(2_000));
    core.handle(Input::Tick { generation: GENERATION }, at(2_100));
    settle(&mut core, at(2_100));
    assert_eq!(core.classes, class_row(2_000));
    // A late one moves the feed too; what is rejected does not.
    arrive(&mut core, 6, 50, at(3_000));
    settle(&mut core, at(3_000));
    let bad = Record { partition: 0, offset: 7, kafka_time: Some(4_000), key: Some(b"A"), value: Some(b"{") };
    core.handle(Input::Arrivals { records: &[bad], generation: GENERATION }, at(3_050));
    settle(&mut core, at(3_050));
    core.handle(Input::Tick { generation: GENERATION }, at(3_100));
    settle(&mut core, at(3_100));
    assert_eq!(core.classes, class_row(3_000));
}
