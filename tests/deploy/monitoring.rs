//! Prometheus, Alertmanager and Grafana in containers: the same files as outside, other addresses.

use std::{fs, path::Path};

use serde_json::Value;
use tickgate_stack::MonitoringTool;

use crate::{checkout, compose::Compose, read, wiring::settings};

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("`{path}`: {error}"))
}

#[test]
fn every_role_is_scraped_where_it_listens() {
    let compose = Compose::read();
    let prometheus = yaml("deploy/prometheus.yml");
    let ports = [
        ("process", settings(compose.service("process")).process.http.port()),
        ("ingest", settings(compose.service("ingest")).ingest.http.port()),
        ("sink", settings(compose.service("sink")).sink.http.port()),
        ("serve", settings(compose.service("serve")).serve.http.port()),
    ];
    let jobs = prometheus["scrape_configs"].as_array().unwrap();
    assert_eq!(jobs.len(), ports.len());
    for (job, (service, port)) in jobs.iter().zip(ports) {
        assert_eq!(job["job_name"], format!("tickgate-{service}"));
        let found = &job["dns_sd_configs"][0];
        assert_eq!((&found["names"][0], &found["port"]), (&service.into(), &port.into()));
    }
    // Who looks at the page says who it is, and so does Prometheus.
    let (page, asker) = (compose.service("serve"), &jobs[3]["basic_auth"]);
    assert_eq!(asker["username"].as_str(), page.environment.get("TICKGATE_SERVE__USER").map(String::as_str));
    let password = page.environment.get("TICKGATE_SERVE__PASSWORD_FILE").map(String::as_str);
    assert_eq!(asker["password_file"].as_str(), password);
    let name = password.and_then(|path| path.strip_prefix("/run/secrets/")).unwrap();
    assert!(compose.service("prometheus").secrets.iter().any(|secret| secret == name));
    // All but addresses is as outside.
    let outside = yaml("prometheus/prometheus.yml");
    for part in ["global", "rule_files"] {
        assert_eq!(prometheus[part], outside[part], "`{part}`");
    }
    let names = |settings: &Value| -> Vec<Value> {
        settings["scrape_configs"].as_array().unwrap().iter().map(|job| job["job_name"].clone()).collect()
    };
    assert_eq!(names(&prometheus), names(&outside));
    let targets = &prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"];
    assert_eq!(targets[0], "alertmanager:9093");
    compose.service("alertmanager");
}

/// Lays the files of a service's mounts where the container has them, below `root`.
fn lay_out(service: &crate::compose::Service, root: &Path) {
    for (host, place) in service.mounts().filter(|(host, _)| host.starts_with("./")) {
        let (from, to) = (checkout(host.trim_start_matches("./")), root.join(place.trim_start_matches('/')));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        if from.is_dir() {
            fs::create_dir_all(&to).unwrap();
            for entry in fs::read_dir(from).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
            }
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

#[test]
fn prometheus_takes_its_settings_and_rules_as_they_lie_in_the_container() {
    let (compose, root) = (Compose::read(), tempfile::tempdir().unwrap());
    let service = compose.service("prometheus");
    lay_out(service, root.path());
    let file = service.command.iter().find_map(|word| word.strip_prefix("--config.file=")).unwrap();
    let file = root.path().join(file.trim_start_matches('/'));
    let mut tool = MonitoringTool::Promtool.command().unwrap();
    let output = tool.args(["check", "config"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let rules = fs::read_dir(checkout("prometheus/rules")).unwrap().count();
    assert!(said.contains(&format!("{rules} rule files found")), "{said}");
}

#[test]
fn grafana_finds_its_dashboards_and_prometheus() {
    let compose = Compose::read();
    let grafana = compose.service("grafana");
    assert_eq!(grafana.environment["TICKGATE_DASHBOARDS"], grafana.place_of("grafana/dashboards"));
    let provisioning = "/etc/grafana/provisioning/";
    assert_eq!(grafana.place_of("grafana/provisioning/dashboards"), format!("{provisioning}dashboards"));
    assert!(grafana.place_of("deploy/datasources.yml").starts_with(&format!("{provisioning}datasources/")));
    let (mut inside, outside) =
        (yaml("deploy/datasources.yml"), yaml("grafana/provisioning/datasources/tickgate.yml"));
    assert_eq!(inside["datasources"][0]["url"], "http://prometheus:9090");
    inside["datasources"][0]["url"] = outside["datasources"][0]["url"].clone();
    assert_eq!(inside, outside, "all but the address is as outside");
    let alertmanager = compose.service("alertmanager");
    let file = alertmanager.place_of("prometheus/alertmanager.yml");
    assert!(alertmanager.command.contains(&format!("--config.file={file}")));
}

/// The versions that the rules are tested with are those that they run with.
#[test]
fn monitoring_is_of_the_versions_that_are_tested() {
    let compose = Compose::read();
    for (tool, service) in
        [(MonitoringTool::Promtool, "prometheus"), (MonitoringTool::Amtool, "alertmanager")]
    {
        let output = tool.command().unwrap().arg("--version").output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        // As in `promtool, version 2.42.0+ds (branch: …`.
        let version = said.split("version ").nth(1).unwrap().split(['+', ' ']).next().unwrap();
        let image = &compose.service(service).image;
        assert_eq!(image, &format!("prom/{service}:v{version}"));
    }
}
