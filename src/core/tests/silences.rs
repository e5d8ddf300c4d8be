//! What the next record and the clock tell of silences.

use super::*;

/// Feeds the event times one by one, a round each, and answers the events of each.
fn silences(event_times: &[i64]) -> Vec<Vec<Kind>> {
    let mut core = running();
    let mut found = Vec::new();
    for (index, event_ms) in event_times.iter().enumerate() {
        let index = i64::try_from(index).unwrap();
        let now = at(1 + index * 200);
        arrive(&mut core, 5 + index, *event_ms, now);
        found.push(events(&settle(&mut core, now)));
        core.handle(Input::Tick { generation: GENERATION }, at(now.wall.0 + 150));
        settle(&mut core, at(now.wall.0 + 150));
    }
    found
}

#[test]
fn the_next_record_tells_a_silence_longer_than_the_threshold() {
    let both = vec![Kind::Stale, Kind::Recovered];
    let far = 1_000_000;
    assert_eq!(silences(&[far, far + 1_000]), [vec![], vec![]]);
    assert_eq!(silences(&[far, far + 1_001]), [vec![], both.clone()]);
    // A late record moves nothing; an equal time isn't late.
    assert_eq!(silences(&[far, far - 5_000, far + 900, far + 900]), [vec![], vec![], vec![], vec![]]);
    assert_eq!(silences(&[far, far + 2_000, far + 4_000]), [vec![], both.clone(), both]);
}

#[test]
fn the_clock_tells_a_silence_once_and_the_next_record_ends_it() {
    let mut core = running();
    arrive(&mut core, 5, 10_000, at(10_000));
    settle(&mut core, at(10_000));
    core.handle(Input::Tick { generation: GENERATION }, at(10_100));
    settle(&mut core, at(10_100));
    let (wait, wake) = core.poll_timeout(at(10_100)).unwrap();
    assert_eq!(
        (wait.as_millis(), wake),
        (951, Wake::Look),
        "last seen 10.0, threshold 1.0, grace 0.05, and 1 ms"
    );
    core.handle(Input::Tick { generation: GENERATION }, at(11_051));
    let seen = settle(&mut core, at(11_051));
    assert_eq!(
        names(&seen),
        ["look at ends", "scan", "begin", "send", "log", "send offsets", "commit", "apply"]
    );
    assert_eq!(events(&seen), [Kind::Stale]);
    assert_eq!(core.poll_timeout(at(20_000)).map(|(_, wake)| wake), Some(Wake::Renew));
    assert_eq!(core.progress().error_symbols, 1);
    arrive(&mut core, 6, 20_000, at(20_000));
    assert_eq!(events(&settle(&mut core, at(20_000))), [Kind::Recovered]);
}

#[test]
fn a_backlog_or_an_open_transaction_upstream_makes_no_silence() {
    for (last_stable, high_watermark, readable) in [(5, 7, false), (7, 7, true)] {
        let mut core = running_on(&[("A", seen(1))]);
        core.handle(Input::Tick { generation: GENERATION }, at(50_000));
        assert!(matches!(core.poll_effect(), Some(Effect::LookAtEnds(_))));
        let end = End { partition: 0, last_stable, high_watermark, readable, looked_at: WallTime(50_000) };
        core.handle(Input::Ends(vec![end], Vec::new()), at(50_000));
        assert_eq!(names(&settle(&mut core, at(50_000))), [""; 0]);
        assert!(
            matches!(core.poll_timeout(at(50_000)), Some((wait, Wake::Look)) if wait.as_millis() == 1_000)
        );
    }
}

/// A look at partition 0, whose end is there.
fn look_at_end(core: &mut Gate, high_watermark: Offset, now: Now) -> Vec<Effect> {
    core.handle(Input::Tick { generation: GENERATION }, now);
    assert!(matches!(core.poll_effect(), Some(Effect::LookAtEnds(_))));
    let (last_stable, looked_at) = (high_watermark, now.wall);
    let end = End { partition: 0, last_stable, high_watermark, readable: true, looked_at };
    core.handle(Input::Ends(vec![end], Vec::new()), now);
    settle(core, now)
}

#[test]
fn a_symbol_is_silent_though_its_partition_never_is() {
    let mut core = running_on(&[("Z", seen(1))]);
    // Whenever anybody looks, two more records have come.
    assert_eq!(names(&look_at_end(&mut core, 7, at(50_000))), [""; 0]);
    for offset in [5, 6] {
        arrive(&mut core, offset, 50_000, at(50_010));
        settle(&mut core, at(50_010));
    }
    core.handle(Input::Tick { generation: GENERATION }, at(50_200));
    settle(&mut core, at(50_200));
    let seen = look_at_end(&mut core, 9, at(51_001));
    assert_eq!(events(&seen), [Kind::Stale]);
}

#[test]
fn what_came_back_with_an_older_time_is_not_silent_by_an_earlier_look() {
    for is_removed in [false, true] {
        let mut core = running_on(&[("Z", seen(1))]);
        assert_eq!(names(&look_at_end(&mut core, 7, at(50_000))), [""; 0]);
        for offset in [5, 6] {
            arrive(&mut core, offset, 50_000, at(50_010));
            settle(&mut core, at(50_010));
        }
        if is_removed {
            let (key, kafka_time) = (Some(&b"A"[..]), Some(50_020));
            let gone = Record { partition: 0, offset: 7, kafka_time, key, value: None };
            core.handle(Input::Arrivals { records: &[gone], generation: GENERATION }, at(50_020));
            settle(&mut core, at(50_020));
        }
        arrive(&mut core, 8, 40_000, at(50_030));
        settle(&mut core, at(50_030));
        core.handle(Input::Tick { generation: GENERATION }, at(50_200));
        settle(&mut core, at(50_200));
        // A quote of 50,040 waits at offset 9.
        let told: &[Kind] = if is_removed { &[] } else { &[Kind::Stale] };
        assert_eq!(events(&look_at_end(&mut core, 10, at(51_001))), told);
    }
}

#[test]
fn a_leap_of_the_wall_clock_holds_notices_until_two_looks_agree() {
    let mut core = running();
    arrive(&mut core, 5, 10, at(10));
    settle(&mut core, at(10));
    core.handle(Input::Tick { generation: GENERATION }, at(200));
    settle(&mut core, at(200));
    let leapt = |ms: i64| Now { wall: WallTime(ms + 3_600_000), monotonic_ms: ms };
    core.handle(Input::Tick { generation: GENERATION }, leapt(300));
    let seen = settle(&mut core, leapt(300));
    assert_eq!(names(&seen), ["look at ends", "notice"]);
    core.handle(Input::Tick { generation: GENERATION }, leapt(1_400));
    assert_eq!(events(&settle(&mut core, leapt(1_400))), [Kind::Stale]);
}

#[test]
fn delivery_that_was_only_late_says_so() {
    let mut core = running();
    arrive(&mut core, 5, 10_000, at(10_000));
    settle(&mut core, at(10_000));
    core.handle(Input::Tick { generation: GENERATION }, at(10_100));
    settle(&mut core, at(10_100));
    core.handle(Input::Tick { generation: GENERATION }, at(11_051));
    settle(&mut core, at(11_051));
    arrive(&mut core, 6, 10_500, at(12_000));
    let seen = settle(&mut core, at(12_000));
    assert_eq!(events(&seen), [Kind::Recovered]);
    let Some(Effect::Send(outputs)) = seen.iter().find(|effect| matches!(effect, Effect::Send(_))) else {
        panic!()
    };
    let Output::Event { value, .. } = &outputs[0] else { panic!("{outputs:?}") };
    assert!(String::from_utf8_lossy(value).contains(r#""late_delivery":true"#));
}

#[test]
fn a_taken_over_store_is_looked_through_in_bits_after_reading_has_begun() {
    let (mut core, _) = taking_over(settings(), Some(5), None);
    core.store = (0..20).map(|at| (format!("S{at:02}").into(), seen(100 + at))).collect();
    core.handle(Input::Restored(vec![restored(Some(checkpoint(5)))]), at(0));
    assert_eq!(names(&settle(&mut core, at(0))), ["resume"], "a takeover does not wait for its deadlines");
    arrive(&mut core, 5, 10, at(10));
    settle(&mut core, at(10));
    core.handle(Input::Tick { generation: GENERATION }, at(110));
    settle(&mut core, at(110));
    let mut ticks = 0;
    while core.poll_timeout(at(110)).is_some_and(|(wait, _)| wait.is_zero()) {
        core.handle(Input::Tick { generation: GENERATION }, at(110));
        let seen = settle(&mut core, at(110));
        assert!(
            (1..=3).contains(&seen.len()) && seen.iter().all(|effect| effect.name() == "scan"),
            "{seen:?}"
        );
        ticks += 1;
    }
    assert!((7..=20).contains(&ticks), "{ticks}");
    assert_eq!(core.progress().watched_symbols, 21);
}

#[test]
fn each_of_many_silences_is_told_once_and_a_page_that_moved_on_is_put_off() {
    let rows: Vec<(String, SymbolRow)> =
        (0..40).map(|at| (format!("S{at:02}"), seen(at % 2 * 100_000))).collect();
    let rows: Vec<(&str, SymbolRow)> = rows.iter().map(|(name, row)| (&**name, row.clone())).collect();
    let mut core = running_on(&rows);
    let mut told = Vec::new();
    let mut now = at(2_000);
    while core.poll_timeout(now).is_some_and(|(wait, _)| wait.as_millis() <= 1_000) {
        core.handle(Input::Tick { generation: GENERATION }, now);
        for effect in settle(&mut core, now) {
            let Effect::Send(outputs) = effect else { continue };
            told.extend(outputs.into_iter().map(|output| match output {
                Output::Event { kind: Kind::Stale, symbol, .. } => symbol.to_string(),
                other => panic!("{other:?}"),
            }));
        }
        now = at(now.wall.0 + 1_000);
        if told.len() == 20 {
            break;
        }
    }
    told.sort();
    let expected: Vec<String> = (0..20).map(|at| format!("S{:02}", at * 2)).collect();
    assert_eq!(told, expected);
    assert_eq!((core.progress().watched_symbols, core.progress().error_symbols), (40, 20));
    assert!(now.wall.0 < 100_000, "before the others are due");
    let (wait, _) = core.poll_timeout(now).unwrap();
    assert_eq!(now.wall.0 + i64::try_from(wait.as_millis()).unwrap(), 100_000 + 1_000 + 1 + 50);
}

/// What a round's events say: kind, level, who noticed it, how long the silence was.
pub(super) fn said(seen: &[Effect]) -> Vec<String> {
    let sent = seen
        .iter()
        .filter_map(|effect| if let Effect::Send(outputs) = effect { Some(outputs) } else { None });
    let events = sent.flatten().filter_map(|output| match output {
        Output::Event { kind, value, .. } => Some((kind, value)),
        _ => None,
    });
    let told = events.map(|(kind, value)| {
        let value: serde_json::Value = serde_json::from_slice(value).unwrap();
        let word = |name: &str| value[name].as_str().unwrap().to_owned();
        format!("{} {} {} {}", kind.name(), word("level"), word("noticed_by"), value["silence_ms"])
    });
    told.collect()
}

fn levels() -> Settings {
    Settings { classes: Arc::new(Classes::of_one(Some(500), Some(1_000))), ..settings() }
}

/// A look at the end of everything, at a time.
pub(super) fn look(core: &mut Gate, now: Now) -> Vec<String> {
    core.handle(Input::Tick { generation: GENERATION }, now);
    said(&settle(core, now))
}

#[test]
fn each_level_is_told_once_and_the_end_once() {
    let mut core = running_with(levels(), &[("A", seen(0))]);
    assert_eq!(look(&mut core, at(540)), [""; 0], "within the grace");
    assert_eq!(look(&mut core, at(551)), ["stale warn clock 551"]);
    assert_eq!((core.progress().warn_symbols, core.progress().error_symbols), (1, 0));
    let (wait, wake) = core.poll_timeout(at(551)).unwrap();
    assert_eq!((wait.as_millis(), wake), (1_000, Wake::Look), "the next look, a second later");
    assert_eq!(look(&mut core, at(1_551)), ["stale error clock 1551"]);
    assert_eq!((core.progress().warn_symbols, core.progress().error_symbols), (0, 1));
    assert_eq!(core.poll_timeout(at(5_000)).map(|(_, wake)| wake), Some(Wake::Renew));
    arrive_as(&mut core, "A", 5, 2_000, at(2_000));
    assert_eq!(said(&settle(&mut core, at(2_000))), ["recovered error next_record 2000"]);
}

#[test]
fn a_silence_that_passed_both_levels_unseen_is_told_at_both() {
    let mut core = running_with(levels(), &[("A", seen(0)), ("B", seen(0))]);
    arrive_as(&mut core, "B", 5, 1_001, at(1_001));
    let expected =
        ["stale warn next_record 1001", "stale error next_record 1001", "recovered error next_record 1001"];
    assert_eq!(said(&settle(&mut core, at(1_001))), expected);
    core.handle(Input::Tick { generation: GENERATION }, at(1_101));
    settle(&mut core, at(1_101));
    assert_eq!(look(&mut core, at(1_102)), ["stale warn clock 1102", "stale error clock 1102"]);
    arrive_as(&mut core, "A", 6, 700, at(1_200));
    assert_eq!(
        said(&settle(&mut core, at(1_200))),
        ["recovered error next_record 700"],
        "it was late_delivery"
    );
}

#[test]
fn a_warning_that_is_settled_anew_is_not_told_after_the_error() {
    let reported = Reported { silence_from: 0, warn: false, error: true };
    let row = SymbolRow { reported: Some(reported), ..seen(0) };
    let mut core = running_with(levels(), &[("A", row)]);
    assert_eq!(look(&mut core, at(50_000)), [""; 0]);
    assert_eq!(core.progress().error_symbols, 1);
}

#[test]
fn only_open_time_counts_and_exempt_symbols_are_not_watched() {
    let sessions = Calendar::of_sessions("sessions", vec![(0, 400), (10_000, 10_400), (20_000, 20_400)]);
    let class = |name: &str, calendar, error_after_ms| Class {
        name: name.into(),
        calendar,
        warn_after_ms: None,
        error_after_ms,
        feed_after_ms: None,
    };
    let listed = vec![
        (class("shares", sessions, Some(1_000)), vec!["A*".to_owned()]),
        (class("exempt", Calendar::always(), None), vec!["E".to_owned()]),
    ];
    let classes = Arc::new(Classes::new(listed, class("default", Calendar::always(), Some(60_000))));
    let mut core = running_with(Settings { classes, ..settings() }, &[("AB", seen(100)), ("E", seen(0))]);
    assert_eq!(core.progress().watched_symbols, 1);
    let (wait, _) = core.poll_timeout(at(0)).unwrap();
    // 300 ms of the first session, 400 of the second, 300 and one of the third, and the grace.
    assert_eq!(wait.as_millis(), 20_301 + 50);
    assert_eq!(look(&mut core, at(20_351)), ["stale error clock 1051"]);
    arrive_as(&mut core, "E", 5, 90_000, at(90_000));
    assert_eq!(said(&settle(&mut core, at(90_000))), [""; 0]);
}

#[test]
fn a_wall_clock_that_goes_back_repeats_nothing() {
    let mut core = running_with(levels(), &[("A", seen(0))]);
    assert_eq!(look(&mut core, at(551)), ["stale warn clock 551"]);
    let back = Now { wall: WallTime(-3_600_000), monotonic_ms: 1_700 };
    assert_eq!(look(&mut core, back), [""; 0]);
    assert_eq!(
        look(&mut core, at(3_000)),
        ["stale error clock 3000"],
        "the second level, and not the first again"
    );
    let back = Now { wall: WallTime(-3_600_000), monotonic_ms: 5_000 };
    assert_eq!(look(&mut core, back), [""; 0]);
    assert_eq!(look(&mut core, at(9_000)), [""; 0]);
}

/// During a rollout a partition goes back and forth between instances of different settings.
#[test]
fn other_settings_repeat_no_event_and_take_none_back() {
    let patient = Settings {
        classes: Arc::new(Classes::of_one(Some(3_000), Some(5_000))),
        fingerprint: 8,
        ..settings()
    };
    let mut core = running_on(&[("A", seen(10_000))]);
    core.handle(Input::Tick { generation: GENERATION }, at(12_000));
    assert_eq!(events(&settle(&mut core, at(12_000))), [Kind::Stale]);
    let row = core.store["A"].clone();
    assert!(row.reported.is_some_and(|reported| reported.error));

    for (now_ms, settings) in [(13_000, patient.clone()), (17_000, settings()), (20_000, patient)] {
        let differs = settings.fingerprint != checkpoint(5).fingerprint;
        let (mut core, _) = taking_over(settings, Some(5), None);
        core.store = BTreeMap::from([("A".into(), row.clone())]);
        core.handle(Input::Restored(vec![restored(Some(checkpoint(5)))]), at(now_ms));
        let told = settle(&mut core, at(now_ms));
        let is_told =
            told.iter().any(|effect| matches!(effect, Effect::Notice(Notice::SettingsDiffer { .. })));
        assert_eq!(is_told, differs);
        for later in [1, 200, 2_000, 6_000] {
            core.handle(Input::Tick { generation: GENERATION }, at(now_ms + later));
            assert_eq!(events(&settle(&mut core, at(now_ms + later))), [], "{now_ms} + {later}");
        }
        assert_eq!(core.store["A"], row);
        arrive(&mut core, 5, now_ms + 7_000, at(now_ms + 7_000));
        assert_eq!(events(&settle(&mut core, at(now_ms + 7_000))), [Kind::Recovered]);
    }
}
