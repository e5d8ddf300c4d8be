//! Instances that come, go and crash: how partitions are shared out, that nobody starts over for it, and that a
//! worker may lose its partitions while the other one of its process keeps its own.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rdkafka::consumer::Consumer as _;
use serde_json::Value;

use crate::{
    cluster::Settings,
    faults::{prove, wait_rounds, while_flowing},
    feed::Feed,
    gate::{Gate, PATIENCE, wait_for},
    offsets::observer,
    raw::leave_group,
};

const MANY: i32 = 85;
const SOME: i32 = 12;

fn prepare(test: &str, partitions: i32) -> Settings {
    let settings = Settings::of(test).with("TOPICS__PARTITIONS", &partitions.to_string());
    settings.run(&["topics", "apply", "--timeout", "3m"]).ended(0);
    settings
}

/// What each worker of an instance works on.
fn by_worker(gate: &Gate) -> Vec<BTreeSet<i32>> {
    let view: Value =
        gate.get("/v1/instance").and_then(|body| serde_json::from_str(&body).ok()).unwrap_or_default();
    let workers = view["workers"].as_object().into_iter().flat_map(|workers| workers.values());
    let running = |worker: &Value| {
        let partitions = worker["partitions"].as_object().into_iter().flatten();
        let running = partitions.filter(|(_, partition)| partition["phase"] == "running");
        running.map(|(number, _)| number.parse().unwrap()).collect()
    };
    workers.map(running).collect()
}

/// Waits until the instances that run have all partitions, no worker of them more than one more than another; what each
/// has.
fn wait_even(gates: &[Gate], running: usize, partitions: i32) -> Vec<BTreeSet<i32>> {
    let all: BTreeSet<i32> = (0..partitions).collect();
    wait_for("partitions that are shared out evenly", PATIENCE, || {
        let shares: Vec<BTreeSet<i32>> = gates.iter().flat_map(by_worker).collect();
        let sizes = || shares.iter().map(BTreeSet::len);
        let whole = shares.iter().flatten().copied().collect::<BTreeSet<i32>>() == all
            && sizes().sum::<usize>() == all.len();
        let even = sizes().max()? - sizes().min()? <= 1;
        (whole && even && shares.len() >= running).then_some(shares)
    })
}

fn running(gates: &mut [Gate]) -> usize {
    gates.iter_mut().map(|gate| usize::from(gate.is_running())).sum()
}

fn verify(settings: &Settings, gate: &Gate) {
    let settings = settings.clone().with("PROCESS__STATE_DIR", gate.state_dir().to_str().unwrap());
    settings.run(&["state", "verify"]).ended(0);
}

/// No worker has started over since the instance's last start.
fn assert_stayed(gate: &Gate) {
    let left = gate.logged("starts over with a new id");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn partitions_are_even_whoever_comes_and_goes_and_a_restart_has_again_what_it_had() {
    let settings = prepare("even", MANY).with("PROCESS__WORKERS", "2");
    let mut feed = Feed::new(31, MANY);
    let mut gates: Vec<Gate> = (0..3).map(|_| Gate::start(&settings)).collect();
    while_flowing(&settings, &mut feed, || {
        let before = wait_even(&gates, 6, MANY);
        gates[1].kill();
        wait_even(&gates, 4, MANY);
        gates[1].start_again(&[]);
        assert_eq!(wait_even(&gates, 6, MANY), before, "a restart has what it had");
        gates.push(Gate::start(&settings));
        wait_even(&gates, 8, MANY);
        assert_eq!(gates[0].terminate(), Some(0));
        wait_even(&gates, 6, MANY);
    });
    prove(&settings, &feed);
    assert!(gates[1..].iter_mut().all(|gate| gate.terminate() == Some(0)));
}

/// The group's members by client id.
fn members(settings: &Settings) -> BTreeMap<String, String> {
    wait_for("members of the group", PATIENCE, || {
        let groups = observer(settings).fetch_group_list(Some(settings.group()), PATIENCE).ok()?;
        let group = groups.groups().iter().find(|group| group.name() == settings.group())?;
        let named = |member: &rdkafka::groups::GroupMemberInfo| {
            (member.client_id().to_owned(), member.id().to_owned())
        };
        Some(group.members().iter().map(named).collect())
    })
}

#[test]
fn a_worker_loses_its_partitions_while_another_of_its_process_keeps_its_own() {
    let settings = prepare("lost-some", SOME).with("PROCESS__WORKERS", "2");
    let mut feed = Feed::new(32, SOME);
    let mut gates = vec![Gate::start(&settings)];
    while_flowing(&settings, &mut feed, || {
        for _ in 0..3 {
            wait_even(&gates, 2, SOME);
            wait_rounds(&gates[0], 5);
            let starts = gates[0].logged("joining the group").len();
            // Any client may say farewell for it. The member hears of it with its next heartbeat.
            let member =
                members(&settings).into_iter().find(|(client, _)| client.ends_with("-01")).unwrap().1;
            leave_group(&settings, &member);
            wait_for("worker that joins again", PATIENCE, || {
                (gates[0].logged("joining the group").len() > starts).then_some(())
            });
        }
        wait_even(&gates, 2, SOME);
    });
    let lost = gates[0].logged("the group said: Lost");
    assert!(lost.len() >= 3 && lost.iter().all(|line| line["worker"] == 1), "{lost:?}");
    prove(&settings, &feed);
    assert_eq!(gates[0].terminate(), Some(0));
    verify(&settings, &gates[0]);
}

/// Nobody was taken for dead since the instance's last start.
fn assert_fenced_nobody(gate: &Gate) {
    let fenced = gate.logged("fencing a dead owner");
    assert!(fenced.is_empty(), "{fenced:?}");
    assert_stayed(gate);
}

#[test]
#[ignore = "slow: five minutes"]
fn a_hundred_orderly_rebalances_fence_nobody() {
    const COMINGS: usize = 50;
    let settings = prepare("hundred", SOME);
    let mut feed = Feed::new(34, SOME);
    let mut gates: Vec<Gate> = (0..3).map(|_| Gate::stopped(&settings)).collect();
    while_flowing(&settings, &mut feed, || {
        gates[0].start_again(&[]);
        gates[1].start_again(&[]);
        wait_even(&gates, 2, SOME);
        for _ in 0..COMINGS {
            gates[2].start_again(&[]);
            wait_even(&gates, 3, SOME);
            assert_eq!(gates[2].terminate(), Some(0));
            assert_fenced_nobody(&gates[2]);
            wait_even(&gates, 2, SOME);
        }
    });
    prove(&settings, &feed);
    for gate in &mut gates[..2] {
        assert_fenced_nobody(gate);
        assert_eq!(gate.terminate(), Some(0));
        verify(&settings, gate);
    }
}

#[test]
#[ignore = "slow: four minutes"]
fn twenty_rebalances_in_a_row_cost_nothing() {
    rebalances_in_a_row_cost_nothing("range", 20, true);
}

#[test]
#[ignore = "slow: four minutes"]
fn twenty_cooperative_rebalances_in_a_row_cost_nothing() {
    rebalances_in_a_row_cost_nothing("cooperative", 20, true);
}

/// By their defaults the brokers wait 45 s for a member of this protocol, so nobody is killed here but once.
#[test]
#[ignore = "slow: four minutes"]
fn rebalances_by_the_brokers_cost_nothing() {
    rebalances_in_a_row_cost_nothing("consumer", 12, false);
}

fn rebalances_in_a_row_cost_nothing(protocol: &str, rebalances: usize, kills: bool) {
    const INSTANCES: usize = 5;
    let settings = prepare(&format!("many-{protocol}"), SOME).with("PROCESS__GROUP_PROTOCOL", protocol);
    let mut feed = Feed::new(33, SOME);
    let mut chance = ChaCha8Rng::seed_from_u64(33);
    let mut gates: Vec<Gate> = (0..INSTANCES).map(|_| Gate::stopped(&settings)).collect();
    while_flowing(&settings, &mut feed, || {
        gates[0].start_again(&[]);
        wait_even(&gates, 1, SOME);
        for _ in 0..rebalances {
            let mut which = chance.random_range(0..INSTANCES);
            if running(&mut gates) == 1 && gates[which].is_running() {
                which = (which + 1) % INSTANCES;
            }
            if !gates[which].is_running() {
                gates[which].start_again(&[]);
            } else if kills && chance.random() {
                assert_stayed(&gates[which]);
                gates[which].kill();
            } else {
                assert_eq!(gates[which].terminate(), Some(0));
                assert_stayed(&gates[which]);
            }
            let running = running(&mut gates);
            wait_even(&gates, running, SOME);
        }
        if !kills {
            let killed = gates.iter_mut().find_map(|gate| gate.is_running().then_some(gate)).unwrap();
            killed.kill();
            killed.start_again(&[]);
            let running = running(&mut gates);
            wait_even(&gates, running, SOME);
        }
    });
    prove(&settings, &feed);
    for gate in &mut gates {
        if gate.is_running() {
            assert_eq!(gate.terminate(), Some(0));
            assert_stayed(gate);
        }
        if gate.starts() > 0 {
            verify(&settings, gate);
        }
    }
}
