use std::collections::BTreeSet;

use super::*;

const FILES: [&str; 6] = [
    include_str!("../metrics.rs"),
    include_str!("feed.rs"),
    include_str!("ingest.rs"),
    include_str!("lag.rs"),
    include_str!("serve.rs"),
    include_str!("sink.rs"),
];

fn all_roles() -> Metrics {
    let metrics = Metrics::new();
    let (_gate, _ingest) = (metrics.gate(), metrics.ingest());
    let (_record, _simulate, _sink) = (metrics.record(), metrics.simulate(), metrics.sink());
    let _serve = metrics.serve();
    metrics
}

#[test]
fn help_texts_are_the_fields_doc_comments() {
    let lines = FILES.iter().flat_map(|file| file.lines());
    let docs = lines.filter_map(|line| line.strip_prefix("    /// ")).collect::<BTreeSet<_>>();
    let entries = all_roles().entries();
    for entry in entries.iter().filter(|entry| entry.name != "tickgate_build_info") {
        let (name, help) = (&entry.name, &entry.help);
        assert!(docs.contains(help.as_str()), "`{name}`: no field says `{help}`");
    }
    assert_eq!(entries.len(), 69);
}

#[test]
fn labels_have_the_values_that_are_written() {
    use crate::finnhub::poll::Refusal;
    let entries = all_roles().entries();
    let values = |name: &str| &entries.iter().find(|entry| entry.name == name).unwrap().values;
    let refusals = [
        Refusal::Limited { retry_after: None },
        Refusal::Unauthorized,
        Refusal::Denied,
        Refusal::Status(500),
        Refusal::NoAnswer(std::time::Duration::ZERO),
        Refusal::TooLarge,
        Refusal::Broken(String::new()),
    ];
    for refusal in &refusals {
        assert!(values("tickgate_ingest_calls_total").iter().any(|value| value == refusal.as_str()));
    }
    // One is in both: what it does is a setting.
    assert_eq!(values("tickgate_rejections_total").len() + values("tickgate_suspects_total").len(), 21);
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
        "tickgate_build_info{for_tests=",
        concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("tickgate_ingest"), "{text}");
}

#[test]
fn what_has_not_happened_is_zero_and_not_absent() {
    let text = all_roles().render();
    for expected in [
        "tickgate_rounds_total{outcome=\"fenced\"} 0",
        "tickgate_rejections_total{rule=\"not_json\"} 0",
        "tickgate_sink_retries_total{reason=\"timeout\"} 0",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn lag_is_the_sum_of_what_is_owned() {
    let metrics = Metrics::new();
    let lag = metrics.gate().lag;
    let standing = |records| Standing { records, asked_ms: 10_000, ..Standing::default() };
    for (partition, records) in [(0, 5), (1, 7), (1000, 100), (0, 6)] {
        lag.set(partition, standing(records));
    }
    lag.forget(1, 10_000);
    lag.forget(2, 10_000);
    let text = metrics.render();
    assert!(text.contains("tickgate_lag_records 106"), "{text}");
    assert!(text.contains("tickgate_partition_lag_records{partition=\"0\"} 6"), "{text}");
    assert!(!text.contains("partition=\"1\"") && !text.contains("partition=\"1000\""), "{text}");
}

#[test]
fn what_waits_grows_older_while_nobody_looks() {
    let metrics = Metrics::new();
    let lag = metrics.gate().lag;
    let waits = |since| Standing {
        waits_since_ms: since,
        stuck_since_ms: since,
        asked_ms: 10_000,
        ..Standing::default()
    };
    lag.set(0, waits(Some(9_000)));
    lag.set(1, waits(Some(4_000)));
    lag.set(2, waits(None));
    lag.pass_time(20_000);
    let text = metrics.render();
    for expected in
        ["tickgate_lag_seconds 16", "tickgate_stable_gap_seconds 16", "lag_known_timestamp_seconds 10"]
    {
        assert!(text.contains(&format!("{expected}\n")), "{expected}: {text}");
    }
    (0..3).for_each(|partition| lag.forget(partition, 21_000));
    assert!(metrics.render().contains("tickgate_lag_known_timestamp_seconds 21\n"));
}
