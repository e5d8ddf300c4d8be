//! Dashboards as people write them, in `grafana/source`, and as Grafana reads them.
//!
//! A panel names the alert that its numbers belong to; its threshold and its link to the runbook are the alert's.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::read;
use crate::rules::{self, thresholds};

const ROW_HEIGHT: u32 = 8;
const GRID_WIDTH: u32 = 24;
/// Where what must not be at all turns red: Grafana's steps include their lower end.
pub const ABOVE_ZERO: f64 = 0.001;
const GREEN: &str = "green";
const RED: &str = "red";

/// A dashboard's source.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    title: String,
    pub uid: String,
    says: String,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    title: String,
    panels: Vec<Panel>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    title: String,
    says: String,
    kind: Kind,
    /// As Grafana calls it.
    #[serde(default = "plain")]
    unit: String,
    /// Of 24.
    width: u32,
    alert: Option<String>,
    queries: Vec<Query>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Stat,
    Table,
    Timeseries,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    expr: String,
    legend: String,
}

fn plain() -> String {
    "short".to_owned()
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

impl Source {
    /// Reads a source.
    pub fn of(path: &str) -> Self {
        toml::from_str(&read(path)).unwrap_or_else(|error| panic!("`{path}`: {error}"))
    }

    /// What Grafana reads.
    pub fn dashboard(&self) -> Value {
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.says,
            "tags": ["tickgate"],
            "schemaVersion": 39,
            "editable": false,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": { "from": "now-3h", "to": "now" },
            "timezone": "utc",
            "annotations": { "list": [] },
            "links": [others(), link("Runbooks", "${runbooks}/README.md"), link("Page", "${page}/")],
            "templating": { "list": variables() },
            "panels": self.panels(),
        })
    }

    fn panels(&self) -> Vec<Value> {
        let (mut panels, mut y) = (Vec::new(), 0);
        for row in &self.rows {
            let id = panels.len() + 1;
            let place = json!({ "h": 1, "w": GRID_WIDTH, "x": 0, "y": y });
            panels.push(json!({ "id": id, "type": "row", "title": row.title, "collapsed": false, "gridPos": place, "panels": [] }));
            y += 1;
            let mut x = 0;
            for panel in &row.panels {
                if x + panel.width > GRID_WIDTH {
                    (x, y) = (0, y + ROW_HEIGHT);
                }
                let place = json!({ "h": ROW_HEIGHT, "w": panel.width, "x": x, "y": y });
                panels.push(panel.json(panels.len() + 1, &place));
                x += panel.width;
            }
            y += ROW_HEIGHT;
        }
        panels
    }
}

fn variables() -> Value {
    json!([
        { "name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus" },
        {
            "name": "instance", "type": "query", "label": "Instance", "datasource": datasource(),
            "query": { "query": "label_values(up{job=~\"tickgate-.+\"}, instance)", "refId": "instance" },
            "multi": true, "includeAll": true, "allValue": ".+", "refresh": 2, "sort": 1,
            "current": { "text": "All", "value": "$__all" },
        },
        address("runbooks", "Runbooks", "https://tickgate.example/docs/runbooks"),
        address("page", "Page", "http://127.0.0.1:8080"),
    ])
}

/// Where links lead, for whoever looks to change.
fn address(name: &str, label: &str, url: &str) -> Value {
    json!({
        "name": name, "type": "textbox", "label": label, "hide": 0,
        "query": url, "current": { "text": url, "value": url },
    })
}

impl Panel {
    fn json(&self, id: usize, place: &Value) -> Value {
        let alert = self.alert.as_ref().map(|name| {
            let found = rules::alerts().into_iter().find(|(found, _)| found == name);
            found.unwrap_or_else(|| panic!("`{}`: there is no alert `{name}`", self.title))
        });
        let links: Vec<Value> = alert.iter().map(|(name, rule)| runbook(name, rule)).collect();
        let steps = alert.as_ref().map_or_else(|| vec![step(GREEN, None)], |(_, rule)| steps(&rule.expr));
        let mut defaults = json!({ "unit": self.unit, "thresholds": { "mode": "absolute", "steps": steps } });
        if self.kind == Kind::Timeseries {
            let style = if steps.len() > 1 { "line+area" } else { "off" };
            defaults["min"] = json!(0);
            defaults["custom"] = json!({ "fillOpacity": 5, "lineWidth": 1, "showPoints": "never", "thresholdsStyle": { "mode": style } });
        }
        json!({
            "id": id,
            "type": self.kind.name(),
            "title": self.title,
            "description": self.says,
            "gridPos": place,
            "datasource": datasource(),
            "targets": self.queries.iter().enumerate().map(|(at, query)| self.target(at, query)).collect::<Vec<_>>(),
            "fieldConfig": { "defaults": defaults, "overrides": [] },
            "options": self.kind.options(),
            "links": links,
        })
    }

    fn target(&self, at: usize, query: &Query) -> Value {
        let reference = char::from(b'A' + u8::try_from(at).unwrap()).to_string();
        let is_instant = self.kind == Kind::Table;
        let mut target = json!({
            "refId": reference, "datasource": datasource(), "expr": query.expr, "legendFormat": query.legend,
            "instant": is_instant, "range": !is_instant, "editorMode": "code",
        });
        if is_instant {
            target["format"] = json!("table");
        }
        target
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Table => "table",
            Self::Timeseries => "timeseries",
        }
    }

    fn options(self) -> Value {
        match self {
            Self::Stat => json!({
                "colorMode": "background", "graphMode": "area", "justifyMode": "auto", "orientation": "auto",
                "textMode": "auto", "wideLayout": true, "showPercentChange": false,
                "percentChangeColorMode": "standard",
                "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
            }),
            Self::Table => json!({ "showHeader": true, "frameIndex": 0 }),
            Self::Timeseries => json!({
                "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": [] },
                "tooltip": { "mode": "multi", "sort": "desc" },
            }),
        }
    }
}

/// The other dashboards.
fn others() -> Value {
    json!({
        "title": "tickgate", "type": "dashboards", "tags": ["tickgate"], "url": "", "icon": "", "tooltip": "",
        "asDropdown": true, "includeVars": true, "keepTime": true, "targetBlank": false,
    })
}

fn link(title: &str, url: &str) -> Value {
    json!({
        "title": title, "type": "link", "tags": [], "url": url, "icon": "doc", "tooltip": "",
        "asDropdown": false, "includeVars": false, "keepTime": false, "targetBlank": true,
    })
}

fn runbook(name: &str, rule: &rules::Rule) -> Value {
    let url = rule.annotations.runbook_url.as_deref().unwrap_or_default();
    link(&format!("Runbook: {name}"), &url.replace("{{ $externalLabels.runbooks }}", "${runbooks}"))
}

/// Green on the good side of what the alert compares with last, red on the other.
fn steps(expr: &str) -> Vec<Value> {
    match thresholds(expr).first() {
        Some(('<', bound)) => vec![step(RED, None), step(GREEN, Some(*bound))],
        Some((_, bound)) => vec![step(GREEN, None), step(RED, Some(bound.max(ABOVE_ZERO)))],
        // `== 0`: anything above is well.
        None => vec![step(RED, None), step(GREEN, Some(1.0))],
    }
}

fn step(color: &str, value: Option<f64>) -> Value {
    json!({ "color": color, "value": value })
}
