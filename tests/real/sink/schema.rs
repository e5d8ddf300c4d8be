//! What the sink does where the schema is not as expected: it says so, and writes nothing.

use crate::{
    feed::now_ms,
    gate::{PATIENCE, wait_for},
    sink::{
        loader::Loader,
        source::{Straight, append, letters, tables, topics},
        tables::{Tables, settings},
    },
};

#[test]
fn a_missing_schema_is_named_and_applying_it_twice_is_harmless() {
    let settings = settings("sink-schema-new");
    let run = settings.run(&["sink"]).ended(2);
    assert!(run.err.contains("`sink_schema_new` does not exist"), "{}", run.err);
    assert!(run.err.contains("`tickgate sink schema --apply` makes it"), "{}", run.err);
    let printed = settings.run(&["sink", "schema"]).ended(0);
    assert_eq!(printed.out.matches("IF NOT EXISTS").count(), 3, "{}", printed.out);
    tables(&settings);
    tables(&settings);
}

#[test]
fn another_schema_is_refused_with_column_expected_and_found() {
    let test = "sink-schema-other";
    let settings = topics(settings(test));
    tables(&settings);
    let tables = Tables::of(test);
    tables.execute("ALTER TABLE KS.stock ADD note text");
    Loader::catch_up(&settings);
    tables.execute("DROP TABLE KS.stock");
    tables.execute(
        "CREATE TABLE KS.stock (symbol text, timestamp timestamp, last_price double, volume decimal, \
         PRIMARY KEY (symbol, timestamp))",
    );
    let run = settings.run(&["sink"]).ended(2);
    for words in [
        "`sink_schema_other.stock`: column `day`: expected date, partition key 2, found nothing",
        "column `last_price`: expected decimal, a value, found double, a value",
        "clustering key 1 descending, found timestamp, clustering key 1 ascending",
        "tables are never altered",
    ] {
        assert!(run.err.contains(words), "expected `{words}` in {}", run.err);
    }
    let applied = settings.run(&["sink", "schema", "--apply"]).ended(2);
    assert!(applied.err.contains("column `day`"), "{}", applied.err);
}

#[test]
fn a_table_that_goes_while_rows_flow_ends_the_sink_and_no_record_is_taken_for_bad() {
    let test = "sink-schema-gone";
    let settings = topics(settings(test));
    tables(&settings);
    let now = now_ms();
    append(&settings, (0..100).map(|number| Straight::quote("AAPL", number, now, 0)));
    let mut loader = Loader::start(&settings);
    let tables = Tables::of(test);
    wait_for("first rows", PATIENCE, || (tables.count() == 100).then_some(()));
    tables.execute("DROP TABLE KS.stock");
    append(&settings, (100..200).map(|number| Straight::quote("AAPL", number, now, 0)));
    assert_eq!(loader.wait_end(), Some(2));
    assert!(
        loader.log().contains("`sink_schema_gone.stock`: expected the table, found nothing"),
        "{}",
        loader.log()
    );
    assert_eq!(letters(&settings).len(), 0);
    crate::sink::source::tables(&settings);
    Loader::catch_up(&settings);
    assert_eq!(tables.count(), 100, "what was committed stays committed, the rest is written");
}
