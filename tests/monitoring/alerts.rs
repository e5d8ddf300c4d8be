//! Every alert says what it must, and is shown to fire and to stay quiet; Prometheus's tools take all of it.

use std::process::Command;

use serde::Deserialize;
use tickgate_stack::MonitoringTool;

use crate::rules::{alerts, yaml};
use crate::{checkout, files};

/// Runs a tool in the checkout's root; what it said, when it fails.
fn run(tool: MonitoringTool, arguments: &[&str], files: &[String]) -> Result<(), String> {
    let mut command: Command = tool.command().unwrap();
    let output = command.args(arguments).args(files).current_dir(checkout("")).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
}

#[test]
fn every_alert_says_what_it_must() {
    for (name, rule) in alerts() {
        assert!(name.starts_with("Tickgate"), "`{name}`");
        let severity = rule.labels.severity.unwrap_or_default();
        assert!(["warning", "critical"].contains(&severity.as_str()), "`{name}`: severity `{severity}`");
        let scope = rule.labels.scope.unwrap_or_default();
        let scopes = ["instance", "role", "feed", "symbol", "table", "loading"];
        assert!(scopes.contains(&scope.as_str()), "`{name}`: scope `{scope}`");
        let said = rule.annotations;
        let (summary, description) = (said.summary.unwrap_or_default(), said.description.unwrap_or_default());
        assert!(
            !summary.is_empty() && summary.len() < 120 && !summary.ends_with('.'),
            "`{name}`: `{summary}`"
        );
        assert!(description.ends_with('.'), "`{name}`: `{description}`");
        assert!(said.runbook_url.is_some(), "`{name}` has no runbook");
    }
}

#[test]
fn settings_and_rules_are_taken() {
    let rules = files("prometheus/rules", ".yml");
    run(MonitoringTool::Promtool, &["check", "rules", "--lint=all", "--lint-fatal"], &rules).unwrap();
    let one = |path: &str| vec![path.to_owned()];
    run(MonitoringTool::Promtool, &["check", "config"], &one("prometheus/prometheus.yml")).unwrap();
    run(MonitoringTool::Amtool, &["check-config"], &one("prometheus/alertmanager.yml")).unwrap();
    assert!(run(MonitoringTool::Amtool, &["check-config"], &one("prometheus/prometheus.yml")).is_err());
}

#[test]
fn alerts_do_what_their_tests_say() {
    run(MonitoringTool::Promtool, &["test", "rules"], &files("prometheus/tests", ".yml")).unwrap();
}

#[derive(Deserialize)]
struct Tests {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    promql_expr_test: Vec<ExprTest>,
}

#[derive(Deserialize)]
struct ExprTest {
    expr: String,
    #[serde(default)]
    exp_samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    labels: String,
}

/// Which file's tests show an alert firing; all of them are also shown quiet there.
#[test]
fn every_alert_is_tested_firing_and_quiet() {
    let tests: Vec<Tests> = files("prometheus/tests", ".yml").iter().map(|file| yaml(file)).collect();
    for (name, _) in alerts() {
        let label = format!("alertname=\"{name}\"");
        let fires = |test: &ExprTest| test.exp_samples.iter().any(|sample| sample.labels.contains(&label));
        // All alerts of the file are looked for, or all but some others, and none is there.
        let quiet = |test: &ExprTest| {
            test.expr.starts_with("ALERTS") && !test.expr.contains(&name) && test.exp_samples.is_empty()
        };
        let shown = tests.iter().any(|file| {
            let mut all = file.tests.iter().flat_map(|test| &test.promql_expr_test);
            all.clone().any(fires) && all.any(quiet)
        });
        assert!(shown, "no file of `prometheus/tests` shows `{name}` firing and quiet");
    }
}

#[derive(Deserialize)]
struct Alertmanager {
    inhibit_rules: Vec<Inhibition>,
}

#[derive(Deserialize)]
struct Inhibition {
    source_matchers: Vec<String>,
    target_matchers: Vec<String>,
}

/// An inhibition that names no alert inhibits nothing, and nobody would notice.
#[test]
fn every_inhibition_is_of_alerts_that_exist() {
    let settings: Alertmanager = yaml("prometheus/alertmanager.yml");
    assert!(!settings.inhibit_rules.is_empty());
    let alerts = alerts();
    for Inhibition { source_matchers, target_matchers } in settings.inhibit_rules {
        for matchers in [source_matchers, target_matchers] {
            for matcher in &matchers {
                let (label, values) = matcher.split_once('=').unwrap();
                for value in values.trim_matches(['~', '"']).split('|') {
                    let is_of = |(name, rule): &(String, crate::rules::Rule)| match label {
                        "alertname" => name == value,
                        "scope" => rule.labels.scope.as_deref() == Some(value),
                        "severity" => rule.labels.severity.as_deref() == Some(value),
                        _ => false,
                    };
                    assert!(alerts.iter().any(is_of), "no alert has {label}=\"{value}\"");
                }
            }
        }
    }
}
