//! Committed offsets, checkpoints and staging that don't belong together: the gate goes on only where nothing
//! can be lost or doubled, and says what it found and what to do where it doesn't.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{CommitMode, Consumer},
};

use crate::{
    cluster::{Settings, cluster},
    feed::Feed,
    gate::{Gate, PATIENCE, wait_for},
    offsets::{committed, ends, observer, wait_caught_up},
    proof::Proof,
};

const PARTITIONS: i32 = 2;
const ALL: [i32; 2] = [0, 1];

#[test]
fn another_number_of_partitions_than_the_topics_have_is_refused() {
    let settings = Settings::of("partitions-differ").with("TOPICS__PARTITIONS", "2");
    settings.run(&["topics", "apply"]).ended(0);
    let mut gate = Gate::start(&settings.clone().with("TOPICS__PARTITIONS", "3"));
    assert_eq!(gate.wait_end(), Some(2));
    let said = gate.log();
    assert!(said.contains("`topics.partitions`: expected 2") && said.contains("found 3"), "{said}");
}

/// A group that has come to the end of a staging with records in both partitions, and stopped in order.
struct World {
    settings: Settings,
    gate: Gate,
    feed: Feed,
    /// Next input offsets.
    offsets: BTreeMap<i32, i64>,
}

impl World {
    fn new(test: &str) -> Self {
        let settings = Settings::of(test).with("TOPICS__PARTITIONS", "2");
        settings.run(&["topics", "apply"]).ended(0);
        let mut world = Self {
            gate: Gate::stopped(&settings),
            feed: Feed::new(6, PARTITIONS),
            settings,
            offsets: BTreeMap::new(),
        };
        world.feed();
        world.start();
        world.stop();
        world
    }

    fn staging(&self) -> String {
        self.settings.topic("staging")
    }

    fn feed(&mut self) {
        self.feed.flow(&self.settings, 2_500, Duration::ZERO);
    }

    fn start(&mut self) {
        self.gate.start_again(&[]);
        wait_caught_up(&self.settings, PATIENCE);
    }

    fn stop(&mut self) {
        assert_eq!(self.gate.terminate(), Some(0));
        self.offsets = self.committed();
        assert_eq!(self.offsets.len(), ALL.len());
    }

    fn committed(&self) -> BTreeMap<i32, i64> {
        committed(&observer(&self.settings), &self.staging(), &ALL)
    }

    fn log_ends(&self) -> BTreeMap<i32, i64> {
        ends(&observer(&self.settings), &self.staging())
    }

    /// Commits another offset for partition 1, as any client can while the group has no members.
    fn move_offset(&self, offset: i64) {
        let mut moved = TopicPartitionList::new();
        moved.add_partition_offset(&self.staging(), 1, Offset::Offset(offset)).unwrap();
        let client = observer(&self.settings);
        // The member that stopped may take a moment to be gone.
        wait_for("group without members", PATIENCE, || client.commit(&moved, CommitMode::Sync).ok());
    }

    /// Starts the gate, which must refuse to go on with words that name all of `expected`.
    fn refused(&mut self, expected: &[&str]) {
        self.gate.start_again(&[]);
        assert_eq!(self.gate.wait_end(), Some(1));
        let log = self.gate.log();
        let words = log.lines().find(|line| line.starts_with("tickgate: ")).unwrap_or(&log);
        for part in expected {
            assert!(words.contains(part), "expected `{part}` in `{words}`");
        }
    }

    /// Every record that was ever fed has its one output.
    fn prove(&self) {
        Proof::of(&self.settings).assert_matches(self.feed.expected());
    }
}

/// A client that changes topics and groups of the shared brokers.
pub fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", cluster().bootstrap()).create().unwrap()
}

/// Blocks until it is done.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// How long such a change may take.
pub fn patience() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)))
}

fn delete_group(group: &str) {
    wait_for("group without members", PATIENCE, || {
        let deleted = wait(admin().delete_groups(&[group], &patience())).unwrap();
        deleted.iter().all(Result::is_ok).then_some(())
    });
}

#[test]
fn deleted_offsets_are_taken_from_the_checkpoint() {
    let mut world = World::new("offsets-deleted");
    delete_group("offsets-deleted");
    assert_eq!(world.committed(), BTreeMap::new());
    world.feed();
    world.start();
    let found = world.gate.logged("no committed offset: going on from the checkpoint");
    let number = |line: &serde_json::Value, name: &str| line[name].as_i64().unwrap();
    let found: BTreeMap<i32, i64> = found
        .iter()
        .map(|line| (i32::try_from(number(line, "partition")).unwrap(), number(line, "offset")))
        .collect();
    assert_eq!(found, world.offsets);
    world.stop();
    assert_eq!(world.offsets, world.log_ends());
    world.prove();

    // Without a store the changelog alone has the checkpoints.
    delete_group("offsets-deleted");
    world.gate.lose_store();
    world.feed();
    world.start();
    assert_eq!(world.gate.logged("no committed offset: going on from the checkpoint").len(), ALL.len());
    world.stop();
    world.prove();
}

#[test]
fn offsets_that_were_moved_are_refused_until_they_are_put_back() {
    let mut world = World::new("offsets-moved");
    let right = world.offsets[&1];
    for wrong in [right - 1, 0, right + 1, right + 1_000_000] {
        world.move_offset(wrong);
        let (committed, checkpoint) = (format!("offset {wrong} "), format!("checkpoint's {right};"));
        world.refused(&["partition 1", &committed, &checkpoint, "`tickgate state reset`"]);
        // To refuse is to leave things as they are.
        assert_eq!(world.committed()[&1], wrong);
        assert_eq!(world.committed()[&0], world.offsets[&0]);
    }
    world.move_offset(right);
    world.feed();
    world.start();
    world.stop();
    world.prove();
}

#[test]
fn offsets_without_any_checkpoint_are_refused() {
    let settings = Settings::of("offsets-alone").with("TOPICS__PARTITIONS", "2");
    settings.run(&["topics", "apply"]).ended(0);
    let gate = Gate::stopped(&settings);
    let feed = Feed::new(7, PARTITIONS);
    let mut world = World { settings, gate, feed, offsets: BTreeMap::new() };
    world.feed();
    world.move_offset(5);
    world.refused(&["partition 1", "offset 5 ", "checkpoint's (none);", "`tickgate state reset`"]);
}

#[test]
fn a_staging_that_was_made_anew_is_refused() {
    let mut world = World::new("staging-anew");
    let staging = world.staging();
    let deleted = wait(admin().delete_topics(&[&staging], &patience())).unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    wait_for("deleted topic", PATIENCE, || {
        let made = world.settings.run(&["topics", "apply"]);
        (made.code == Some(0) && made.out.contains(&format!("{staging}: created"))).then_some(())
    });
    assert_eq!(world.committed(), BTreeMap::new(), "Kafka forgets the offsets of a topic that is deleted");
    world.refused(&["partition 0", "staging ends at 0", "re-created", "`tickgate state reset`"]);

    // The same when it has grown beyond where the old one ended: the record there is another.
    while world.log_ends().iter().any(|(partition, end)| *end <= world.offsets[partition] + 100) {
        world.feed();
    }
    world.refused(&["partition 0", "the Kafka time", "re-created", "`tickgate state reset`"]);
    assert_eq!(world.committed(), BTreeMap::new());
}

#[test]
fn records_that_were_deleted_unread_are_refused_or_accepted_as_lost() {
    const LOST: i64 = 100;
    let mut world = World::new("records-deleted");
    world.feed();
    let delete = |until: i64| {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(&world.staging(), 1, Offset::Offset(until)).unwrap();
        let deleted = wait(admin().delete_records(&before, &patience())).unwrap();
        deleted.elements()[0].error().unwrap();
    };
    let read_until = world.offsets[&1];
    delete(read_until);
    let remaining = world.log_ends()[&1] - read_until;
    assert!(remaining > LOST, "{remaining} records unread");
    delete(read_until + LOST);

    let (offset, start) = (format!("offset {read_until},"), format!("starts at {};", read_until + LOST));
    let start = start.trim_end_matches(';');
    world.refused(&["partition 1", &offset, start, "100 records are gone unjudged", "`--accept-loss`"]);
    assert_eq!(world.committed()[&1], read_until);

    world.gate.start_again(&["--accept-loss"]);
    wait_caught_up(&world.settings, PATIENCE);
    let lost = world.gate.logged("records are gone unjudged, as accepted by --accept-loss");
    assert_eq!(lost.len(), 1);
    assert_eq!((lost[0]["partition"].as_i64(), lost[0]["from"].as_i64()), (Some(1), Some(read_until)));
    assert_eq!(lost[0]["to"].as_i64(), Some(read_until + LOST));
    world.stop();
    // What was accepted once needs no accepting again, and what was read may go.
    delete_read(&world);
    world.feed();
    world.start();
    world.stop();
    world.settings.run(&["audit"]).ended(0);
}

/// Deletes all that the group has read.
fn delete_read(world: &World) {
    let mut before = TopicPartitionList::new();
    for (partition, offset) in &world.offsets {
        before.add_partition_offset(&world.staging(), *partition, Offset::Offset(*offset)).unwrap();
    }
    let deleted = wait(admin().delete_records(&before, &patience())).unwrap();
    deleted.elements().iter().for_each(|element| element.error().unwrap());
}
