//! Who is told, and what is not told as it follows from something else: asked of Alertmanager itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tickgate_stack::{MonitoringServer, MonitoringTool};

use crate::{checkout, rules};

const PATIENCE: Duration = Duration::from_secs(30);

/// What amtool says to these arguments.
fn amtool(arguments: &[String]) -> String {
    let output = MonitoringTool::Amtool.command().unwrap().args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The labels of an alert of the rules, for a job.
fn labels(name: &str, job: &str) -> Vec<String> {
    let alerts = rules::alerts();
    let (_, rule) = alerts.iter().find(|(found, _)| found == name).unwrap();
    let label = |name: &str, value: &Option<String>| format!("{name}={}", value.as_deref().unwrap());
    vec![
        format!("alertname={name}"),
        format!("job={job}"),
        label("severity", &rule.labels.severity),
        label("scope", &rule.labels.scope),
    ]
}

#[test]
fn what_is_critical_pages_people() {
    let settings = format!("--config.file={}", checkout("prometheus/alertmanager.yml").display());
    for (name, receiver) in [("TickgateNoCommits", "pager"), ("TickgateSymbolStale", "tickets")] {
        let mut arguments = ["config", "routes", "test"].map(str::to_owned).to_vec();
        arguments.push(settings.clone());
        arguments.extend(labels(name, "tickgate-process"));
        assert_eq!(amtool(&arguments).trim(), receiver, "{name}");
    }
}

#[test]
fn what_follows_from_something_else_is_muted() {
    const FIRING: [(&str, &str, bool); 13] = [
        ("TickgateManySymbolsStale", "tickgate-process", true),
        ("TickgateSymbolStale", "tickgate-process", true),
        ("TickgateSymbolWarn", "tickgate-process", true),
        ("TickgateFeedSilent", "tickgate-process", true),
        ("TickgateIngestDisconnected", "tickgate-ingest", false),
        ("TickgateNoCommits", "tickgate-process", false),
        ("TickgateLagSeconds", "tickgate-process", true),
        ("TickgateRoleDown", "tickgate-sink", false),
        ("TickgateInstanceDown", "tickgate-sink", true),
        ("TickgateInstanceDown", "tickgate-process", false),
        ("TickgateSinkFailing", "tickgate-sink", false),
        ("TickgateSinkLag", "tickgate-sink", true),
        ("TickgateSinkLag", "another-sink", false),
    ];
    let folder = tempfile::tempdir().unwrap();
    let alertmanager =
        MonitoringServer::alertmanager(folder.path(), &checkout("prometheus/alertmanager.yml")).unwrap();
    let url = format!("--alertmanager.url=http://{}", alertmanager.address());
    for (name, job, _) in FIRING {
        let mut arguments = ["alert", "add"].map(str::to_owned).to_vec();
        arguments.push(url.clone());
        arguments.extend(labels(name, job));
        amtool(&arguments);
    }
    let expected: BTreeMap<_, _> = FIRING
        .iter()
        .map(|(name, job, is_muted)| (((*name).to_owned(), (*job).to_owned()), *is_muted))
        .collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let alerts: Vec<Value> = serde_json::from_str(&alertmanager.ask("/api/v2/alerts").unwrap()).unwrap();
        let label = |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap().to_owned();
        let is_muted = |alert: &Value| !alert["status"]["inhibitedBy"].as_array().unwrap().is_empty();
        let found: BTreeMap<_, _> = alerts
            .iter()
            .map(|alert| ((label(alert, "alertname"), label(alert, "job")), is_muted(alert)))
            .collect();
        if found == expected {
            return;
        }
        assert!(Instant::now() < deadline, "expected {expected:#?}, found {found:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
