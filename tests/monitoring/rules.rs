//! The rules as Prometheus reads them.

use serde::Deserialize;

use crate::{files, read};

/// A rule: an alert or a recording.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub alert: Option<String>,
    pub record: Option<String>,
    pub expr: String,
    #[allow(dead_code)] // read, so that another field is an error
    #[serde(rename = "for")]
    pub holds_for: Option<String>,
    #[serde(default)]
    pub labels: Labels,
    #[serde(default)]
    pub annotations: Annotations,
}

/// What alerts are routed by.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    pub severity: Option<String>,
    pub scope: Option<String>,
}

/// What people are told.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Annotations {
    pub summary: Option<String>,
    pub description: Option<String>,
    pub runbook_url: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[allow(dead_code)] // read, so that another field is an error
    name: String,
    rules: Vec<Rule>,
}

/// All rules.
pub fn all() -> Vec<Rule> {
    let read_file = |path: &String| -> Vec<Rule> {
        let file: File = yaml(path);
        file.groups.into_iter().flat_map(|group| group.rules).collect()
    };
    files("prometheus/rules", ".yml").iter().flat_map(read_file).collect()
}

/// All alerts, by name.
pub fn alerts() -> Vec<(String, Rule)> {
    all().into_iter().filter_map(|rule| Some((rule.alert.clone()?, rule))).collect()
}

/// A YAML file of the checkout.
pub fn yaml<T: serde::de::DeserializeOwned>(path: &str) -> T {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("`{path}`: {error}"))
}

/// The numbers that an expression compares with, each with its comparison: `a > 3` gives `>` and 3.
pub fn thresholds(expr: &str) -> Vec<(char, f64)> {
    let mut found = Vec::new();
    for (at, sign) in expr.char_indices().filter(|(_, c)| *c == '<' || *c == '>') {
        let rest = expr[at + 1..].trim_start_matches('=').trim_start();
        let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let is_factor = rest[number.len()..].trim_start().starts_with('*');
        if let (Ok(number), false) = (number.parse(), is_factor) {
            found.push((sign, number));
        }
    }
    found
}

#[test]
#[allow(clippy::float_cmp)] // whole numbers and halves are exact
fn thresholds_are_read_from_expressions() {
    assert_eq!(thresholds("a > 0.5 and b <= 12 or c > 3 * d"), [('>', 0.5), ('<', 12.0)]);
    assert_eq!(thresholds("up == 0"), []);
}
