//! What the store of an instance holds, against the changelog.

use std::path::Path;

use tickgate_state::{CheckpointRow, Store, StoreIdentity, StoreOptions, SymbolRow};

use crate::{
    cluster::Settings,
    gate::Gate,
    offsets::{ends, observer},
};

type Content = Vec<(Option<CheckpointRow>, Vec<(Box<str>, SymbolRow)>)>;

/// What the store of an instance that is not running holds, by partition.
fn content(settings: &Settings, state: &Path) -> Content {
    let identity = StoreIdentity {
        group: settings.group().to_owned(),
        changelog: format!("{}-last_seen-changelog", settings.group()),
        cluster: String::new(),
    };
    let store = Store::open(state, &identity, &StoreOptions::default()).unwrap();
    let partitions = 0..u16::try_from(ends(&observer(settings), &settings.topic("staging")).len()).unwrap();
    let read = |partition| (store.checkpoint(partition).unwrap(), store.symbol_rows(partition).unwrap());
    partitions.map(read).collect()
}

/// Holds the stopped instance's store against one made from the changelog alone.
pub fn assert_as_from_nothing(settings: &Settings, gate: &Gate, what: &str) {
    // By its own restore alone.
    let mut fresh = Gate::start(&settings.clone().with("PROCESS__REPLICAS", "none"));
    fresh.wait_ready();
    assert_eq!(fresh.terminate(), Some(0));
    let [own, expected] = [gate, &fresh].map(|gate| content(settings, &gate.state_dir()));
    assert!(own.iter().all(|(checkpoint, rows)| checkpoint.is_some() && !rows.is_empty()), "{what}");
    for (partition, (own, expected)) in own.iter().zip(&expected).enumerate() {
        let place = format!("{what}: partition {partition}");
        assert_eq!(own.0, expected.0, "{place}: another checkpoint than the changelog's");
        assert_eq!(
            own.1.len(),
            expected.1.len(),
            "{place}: rows of more or fewer symbols than the changelog's"
        );
        assert!(own.1 == expected.1, "{place}: other rows than the changelog's");
    }
}
