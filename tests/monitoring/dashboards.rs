//! The dashboards in `grafana/dashboards`: made from their sources, of expressions that Prometheus takes and that
//! name what there is, with the alerts' thresholds, in a form that Grafana takes.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use serde_json::Value;
use tickgate_stack::MonitoringTool;

use crate::expressions::Known;
use crate::layout::{ABOVE_ZERO, Source};
use crate::rules::{self, thresholds, yaml};
use crate::{files, hold_generated, read};

fn dashboards() -> Vec<(String, Value)> {
    let read_one = |file: String| {
        let json = serde_json::from_str(&read(&file)).unwrap();
        (file, json)
    };
    files("grafana/dashboards", ".json").into_iter().map(read_one).collect()
}

fn list<'a>(value: &'a Value, what: &str) -> &'a Vec<Value> {
    value[what].as_array().unwrap_or_else(|| panic!("`{what}` is no list in {value}"))
}

fn text<'a>(value: &'a Value, what: &str) -> &'a str {
    value[what].as_str().unwrap_or_else(|| panic!("`{what}` is no text in {value}"))
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels").iter().filter(|panel| panel["type"] != "row")
}

/// An expression with Grafana's variables in it, as Prometheus gets it.
fn filled(expr: &str) -> String {
    expr.replace("$instance", ".+").replace("$__rate_interval", "1m")
}

fn expressions() -> Vec<(String, String)> {
    let of = |(file, dashboard): &(String, Value)| -> Vec<(String, String)> {
        let targets = |panel: &Value| list(panel, "targets").clone();
        let named = |target: Value| (file.clone(), filled(text(&target, "expr")));
        panels(dashboard).flat_map(targets).map(named).collect()
    };
    dashboards().iter().flat_map(of).collect()
}

#[test]
fn dashboards_are_made_from_their_sources() {
    let sources = files("grafana/source", ".toml");
    for path in &sources {
        let made = serde_json::to_string_pretty(&Source::of(path).dashboard()).unwrap() + "\n";
        let name = path.rsplit('/').next().unwrap().replace(".toml", ".json");
        hold_generated(&format!("grafana/dashboards/{name}"), &made);
    }
    assert_eq!(sources.len(), files("grafana/dashboards", ".json").len(), "a dashboard without a source");
}

/// Promtool takes expressions in rules only.
#[test]
fn every_expression_is_promql() {
    let check = |expressions: &[(String, String)]| {
        let mut rules = "groups:\n- name: dashboards\n  rules:\n".to_owned();
        for (at, (_, expr)) in expressions.iter().enumerate() {
            let expr = serde_json::to_string(expr).unwrap(); // JSON's strings are YAML's
            write!(rules, "  - record: dashboard:{at}\n    expr: {expr}\n").unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("rules.yml"), rules).unwrap();
        let mut promtool = MonitoringTool::Promtool.command().unwrap();
        let output =
            promtool.args(["check", "rules", "rules.yml"]).current_dir(folder.path()).output().unwrap();
        output.status.success().then_some(()).ok_or(String::from_utf8(output.stderr).unwrap())
    };
    let expressions = expressions();
    assert!(expressions.len() > 40, "only {} expressions were found", expressions.len());
    check(&expressions).unwrap();
    assert!(check(&[(String::new(), "sum(rate(up))".to_owned())]).is_err());
}

#[test]
fn every_expression_names_only_what_there_is() {
    let known = Known::new();
    for (file, expr) in expressions() {
        let faults = known.faults(&expr);
        assert!(faults.is_empty(), "`{file}`: `{expr}`: {faults:?}");
    }
}

/// A panel that leads to an alert's runbook turns red where the alert fires.
#[test]
#[allow(clippy::float_cmp)] // the same text was read twice
fn thresholds_are_the_alerts() {
    let (alerts, mut compared, mut with_alert) = (rules::alerts(), 0, BTreeSet::new());
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let [link] = list(panel, "links").as_slice() else { continue };
            let name = text(link, "title").strip_prefix("Runbook: ").unwrap();
            let (_, rule) = alerts.iter().find(|(found, _)| found == name).unwrap();
            let url = rule.annotations.runbook_url.as_ref().unwrap();
            assert_eq!(
                text(link, "url").replace("${runbooks}", ""),
                url.replace("{{ $externalLabels.runbooks }}", "")
            );
            let steps = list(&panel["fieldConfig"]["defaults"]["thresholds"], "steps");
            let bound = steps[1]["value"].as_f64().unwrap();
            let in_alert = thresholds(&rule.expr);
            let is_same = in_alert.iter().any(|(_, threshold)| threshold.max(ABOVE_ZERO) == bound)
                || in_alert.is_empty() && rule.expr.trim_end().ends_with("== 0");
            assert!(
                is_same,
                "`{file}`: `{}` turns at {bound}, `{name}` at {in_alert:?}",
                text(panel, "title")
            );
            compared += 1;
            with_alert.insert(name.to_owned());
        }
    }
    assert!(compared >= 20 && with_alert.len() >= 18, "{compared}, {with_alert:?}");
}

/// The fields that Grafana documents for a dashboard, as far as these use them; `grafana/validate` has Grafana's own
/// types read them.
#[test]
fn dashboards_have_the_form_that_grafana_documents() {
    let mut ids = BTreeSet::new();
    for (file, dashboard) in dashboards() {
        assert!(ids.insert(text(&dashboard, "uid").to_owned()), "`{file}`: its uid is another's");
        assert!(text(&dashboard, "uid").len() <= 40 && !text(&dashboard, "title").is_empty());
        assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 36));
        let variables: Vec<&str> =
            list(&dashboard["templating"], "list").iter().map(|found| text(found, "name")).collect();
        assert_eq!(variables, ["datasource", "instance", "runbooks", "page"]);
        let mut panel_ids = BTreeSet::new();
        let mut taken: Vec<[u64; 4]> = Vec::new();
        for panel in list(&dashboard, "panels") {
            assert!(panel_ids.insert(panel["id"].as_u64().unwrap()), "`{file}`: two panels have one id");
            let place = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
            let [x, y, w, h] = place;
            assert!(w > 0 && h > 0 && x + w <= 24, "`{file}`: {place:?}");
            let apart =
                |[ox, oy, ow, oh]: &[u64; 4]| x + w <= *ox || ox + ow <= x || y + h <= *oy || oy + oh <= y;
            assert!(taken.iter().all(apart), "`{file}`: `{}` covers another", text(panel, "title"));
            taken.push(place);
        }
        for panel in panels(&dashboard) {
            assert!(["stat", "table", "timeseries"].contains(&text(panel, "type")));
            assert!(text(panel, "description").ends_with('.'), "{panel}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}");
            let steps = list(&panel["fieldConfig"]["defaults"]["thresholds"], "steps");
            assert!(steps[0]["value"].is_null(), "the first step has no lower end");
            let references: BTreeSet<_> =
                list(panel, "targets").iter().map(|target| text(target, "refId")).collect();
            assert!(!references.is_empty() && references.len() == list(panel, "targets").len());
        }
    }
}

#[test]
fn what_is_provisioned_is_there() {
    let sources: Value = yaml("grafana/provisioning/datasources/tickgate.yml");
    assert_eq!(sources["datasources"][0]["type"], "prometheus");
    let providers: Value = yaml("grafana/provisioning/dashboards/tickgate.yml");
    assert_eq!(providers["providers"][0]["options"]["path"], "$TICKGATE_DASHBOARDS");
}
