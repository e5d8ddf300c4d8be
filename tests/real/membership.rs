//! A member of the group at the awkward moments that need no fault in the gate: assigned nothing for ever, and
//! leaving after its session has ended.

use std::{
    collections::BTreeSet,
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
    feed::{Feed, Producer, Sent, now_ms, quote},
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

fn join(brokers: &str, group: &str, topic: &str, protocol: GroupProtocol) -> Membership {
    let instance_id = None;
    let joining = Joining { group, topic, instance_id, session_timeout: SESSION, protocol, tuning: &[] };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    Membership::join(config, &joining).unwrap()
}

#[test]
fn members_whose_session_has_ended_unheard_can_leave() {
    const MEMBERS: usize = 60;
    let rig = Rig::take();
    let settings = rig.settings("unheard", 1);
    let topic = settings.topic("staging");
    let brokers: Vec<String> = rig.brokers().iter().map(Broker::address).collect();
    let members: Vec<Membership> = (0..MEMBERS)
        .map(|member| join(&brokers.join(","), &format!("unheard-{member}"), &topic, GroupProtocol::Range))
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

/// Takes a member's turn: all that comes is read from the start, and what is wanted back is given up.
fn take_turn(member: &Membership, owned: &mut BTreeSet<i32>) {
    member.poll(Duration::from_millis(50), 10, &mut Vec::new()).unwrap();
    match member.next_event() {
        Some(GroupEvent::Assigned(given)) => {
            member.accept().unwrap();
            member.assign(&given.iter().map(|of| (*of, 0)).collect::<Vec<_>>()).unwrap();
            owned.extend(given);
        }
        Some(GroupEvent::Revoked(gone) | GroupEvent::Lost(gone)) => {
            owned.retain(|of| !gone.contains(of));
            member.unassign().unwrap();
        }
        None => {}
    }
}

#[test]
fn what_was_held_when_it_was_taken_away_is_read_when_it_comes_again() {
    let settings = Settings::of("held-again").with("TOPICS__PARTITIONS", "2");
    settings.run(&["topics", "apply"]).ended(0);
    let topic = settings.topic("staging");
    let join = || join(&cluster().bootstrap(), settings.group(), &topic, GroupProtocol::Cooperative);
    let (first, mut own) = (join(), BTreeSet::new());
    wait_for("both partitions", PATIENCE, || {
        take_turn(&first, &mut own);
        (own.len() == 2).then_some(())
    });
    // As amid a takeover, which the next event ends.
    first.accept().unwrap();
    let (second, mut others) = (join(), BTreeSet::new());
    wait_for("a partition each", PATIENCE, || {
        take_turn(&first, &mut own);
        take_turn(&second, &mut others);
        (own.len() == 1 && others.len() == 1).then_some(())
    });
    drop(second);
    wait_for("both partitions again", PATIENCE, || {
        take_turn(&first, &mut own);
        (own.len() == 2).then_some(())
    });
    let producer = Producer::new(&settings);
    for partition in [0, 1] {
        producer.send(&Sent { partition: Some(partition), ..quote("GOOD", now_ms()) });
    }
    producer.flush();
    let mut read = BTreeSet::new();
    wait_for("a record of each partition", PATIENCE, || {
        let mut batch = Vec::new();
        first.poll(Duration::from_millis(100), 10, &mut batch).unwrap();
        read.extend(batch.iter().map(rdkafka::Message::partition));
        (read.len() == 2).then_some(())
    });
}

#[test]
fn a_cooperative_member_without_partitions_asks_again_and_stays_a_member() {
    let settings = Settings::of("empty-handed").with("TOPICS__PARTITIONS", "1");
    settings.run(&["topics", "apply"]).ended(0);
    let topic = settings.topic("staging");
    let join = || join(&cluster().bootstrap(), settings.group(), &topic, GroupProtocol::Cooperative);
    let (first, mut own) = (join(), BTreeSet::new());
    wait_for("the partition", PATIENCE, || {
        take_turn(&first, &mut own);
        (own.len() == 1).then_some(())
    });
    let (second, mut others) = (join(), BTreeSet::new());
    let mut was_doubtful = false;
    wait_for("a member that has asked often enough", PATIENCE, || {
        take_turn(&first, &mut own);
        take_turn(&second, &mut others);
        was_doubtful |= second.is_empty_handed();
        (was_doubtful && !second.is_empty_handed()).then_some(())
    });
    assert!(others.is_empty() && own.len() == 1);
    drop(first);
    wait_for("the partition of the one that left", PATIENCE, || {
        take_turn(&second, &mut others);
        (others.len() == 1).then_some(())
    });
}

/// The brokers say nothing to it.
#[test]
fn a_member_that_the_brokers_give_nothing_learns_of_it() {
    let settings = Settings::of("brokers-give-nothing").with("TOPICS__PARTITIONS", "1");
    settings.run(&["topics", "apply"]).ended(0);
    let topic = settings.topic("staging");
    let join = || join(&cluster().bootstrap(), settings.group(), &topic, GroupProtocol::Consumer);
    let (first, mut own) = (join(), BTreeSet::new());
    wait_for("the partition", PATIENCE, || {
        take_turn(&first, &mut own);
        (own.len() == 1).then_some(())
    });
    let second = join();
    let nothing = wait_for("word of nothing", PATIENCE, || {
        take_turn(&first, &mut own);
        second.poll(Duration::from_millis(20), 1, &mut Vec::new()).unwrap();
        second.next_event()
    });
    assert_eq!(nothing, GroupEvent::Assigned(Vec::new()));
    second.assign(&[]).unwrap();
    drop(first);
    let mut others = BTreeSet::new();
    wait_for("the partition of the one that left", PATIENCE, || {
        take_turn(&second, &mut others);
        (others.len() == 1).then_some(())
    });
}
