//! Prometheus and Alertmanager with what is in `prometheus/`, every duration shortened alike and nothing else
//! changed but addresses.

use std::{
    fmt::Write,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;
use tickgate_stack::MonitoringServer;

use super::webhook::Webhook;
use crate::gate::{PATIENCE, wait_for};

/// What took a minute takes two seconds.
const FASTER: u64 = 30;
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Both servers and the webhook that they tell; they end with this value.
pub struct Monitoring {
    /// Before its folder.
    prometheus: MonitoringServer,
    alertmanager: MonitoringServer,
    pub webhook: Webhook,
    folder: TempDir,
}

impl Monitoring {
    /// Starts both, with nothing to scrape yet.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("tickgate-monitoring.").tempdir().unwrap();
        let settings = folder.path().join("settings");
        copy_faster(&source(), &settings);
        for role in ["process", "ingest", "sink", "serve"] {
            fs::write(settings.join(format!("targets/{role}.yml")), "[]").unwrap();
        }
        let webhook = Webhook::start();
        let place = |file: &str, from: &str, to: &str| {
            let (path, text) = (settings.join(file), fs::read_to_string(settings.join(file)).unwrap());
            assert!(text.contains(from), "`{file}` names no `{from}`");
            fs::write(path, text.replace(from, to)).unwrap();
        };
        place("alertmanager.yml", "127.0.0.1:9099", &webhook.address().to_string());
        let alertmanager =
            MonitoringServer::alertmanager(folder.path(), &settings.join("alertmanager.yml")).unwrap();
        place("prometheus.yml", "127.0.0.1:9093", &alertmanager.address().to_string());
        let prometheus =
            MonitoringServer::prometheus(folder.path(), &settings.join("prometheus.yml")).unwrap();
        Self { prometheus, alertmanager, webhook, folder }
    }

    /// Where Alertmanager answers.
    pub fn alertmanager(&self) -> SocketAddr {
        self.alertmanager.address()
    }

    /// Has a role scraped where it answers; Prometheus sees the file change.
    pub fn scrape(&self, role: &str, addresses: &[String]) {
        let targets = serde_json::json!([{ "targets": addresses }]).to_string(); // JSON is YAML
        let file = self.folder.path().join(format!("settings/targets/{role}.yml"));
        let aside = file.with_extension("aside");
        fs::write(&aside, targets).unwrap();
        fs::rename(aside, file).unwrap();
    }

    /// Waits until an expression has a value.
    pub fn wait_value(&self, expr: &str, value: f64) {
        let encode = |mut query: String, byte: u8| {
            write!(query, "%{byte:02X}").unwrap();
            query
        };
        let query = expr.bytes().fold(String::new(), encode);
        wait_for(&format!("`{expr}` of {value}"), PATIENCE, || {
            let answer: Value =
                serde_json::from_str(&self.prometheus.ask(&format!("/api/v1/query?query={query}"))?).ok()?;
            let found: f64 = answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()?;
            ((found - value).abs() < 1e-9).then_some(())
        });
    }
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("prometheus")
}

fn copy_faster(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_faster(&path, &copy);
        } else {
            fs::write(copy, faster(&fs::read_to_string(path).unwrap())).unwrap();
        }
    }
}

/// The text with every duration shortened: a number and its unit that are no part of a name.
fn faster(text: &str) -> String {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | ':'));
    let (mut made, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        made.push_str(before);
        let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        let (digits, behind) = number.split_at(digits);
        let unit = UNITS.iter().find_map(|(unit, ms)| {
            let behind = behind.strip_prefix(unit)?;
            (!is_part(behind.chars().next())).then_some((behind, *ms))
        });
        match (unit, digits.parse::<u64>()) {
            (Some((behind, ms)), Ok(count)) if !is_part(made.chars().next_back()) => {
                write!(made, "{}ms", count * ms / FASTER).unwrap();
                rest = behind;
            }
            _ => {
                made.push_str(digits);
                rest = behind;
            }
        }
    }
    made + rest
}

#[test]
fn only_durations_are_shortened() {
    let rule = "expr: a:rate5m > 3 * rate(b_p99_5m{le=\"2.5\"}[1h] offset 15m)\nfor: 30s # in 5 minutes, 127.0.0.1:9093";
    let shortened = "expr: a:rate5m > 3 * rate(b_p99_5m{le=\"2.5\"}[120000ms] offset 30000ms)\nfor: 1000ms # in 5 minutes, 127.0.0.1:9093";
    assert_eq!(faster(rule), shortened);
}
