//! What the group says amid a takeover, what others do meanwhile, and partitions that nothing is said of for long.

use super::*;

#[test]
fn a_takeover_that_the_group_ends_marks_what_it_has_claimed_and_gives_it_up() {
    let revoked = || Input::Revoked { partitions: vec![0], generation: GENERATION };
    let assigned = || Input::Assigned { partitions: vec![1], generation: GENERATION };
    let stop = || Input::Shutdown { generation: GENERATION };
    let lost = || Input::Lost { partitions: vec![0] };
    let events: [(&dyn Fn() -> Input<'static>, &[&str]); 4] = [
        (&revoked, &["begin", "log", "send offsets", "commit", "apply", "release"]),
        (&stop, &["begin", "log", "send offsets", "commit", "apply", "release", "stop"]),
        (&lost, &["release", "rejoin"]),
        (&assigned, &["accept", "read owners"]),
    ];
    for (event, wanted) in events {
        let (mut core, _) = taking_over(settings(), Some(5), None);
        core.handle(Input::Failed(Failure::Superseded), at(0));
        assert!(core.poll_effect().is_none());
        core.handle(event(), at(0));
        if wanted[0] == "accept" {
            let Some(Effect::Accept(all)) = core.poll_effect() else { panic!() };
            assert_eq!(all, [0, 1], "both are the worker's");
            continue;
        }
        let seen = settle(&mut core, at(0));
        assert_eq!(names(&seen), wanted);
        let marked = |effect: &Effect| matches!(effect, Effect::SendOffsets { offsets, .. } if *offsets == [(0, 5, true)]);
        assert_eq!(seen.iter().any(marked), wanted[0] == "begin", "{seen:?}");
    }
}

#[test]
fn a_partition_without_a_round_for_long_gets_one_without_records() {
    let mut core = taking_over(Settings { renew_after_ms: 1_000, ..settings() }, Some(5), None).0;
    core.handle(Input::Restored(vec![restored(Some(checkpoint(5)))]), at(0));
    settle(&mut core, at(0));
    // What was taken over is looked through first.
    core.handle(Input::Tick { generation: GENERATION }, at(0));
    assert_eq!(names(&settle(&mut core, at(0))), ["scan"]);
    assert_eq!(
        core.poll_timeout(at(900)).map(|(wait, wake)| (wait.as_millis(), wake)),
        Some((100, Wake::Renew))
    );
    core.handle(Input::Tick { generation: GENERATION }, at(1_000));
    assert_eq!(names(&settle(&mut core, at(1_000))), ["begin", "log", "send offsets", "commit", "apply"]);
    assert_eq!(core.poll_timeout(at(1_500)).map(|(wait, _)| wait.as_millis()), Some(500));
}

/// A worker slept amid a takeover: another one has the partition by now, has judged records that it never heard of,
/// and staging has deleted them since.
#[test]
fn what_a_sleeper_believes_to_be_lost_was_judged_by_another() {
    let changed = |committed| Restored { log_start: 50, ..restored(committed) };
    let founded = CheckpointRow { input_time: None, ..checkpoint(0) };
    for (committed, checkpoint, accept_loss) in [
        (None, founded.clone(), false),
        (None, founded, true),
        (None, checkpoint(5), false),
        (Some(5), checkpoint(5), false),
        (Some(5), checkpoint(5), true),
        (Some(5), checkpoint(60), false),
    ] {
        let (mut core, _) = taking_over(Settings { accept_loss, ..settings() }, committed, None);
        core.handle(Input::Restored(vec![changed(Some(checkpoint))]), at(0));
        assert!(matches!(core.poll_effect(), Some(Effect::AwaitStable(_))), "nothing is said of a loss yet");
        core.handle(Input::Stable(vec![(0, Some(60))]), at(0));
        // Whose the partition is, the group tells by this.
        assert!(matches!(core.poll_effect(), Some(Effect::Claim(claims)) if claims == [(0, 60)]));
        core.handle(Input::Failed(Failure::Refused { reason: "an old generation".to_owned() }), at(0));
        assert_eq!(names(&settle(&mut core, at(0))), ["notice", "release"]);
    }
}

#[test]
fn what_was_committed_amid_a_takeover_of_ones_own_is_taken_over_anew() {
    let (mut core, _) = taking_over(settings(), Some(4), None);
    core.handle(Input::Restored(vec![restored(Some(checkpoint(5)))]), at(0));
    assert!(matches!(core.poll_effect(), Some(Effect::AwaitStable(_))));
    core.handle(Input::Stable(vec![(0, Some(5))]), at(0));
    assert!(matches!(core.poll_effect(), Some(Effect::Claim(claims)) if claims == [(0, 5)]));
    core.handle(Input::Done, at(0));
    assert!(matches!(core.poll_effect(), Some(Effect::ReadTargets(_))));
    core.handle(Input::Targets(vec![(0, 10)]), at(0));
    assert!(matches!(core.poll_effect(), Some(Effect::Restore(_))));
    core.handle(Input::Restored(vec![restored(Some(checkpoint(5)))]), at(0));
    assert_eq!(names(&settle(&mut core, at(0))), ["resume"]);
}

/// Where the protocol is incremental, partitions come to a worker that has some and is amid a round.
#[test]
fn partitions_that_come_amid_a_round_are_taken_over_whatever_becomes_of_it() {
    for is_aborted in [false, true] {
        let mut core = running();
        arrive(&mut core, 5, 10_000, at(10));
        settle(&mut core, at(10));
        core.handle(Input::Assigned { partitions: vec![1], generation: GENERATION }, at(20));
        assert!(matches!(core.poll_effect(), Some(Effect::Log(_))));
        core.handle(Input::Done, at(20));
        assert!(matches!(core.poll_effect(), Some(Effect::SendOffsets { .. })));
        let stale = Failure::Abort { reason: "an old generation".to_owned() };
        core.handle(if is_aborted { Input::Failed(stale) } else { Input::Done }, at(20));
        let mut seen = Vec::new();
        while let Some(effect) = core.poll_effect() {
            seen.push(effect.name());
            match effect {
                Effect::Notice(_) => {}
                Effect::Accept(partitions) => {
                    assert_eq!(partitions, [1], "the other is the worker's already");
                    break;
                }
                Effect::Commit => core.handle(Input::Committed(vec![(0, 20)]), at(20)),
                _ => core.handle(Input::Done, at(20)),
            }
        }
        let round: &[&str] = if is_aborted { &["notice", "abort", "rewind"] } else { &["commit", "apply"] };
        assert_eq!(seen, [round, &["accept"]].concat());
        assert_eq!(core.progress().tasks[0].1, if is_aborted { 5 } else { 6 });
    }
}

#[test]
fn what_is_retained_outlives_the_end_of_a_takeover() {
    let mut core = running();
    core.handle(Input::Assigned { partitions: vec![1, 2], generation: GENERATION }, at(20));
    for answer in [Input::Done, Input::Owners(Vec::new()), Input::Stable(vec![(1, Some(7)), (2, Some(8))])] {
        core.poll_effect();
        core.handle(answer, at(20));
    }
    assert!(matches!(core.poll_effect(), Some(Effect::Claim(_))));
    core.handle(Input::Failed(Failure::Superseded), at(20));
    core.handle(Input::Revoked { partitions: vec![1], generation: GENERATION }, at(20));
    let mut seen = Vec::new();
    while let Some(effect) = core.poll_effect() {
        seen.push(effect.name());
        match effect {
            Effect::SendOffsets { ref offsets, .. } => assert_eq!(*offsets, [(1, 7, true)]),
            Effect::Release(ref partitions) => assert_eq!(*partitions, [1]),
            Effect::Accept(ref partitions) => {
                assert_eq!(*partitions, [2], "what is left of the takeover");
                break;
            }
            _ => {}
        }
        core.handle(
            if seen.ends_with(&["commit"]) { Input::Committed(Vec::new()) } else { Input::Done },
            at(20),
        );
    }
    assert_eq!(seen, ["begin", "log", "send offsets", "commit", "apply", "release", "accept"]);
    assert_eq!(core.progress().tasks.len(), 1, "partition 0 is worked on");
}

#[test]
fn what_was_claimed_is_marked_though_the_takeover_was_ended_twice() {
    let mut core = running();
    core.handle(Input::Assigned { partitions: vec![1], generation: GENERATION }, at(20));
    let claimed = [Input::Done, Input::Owners(Vec::new()), Input::Stable(vec![(1, Some(7))]), Input::Done];
    for answer in claimed.into_iter().chain([Input::Failed(Failure::Superseded)]) {
        assert!(core.poll_effect().is_some());
        core.handle(answer, at(20));
    }
    core.handle(Input::Assigned { partitions: vec![2], generation: GENERATION }, at(20));
    for answer in [Input::Done, Input::Failed(Failure::Superseded)] {
        assert!(core.poll_effect().is_some());
        core.handle(answer, at(20));
    }
    core.handle(Input::Revoked { partitions: vec![1, 2], generation: GENERATION }, at(20));
    let mut seen = Vec::new();
    while let Some(effect) = core.poll_effect() {
        seen.push(effect.name());
        if let Effect::SendOffsets { offsets, .. } = &effect {
            assert_eq!(*offsets, [(1, 7, true)]);
        }
        let committed = matches!(effect, Effect::Commit);
        core.handle(if committed { Input::Committed(Vec::new()) } else { Input::Done }, at(20));
    }
    assert_eq!(seen, ["begin", "log", "send offsets", "commit", "apply", "release"]);
}

/// Under an incremental protocol the membership moves on amid a round.
#[test]
fn a_round_that_gives_up_and_is_refused_is_followed_by_the_marks_alone() {
    let now_generation = Generation(2);
    let mut core = running();
    arrive(&mut core, 5, 10_000, at(10));
    settle(&mut core, at(10));
    core.handle(Input::Revoked { partitions: vec![0], generation: now_generation }, at(20));
    let mut seen = Vec::new();
    let mut sent = Vec::new();
    while let Some(effect) = core.poll_effect() {
        seen.push(effect.name());
        let stale = || Failure::Abort { reason: "an old generation".to_owned() };
        let answer = match effect {
            Effect::Notice(_) => continue,
            Effect::SendOffsets { offsets, generation } => {
                sent.push((offsets, generation));
                if generation == GENERATION { Input::Failed(stale()) } else { Input::Done }
            }
            Effect::Commit => Input::Committed(vec![(0, 20)]),
            _ => Input::Done,
        };
        core.handle(answer, at(20));
    }
    let marks = ["begin", "log", "send offsets", "commit", "apply", "release"];
    assert_eq!(seen, [&["log", "send offsets", "notice", "abort"], &marks[..]].concat());
    assert_eq!(sent, [(vec![(0, 6, true)], GENERATION), (vec![(0, 5, true)], now_generation)]);
}

#[test]
fn a_worker_that_cannot_mark_what_it_gives_up_starts_over() {
    let mut core = running();
    core.handle(Input::Revoked { partitions: vec![0], generation: GENERATION }, at(20));
    let mut seen = Vec::new();
    while let Some(effect) = core.poll_effect() {
        seen.push(effect.name());
        let refused = Failure::Abort { reason: "refused".to_owned() };
        let answer = match effect {
            Effect::Notice(_) | Effect::Rejoin(_) => continue,
            Effect::SendOffsets { .. } => Input::Failed(refused),
            _ => Input::Done,
        };
        core.handle(answer, at(20));
    }
    let round = ["begin", "log", "send offsets", "notice", "abort"];
    assert_eq!(seen, [&round[..], &round[..], &["release", "rejoin"]].concat());
}

#[test]
fn a_batch_that_is_dropped_with_the_round_is_read_again_all_of_it() {
    let mut core = running();
    core.handle(Input::Assigned { partitions: vec![1], generation: GENERATION }, at(5));
    let restored = Restored { partition: 1, ..restored(Some(checkpoint(5))) };
    let answers = [
        Input::Done,
        Input::Owners(Vec::new()),
        Input::Stable(vec![(1, Some(5))]),
        Input::Done,
        Input::Targets(vec![(1, 10)]),
        Input::Restored(vec![restored]),
        Input::Done,
    ];
    for answer in answers {
        assert!(core.poll_effect().is_some());
        core.handle(answer, at(5));
    }
    arrive(&mut core, 5, 10_000, at(10));
    settle(&mut core, at(10));
    let record = Record { partition: 1, offset: 5, kafka_time: Some(10), key: None, value: None };
    core.handle(Input::Arrivals { records: &[record], generation: Generation(2) }, at(20));
    let seen = settle(&mut core, at(20));
    assert_eq!(names(&seen), ["notice", "abort", "rewind"]);
    assert!(matches!(&seen[2], Effect::Rewind(offsets) if *offsets == [(0, 5), (1, 5)]), "{seen:?}");
}

#[test]
fn a_refused_founding_is_taken_over_anew_with_what_was_claimed() {
    let (mut core, _) = taking_over(settings(), Some(5), None);
    core.handle(Input::Failed(Failure::Superseded), at(0));
    core.handle(Input::Assigned { partitions: vec![1], generation: GENERATION }, at(0));
    let founded = Restored { partition: 1, ..restored(None) };
    let answers = [
        Input::Done,
        Input::Owners(Vec::new()),
        Input::Stable(vec![(0, Some(5)), (1, None)]),
        Input::Done,
        Input::Targets(vec![(0, 10), (1, 10)]),
        Input::Restored(vec![restored(Some(checkpoint(5))), founded]),
    ];
    for answer in answers {
        assert!(core.poll_effect().is_some());
        core.handle(answer, at(0));
    }
    let mut seen = Vec::new();
    while let Some(effect) = core.poll_effect() {
        seen.push(effect.name());
        let answer = match effect {
            Effect::Notice(_) => continue,
            Effect::SendOffsets { .. } => Input::Failed(Failure::Abort { reason: "an old one".to_owned() }),
            Effect::Accept(partitions) => {
                assert_eq!(partitions, [0, 1]);
                break;
            }
            _ => Input::Done,
        };
        core.handle(answer, at(0));
    }
    assert_eq!(seen, ["begin", "log", "send offsets", "notice", "abort", "accept"]);
    core.handle(Input::Failed(Failure::Superseded), at(0));
    core.handle(Input::Revoked { partitions: vec![0, 1], generation: GENERATION }, at(0));
    let seen = settle(&mut core, at(0));
    let marked =
        |effect: &Effect| matches!(effect, Effect::SendOffsets { offsets, .. } if *offsets == [(0, 5, true)]);
    assert!(seen.iter().any(marked), "{seen:?}");
}
