//! A member of the group at the awkward moments that need no fault in the gate: assigned nothing for ever, and
//! leaving after its session has ended.

use std::{
    process::Stdio,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};
use tickgate::config::GroupProtocol;
use tickgate::journal::kafka::membership::{GroupEvent, Joining, Membership};
use tickgate_stack::{Broker, Proxy};

use crate::{
    cluster::{Settings, cluster},
    faults::{PARTITIONS, prove, wait_rounds},
    feed::{Feed, Producer},
    gate::{Gate, PATIENCE, wait_for},
    rig::Rig,
};

/// The broker's least.
const SESSION: Duration = Duration::from_secs(6);

/// Has the group store that its static member has nothing, as it does when a member's broker has not heard of the
/// topic yet. librdkafka does not join for a topic that is not there, Kafka's own consumer does.
fn store_an_empty_assignment(settings: &Settings, instance_id: &str) {
    let mut consumer = cluster().tool("org.apache.kafka.tools.consumer.ConsoleConsumer");
    consumer.args(["--bootstrap-server", settings.direct(), "--group", settings.group()]);
    consumer.args(["--topic", &settings.topic("staging")]);
    let assignor = "partition.assignment.strategy=org.apache.kafka.clients.consumer.RangeAssignor";
    for property in [&format!("group.instance.id={instance_id}"), "session.timeout.ms=60000", assignor] {
        consumer.args(["--command-property", property]);
    }
    let mut consumer = consumer.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let asks: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", settings.direct()).create().unwrap();
    // Without it a client doesn't know whom to ask.
    asks.fetch_metadata(None, PATIENCE).unwrap();
    wait_for("group of one", PATIENCE, || {
        assert!(consumer.try_wait().unwrap().is_none(), "the consumer has ended by itself");
        let groups = asks.fetch_group_list(Some(settings.group()), Duration::from_secs(5)).ok()?;
        groups.groups().iter().any(|group| group.state() == "Stable").then_some(())
    });
    consumer.kill().unwrap();
    consumer.wait().unwrap();
}

#[test]
fn a_static_member_that_is_stored_with_nothing_gets_its_partitions() {
    let settings = Settings::of("static-empty")
        .with("TOPICS__PARTITIONS", &PARTITIONS.to_string())
        .with("PROCESS__INSTANCE_ID", "phoenix");
    store_an_empty_assignment(&settings, "phoenix-00");
    settings.run(&["topics", "apply", "--timeout", "3m"]).ended(0);
    let mut feed = Feed::new(12, PARTITIONS);
    let producer = Producer::new(&settings);
    (0..2_100).for_each(|_| producer.send(&feed.make()));
    producer.flush();
    let mut gate = Gate::start(&settings);
    wait_rounds(&gate, 1);
    let nothing = gate.logged("the group said: Assigned([])").len();
    assert!(nothing > 0, "the group had something for it at once: nothing was tried");
    prove(&settings, &feed);
    assert_eq!(gate.terminate(), Some(0));
}

#[test]
fn members_whose_session_has_ended_unheard_can_leave() {
    const MEMBERS: usize = 60;
    let rig = Rig::take();
    let settings = rig.settings("unheard", 1);
    let topic = settings.topic("staging");
    let brokers: Vec<String> = rig.brokers().iter().map(Broker::address).collect();
    let members: Vec<Membership> = (0..MEMBERS)
        .map(|member| {
            let group = format!("unheard-{member}");
            let joining = Joining {
                group: &group,
                topic: &topic,
                instance_id: None,
                session_timeout: SESSION,
                protocol: GroupProtocol::Range,
                tuning: &[],
            };
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", brokers.join(","));
            Membership::join(config, &joining).unwrap()
        })
        .collect();
    for member in &members {
        wait_for("assignment", PATIENCE, || {
            member.poll(Duration::from_millis(20), 1, &mut Vec::new()).unwrap();
            member.next_event().filter(|event| matches!(event, GroupEvent::Assigned(_)))
        });
        member.assign(&[(0, 0)]).unwrap();
    }
    rig.proxies().for_each(Proxy::stall);
    let stalled = Instant::now();
    // They give up beside the end of their session, one after the other; nobody listens to the group any more.
    let first = Duration::from_millis(5_500);
    let (left, all_left) = mpsc::channel();
    for (number, member) in members.into_iter().enumerate() {
        let left = left.clone();
        thread::spawn(move || {
            let at = first + Duration::from_millis(50) * u32::try_from(number).unwrap();
            thread::sleep(at.saturating_sub(stalled.elapsed()));
            member.unassign().unwrap();
            drop(member);
            let _ = left.send(number);
        });
    }
    thread::sleep((SESSION + Duration::from_secs(1)).saturating_sub(stalled.elapsed()));
    rig.mend();
    let mut waited_for: Vec<usize> = (0..MEMBERS).collect();
    while let Ok(number) = all_left.recv_timeout(Duration::from_secs(20)) {
        waited_for.retain(|member| *member != number);
        if waited_for.is_empty() {
            return;
        }
    }
    panic!("members {waited_for:?} still wait for the group to let them go");
}
