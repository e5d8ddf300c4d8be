//! Expressions, as far as they name something: which metrics, with which labels. Whether they are any at all,
//! promtool says.

use std::collections::{BTreeMap, BTreeSet};

use tickgate::telemetry::metrics::{Kind, Metrics};

use crate::rules;

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Metrics, each with the labels that its braces name.
    pub metrics: Vec<(String, Vec<Matcher>)>,
    /// Labels of `by`, `on` and their like.
    pub groupings: BTreeSet<String>,
}

/// `label="value"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    pub label: String,
    pub operator: String,
    pub value: String,
}

const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const WORDS: [&str; 6] = ["and", "or", "unless", "bool", "offset", "inf"];
/// Labels that Prometheus gives to everything that it scrapes.
const SCRAPED: [&str; 2] = ["job", "instance"];

/// Reads an expression.
pub fn named(expr: &str) -> Named {
    let (mut found, mut rest) = (Named::default(), expr.trim_start());
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    while let Some(first) = rest.chars().next() {
        let word: &str = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
        rest = rest[word.len()..].trim_start();
        if word.is_empty() {
            // Of a range, a string or a sign, nothing is named; a label's value may hold anything.
            let end = match first {
                '[' => rest.find(']').map_or(rest.len(), |end| end + 1),
                '"' => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
                _ => first.len_utf8(),
            };
            rest = rest[end..].trim_start();
        } else if GROUPING.contains(&word) {
            if let Some((labels, behind)) = rest.strip_prefix('(').and_then(|list| list.split_once(')')) {
                let labels = labels.split(',').map(str::trim).filter(|label| !label.is_empty());
                found.groupings.extend(labels.map(str::to_owned));
                rest = behind.trim_start();
            }
        } else if word.starts_with(|c: char| c.is_ascii_digit())
            || WORDS.contains(&word)
            || rest.starts_with('(')
            || has_grouping(rest)
        {
            // A number, a word of the language, or a function.
        } else {
            let (matchers, behind) = braces(rest);
            found.metrics.push((word.to_owned(), matchers));
            rest = behind;
        }
    }
    found
}

/// Whether an aggregation's `by (…)` follows its name.
fn has_grouping(rest: &str) -> bool {
    ["by ", "by(", "without ", "without("].iter().any(|word| rest.starts_with(word))
}

fn braces(rest: &str) -> (Vec<Matcher>, &str) {
    let Some(mut rest) = rest.strip_prefix('{') else { return (Vec::new(), rest) };
    let mut matchers = Vec::new();
    loop {
        rest = rest.trim_start().trim_start_matches(',').trim_start();
        if let Some(behind) = rest.strip_prefix('}') {
            return (matchers, behind.trim_start());
        }
        let (label, behind) = rest.split_at(rest.find(['=', '!']).expect("a matcher has an operator"));
        let (operator, behind) = behind.split_at(behind.find('"').expect("a value is quoted"));
        let (value, behind) = behind[1..].split_once('"').expect("a value's quotes are closed");
        let owned = |text: &str| text.trim().to_owned();
        matchers.push(Matcher { label: owned(label), operator: owned(operator), value: value.to_owned() });
        rest = behind;
    }
}

/// What there is to be named: all that the roles export, and what the rules record.
pub struct Known {
    /// Labels by metric; each with its values, where they are known.
    metrics: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Known {
    /// Of the registries that the binary fills, as they are, and the rules.
    pub fn new() -> Self {
        let metrics = Metrics::new();
        let (_gate, _ingest, _sink) = (metrics.gate(), metrics.ingest(), metrics.sink());
        let (_record, _simulate) = (metrics.record(), metrics.simulate());
        let mut known = Self { metrics: BTreeMap::new() };
        let plain = || SCRAPED.map(|label| (label.to_owned(), Vec::new()));
        for entry in metrics.entries() {
            let mut labels: BTreeMap<String, Vec<String>> = plain().into();
            labels.extend(entry.labels.iter().map(|label| (label.clone(), entry.values.clone())));
            if entry.kind == Kind::Histogram {
                known.metrics.insert(format!("{}_sum", entry.name), labels.clone());
                known.metrics.insert(format!("{}_count", entry.name), labels.clone());
                labels.insert("le".to_owned(), Vec::new());
                known.metrics.insert(format!("{}_bucket", entry.name), labels);
            } else {
                known.metrics.insert(entry.name, labels);
            }
        }
        // What the process collector adds, and Prometheus itself.
        let text = metrics.render();
        let samples = text.lines().filter(|line| line.starts_with("process_"));
        let names = samples.filter_map(|line| line.split(' ').next()).chain(["up"]);
        known.metrics.extend(names.map(|name| (name.to_owned(), plain().into())));
        let alert = ["alertname", "alertstate", "severity", "scope", "job", "instance"];
        let alert = alert.map(|label| (label.to_owned(), Vec::new()));
        known.metrics.insert("ALERTS".to_owned(), alert.into());
        known.add_records();
        known
    }

    /// A recording has the labels that it is grouped by, or those of the only metric that it is of.
    fn add_records(&mut self) {
        let records: Vec<_> =
            rules::all().into_iter().filter_map(|rule| Some((rule.record?, rule.expr))).collect();
        for (record, expr) in records {
            let named = named(&expr);
            let mut labels = BTreeMap::new();
            for (metric, _) in &named.metrics {
                let of_metric =
                    self.metrics.get(metric).unwrap_or_else(|| panic!("`{record}` is of `{metric}`"));
                let kept = of_metric.iter().filter(|(label, _)| {
                    named.groupings.is_empty() || named.groupings.contains(label.as_str())
                });
                labels.extend(kept.map(|(label, values)| (label.clone(), values.clone())));
            }
            labels.remove("le");
            self.metrics.insert(record, labels);
        }
    }

    /// What an expression names and nothing has.
    pub fn faults(&self, expr: &str) -> Vec<String> {
        let named = named(expr);
        let mut faults = Vec::new();
        let mut grouped_by: BTreeSet<&str> = BTreeSet::new();
        for (metric, matchers) in &named.metrics {
            let Some(labels) = self.metrics.get(metric) else {
                faults.push(format!("nothing exports `{metric}`"));
                continue;
            };
            grouped_by.extend(labels.keys().map(String::as_str));
            for Matcher { label, operator, value } in matchers {
                match labels.get(label) {
                    None => faults.push(format!("`{metric}` has no label `{label}`")),
                    Some(values) if matches!(operator.as_str(), "=" | "!=") && !values.is_empty() => {
                        if !values.contains(value) {
                            faults.push(format!("`{label}` of `{metric}` is never `{value}`"));
                        }
                    }
                    Some(_) => {}
                }
            }
        }
        let others = named.groupings.iter().filter(|label| !grouped_by.contains(label.as_str()));
        faults.extend(others.map(|label| format!("no metric here has the label `{label}`")));
        if named.metrics.is_empty() {
            faults.push("no metric is named".to_owned());
        }
        faults
    }
}

#[test]
fn every_rule_names_only_what_there_is() {
    let known = Known::new();
    for rule in rules::all() {
        let faults = known.faults(&rule.expr);
        assert!(faults.is_empty(), "{:?}{:?}: {faults:?}", rule.alert, rule.record);
    }
}

#[test]
fn what_an_expression_names_is_found() {
    let expr = r#"histogram_quantile(0.9, sum by (job, le) (rate(a_bucket{x="1,}",y!~"b"}[5m] offset 1h))) > 2e3
        and on (job) time() - max without (z) (c:d) > bool 1"#;
    let named = named(expr);
    let metrics: Vec<&str> = named.metrics.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(metrics, ["a_bucket", "c:d"]);
    let matchers = &named.metrics[0].1;
    assert_eq!((matchers[0].value.as_str(), matchers[1].operator.as_str()), ("1,}", "!~"));
    assert_eq!(named.groupings.iter().map(String::as_str).collect::<Vec<_>>(), ["job", "le", "z"]);
}

#[test]
fn what_does_not_exist_is_found() {
    let known = Known::new();
    for (expr, fault) in [
        ("rate(tickgate_recrods_total[5m])", "nothing exports"),
        ("tickgate_records_total{reslut=\"rejected\"}", "no label"),
        ("tickgate_records_total{result=\"refused\"}", "never"),
        ("sum by (rule) (tickgate_records_total)", "no metric here"),
        ("tickgate:bad_records:ratio_rate5m{result=\"rejected\"}", "no label"),
        ("vector(1)", "no metric is named"),
    ] {
        let faults = known.faults(expr);
        assert!(faults.iter().any(|found| found.contains(fault)), "{expr}: {faults:?}");
    }
    assert_eq!(known.faults("sum by (job) (rate(tickgate_records_total{result=\"rejected\"}[5m]))"), [""; 0]);
}
