//! What the group says amid a takeover, what others do meanwhile, and partitions that nothing is said of for long.

use super::*;

#[test]
fn a_takeover_that_the_group_ends_marks_what_it_has_claimed_and_gives_it_up() {
    let revoked = || Input::Revoked { partitions: vec![0] };
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
