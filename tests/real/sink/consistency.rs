//! `[sink] consistency` reaches the nodes: what they can't keep is waited for, and told.

use crate::{
    feed::now_ms,
    sink::{
        loader::Loader,
        source::{Straight, append, tables, topics},
        tables::{Tables, settings},
    },
};

#[test]
fn a_consistency_that_the_nodes_cannot_reach_is_waited_for() {
    let test = "sink-consistency";
    let settings = topics(settings(test));
    tables(&settings);
    append(&settings, (0..10).map(|number| Straight::quote("AAPL", number, now_ms(), 0)));
    // There is one copy.
    let mut loader = Loader::start(&settings.clone().with("SINK__CONSISTENCY", "TWO"));
    let said = loader.wait_unready("cassandra waits for answers: none for");
    assert!(said.contains("unavailable"), "{said}");
    assert!(loader.metric("tickgate_sink_retries_total{reason=\"unavailable\"}") > 0.0);
    assert_eq!(Tables::of(test).count(), 0);
    assert_eq!(loader.terminate(), Some(0));
    // Of every data centre, the one that there is.
    Loader::catch_up(&settings.with("SINK__CONSISTENCY", "EACH_QUORUM"));
    assert_eq!(Tables::of(test).count(), 10);
}
