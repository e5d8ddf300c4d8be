//! Records that retention takes before they are loaded are never passed over silently.

use rdkafka::{Offset, TopicPartitionList};

use crate::{
    feed::now_ms,
    refusals::{admin, patience, wait},
    sink::{
        loader::Loader,
        source::{Straight, append, tables, topics},
        tables::{Tables, settings},
    },
};

#[test]
fn records_that_are_gone_unloaded_are_refused_or_accepted_as_lost() {
    let test = "sink-lost";
    let settings = topics(settings(test));
    tables(&settings);
    let now = now_ms();
    let quotes = |from: i64, to: i64| (from..to).map(move |number| Straight::quote("AAPL", number, now, 0));
    append(&settings, quotes(0, 10));
    Loader::catch_up(&settings);
    append(&settings, quotes(10, 20));
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&settings.topic("stock_data"), 0, Offset::Offset(15)).unwrap();
    let deleted = wait(admin().delete_records(&before, &patience())).unwrap();
    deleted.elements()[0].error().unwrap();

    let run = settings.run(&["sink", "--until-caught-up"]).ended(2);
    for words in ["begins at 15", "has committed 10", "up to 5 records are gone", "`--accept-loss`"] {
        assert!(run.err.contains(words), "expected `{words}` in {}", run.err);
    }
    assert_eq!(Tables::of(test).count(), 10);
    let mut loader = Loader::stopped(&settings);
    loader.start_again(&["--accept-loss", "--until-caught-up"]);
    assert_eq!(loader.wait_end(), Some(0));
    assert!(loader.log().contains("goes on without up to 5 records"), "{}", loader.log());
    assert_eq!(Tables::of(test).count(), 15);
}
