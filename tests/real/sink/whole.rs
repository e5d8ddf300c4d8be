//! All records, all rows: by `tickgate audit --rows`, and by what a second load leaves as it was.

use std::time::Duration;

use crate::{
    proof::Proof,
    sink::{
        loader::Loader,
        source::{pass, tables, topics},
        tables::{Tables, settings},
    },
};

#[test]
fn every_record_has_one_row_and_a_second_load_changes_no_byte() {
    let test = "sink-whole";
    let settings = topics(settings(test));
    tables(&settings);
    // Among them are equal trades of the same millisecond.
    let accepted = pass(&settings, 11, 30_000, Duration::from_secs(5));
    Loader::catch_up(&settings);
    let proof = Proof::of_rows(&settings);
    assert_eq!((proof.count("rows"), proof.count("stock_data")), (accepted, accepted));

    let tables = Tables::of(test);
    let (stock, latest) = (tables.stock(), tables.latest());
    assert_eq!(stock.len() as u64, accepted);
    let equal = |pair: &&[crate::sink::tables::Row]| {
        let same = |row: &crate::sink::tables::Row| (row.0.clone(), row.2, row.5.clone(), row.6.clone());
        same(&pair[0]) == same(&pair[1])
    };
    assert!(stock.windows(2).filter(equal).count() > 100, "equal trades are real, and there are none");
    // From offset 0, write times included.
    Loader::catch_up(&settings.clone().with("SINK__GROUP", "sink-whole-again"));
    assert!(tables.stock() == stock, "rows have changed");
    assert!(tables.latest() == latest, "the latest quotes have changed");
}
