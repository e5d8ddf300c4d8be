//! `docs/metrics.md` is the table, and the table follows Prometheus's conventions.

use std::{fmt::Write as _, io::Write as _, process::Stdio};

use tickgate::telemetry::metrics::{Entry, Metrics};
use tickgate_stack::MonitoringTool;

use crate::hold_generated;

const HEAD: &str = "# Metrics

Made from the table in `src/telemetry/metrics.rs`; `REGENERATE=1 cargo test --release --test monitoring` makes it
anew. Every role with an `http` address shows its part at `/metrics`, and the `process_*` metrics of the system.
Counters are there from the start, with 0 for each value of a label. No label has more values than are listed here,
but `partition`, which ends at 255; there is none for symbols.
";

/// The parts, each with the roles that show it.
fn parts() -> Vec<(&'static str, Vec<Entry>)> {
    let part = |register: fn(&Metrics)| {
        let metrics = Metrics::new();
        let before = metrics.entries().len();
        register(&metrics);
        metrics.entries().split_off(before)
    };
    vec![
        ("Every role", Metrics::new().entries()),
        ("`tickgate process`", part(|metrics| drop(metrics.gate()))),
        ("`tickgate ingest`", part(|metrics| drop(metrics.ingest()))),
        ("`tickgate sink`", part(|metrics| drop(metrics.sink()))),
        ("`tickgate serve`", part(|metrics| drop(metrics.serve()))),
        ("`tickgate record`", part(|metrics| drop(metrics.record()))),
        ("`tickgate simulate`", part(|metrics| drop(metrics.simulate()))),
    ]
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for (role, entries) in parts() {
        write!(page, "\n## {role}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n").unwrap();
        for Entry { name, kind, help, labels, values } in entries {
            let labels = match (labels.as_slice(), values.as_slice()) {
                ([], _) => String::new(),
                (labels, []) => format!("`{}`", labels.join("`, `")),
                (labels, values) => format!("`{}`: {}", labels.join("`, `"), values.join(", ")),
            };
            writeln!(page, "| `{name}` | {} | {labels} | {help} |", kind.name()).unwrap();
        }
    }
    page
}

#[test]
fn the_page_is_made_from_the_table() {
    hold_generated("docs/metrics.md", &page());
}

/// What promtool finds wrong with a scrape.
fn complaints(text: &str) -> String {
    let mut promtool = MonitoringTool::Promtool.command().unwrap();
    let promtool = promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = promtool.stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    format!("{}{}", if output.status.success() { "" } else { "failed: " }, String::from_utf8_lossy(&said))
}

#[test]
fn names_and_units_follow_the_conventions() {
    let metrics = Metrics::new();
    let (gate, _ingest, _sink) = (metrics.gate(), metrics.ingest(), metrics.sink());
    let (_record, _simulate) = (metrics.record(), metrics.simulate());
    gate.stale_symbols.with_label_values(&["warn"]).set(1);
    gate.stale_symbols.with_label_values(&["error"]).set(1);
    assert_eq!(complaints(&metrics.render()), "");
    let bad = "# HELP tickgate_things Things.\n# TYPE tickgate_things counter\ntickgate_things 1\n";
    assert!(complaints(bad).contains("_total"), "{}", complaints(bad));
}

/// The metrics among the fields of a text's structs.
fn fields(text: &str) -> Vec<&str> {
    let is_metric = |kind: &str| ["Counter", "Gauge", "Histogram"].iter().any(|word| kind.contains(word));
    let public = text.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.strip_suffix(','));
    let named = public.filter_map(|line| line.split_once(": "));
    named.filter(|(_, kind)| is_metric(kind)).map(|(name, _)| name).collect()
}

/// All Rust files of a folder of the checkout, and of its folders.
fn sources(folder: &str) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(crate::checkout(folder)).unwrap() {
        let path = entry.unwrap().path();
        let inside = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            text += &sources(&inside);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            text += &crate::read(&inside);
        }
    }
    text
}

/// A metric that no role sets would be a false zero for ever.
#[test]
fn every_metric_is_fed_by_a_role() {
    // The page counts its own requests.
    let roles: String = (sources("src/roles") + &sources("src/web")).split_whitespace().collect();
    let table = crate::read("src/telemetry/metrics.rs") + &sources("src/telemetry/metrics");
    let fields = fields(&table);
    assert!(fields.len() >= 40, "only {} metrics were found", fields.len());
    let is_fed = |name: &&&str| {
        ["set", "inc", "with_label_values", "observe", "add", "start_timer"]
            .iter()
            .any(|how| roles.contains(&format!(".{name}.{how}")))
            // Of another name there: borrowed, or taken out of its struct.
            || roles.contains(&format!("metrics.{name},"))
            || roles.contains(&format!("metrics.{name};"))
            || roles.contains(&format!("metrics.{name})"))
            || roles.contains(&format!("metrics.{name}.clone()"))
    };
    let unfed: Vec<_> = fields.iter().filter(|name| !is_fed(name)).collect();
    assert!(unfed.is_empty(), "no role sets {unfed:?}");
    assert_eq!(self::fields("    pub a: IntGauge,\n    b: Gauge,\n    pub c: Lag,"), ["a"]);
}
