use std::collections::BTreeSet;

use super::*;

#[test]
fn help_texts_are_the_fields_doc_comments() {
    let source = include_str!("../metrics.rs");
    let table = source.split("mod tests").next().unwrap();
    let docs = table
        .lines()
        .filter_map(|line| line.strip_prefix("    /// "))
        .map(str::to_owned)
        .collect::<BTreeSet<_>>();
    let metrics = Metrics::new();
    let (_gate, _ingest) = (metrics.gate(), metrics.ingest());
    let (_record, _simulate, _sink) = (metrics.record(), metrics.simulate(), metrics.sink());
    let literals = table.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let mut checked = 0;
    for pair in literals.windows(2).filter(|pair| pair[0].starts_with("tickgate_")) {
        if pair[0] != "tickgate_build_info" {
            assert!(docs.contains(&pair[1]), "`{}`: no field says `{}`", pair[0], pair[1]);
            checked += 1;
        }
    }
    assert_eq!(checked, 55);
}

#[test]
fn what_is_counted_is_shown() {
    let metrics = Metrics::new();
    let gate = metrics.gate();
    gate.records.with_label_values(&["accepted"]).inc_by(3);
    gate.round_duration.observe(0.2);
    let text = metrics.render();
    for expected in [
        "tickgate_records_total{result=\"accepted\"} 3",
        "tickgate_round_duration_seconds_bucket{le=\"0.25\"} 1",
        "tickgate_build_info{version=",
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("tickgate_ingest"), "{text}");
}

#[test]
fn lag_is_the_sum_of_what_is_owned() {
    let metrics = Metrics::new();
    let lag = metrics.gate().lag;
    for (partition, records) in [(0, 5), (1, 7), (1000, 100), (0, 6)] {
        lag.set(partition, records);
    }
    lag.forget(1);
    lag.forget(2);
    let text = metrics.render();
    assert!(text.contains("tickgate_lag_records 106"), "{text}");
    assert!(text.contains("tickgate_partition_lag_records{partition=\"0\"} 6"), "{text}");
    assert!(!text.contains("partition=\"1\"") && !text.contains("partition=\"1000\""), "{text}");
}
