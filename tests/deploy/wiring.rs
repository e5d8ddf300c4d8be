//! Names, ports and paths lead somewhere, and settings are settings.

use std::{collections::BTreeMap, net::SocketAddr};

use tickgate::config::Config;

use crate::{
    checkout,
    compose::{Compose, Service},
};

/// The settings of a service, as the binary takes them. What secrets hold is read from a file of the test's own.
pub fn settings(service: &Service) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let given = service.environment.iter().map(|(name, value)| {
        let value = if value.starts_with("/run/secrets/") { secret.to_str().unwrap() } else { value };
        (name.clone(), value.to_owned())
    });
    let given: BTreeMap<String, String> = given.collect();
    for name in given.keys().filter(|name| name.starts_with("TICKGATE_")) {
        assert!(name.contains("__") || NOT_SETTINGS.contains(&name.as_str()), "`{name}` is no setting");
    }
    Config::load(None, given).unwrap_or_else(|error| panic!("{error}"))
}

/// Read by Grafana's provisioning and by the DAG.
const NOT_SETTINGS: [&str; 2] = ["TICKGATE_DASHBOARDS", "TICKGATE_ALERTMANAGER"];

#[test]
fn every_setting_of_ours_is_one_and_its_value_legal() {
    let compose = Compose::read();
    let with_settings = |(name, service): &(&String, &Service)| {
        name.as_str() == "airflow" || service.image.starts_with("tickgate:")
    };
    for (name, service) in compose.services.iter().filter(with_settings) {
        let ours = service.environment.keys().filter(|name| name.starts_with("TICKGATE_")).count();
        assert_eq!(
            ours,
            service.environment.keys().filter(|name| !name.starts_with("AIRFLOW_")).count(),
            "`{name}`"
        );
        assert!(ours > 0);
        settings(service);
    }
}

#[test]
fn brokers_are_found_where_they_listen() {
    let compose = Compose::read();
    let kafka: Vec<(&String, &Service)> =
        compose.services.iter().filter(|(_, service)| service.image.starts_with("apache/kafka:")).collect();
    assert_eq!(kafka.len(), 3);
    let listed = |at: fn(&str, &str) -> String| {
        let of = |(name, service): &(&String, &Service)| at(name, &service.environment["KAFKA_NODE_ID"]);
        kafka.iter().map(of).collect::<Vec<_>>().join(",")
    };
    let (brokers, voters) =
        (listed(|name, _| format!("{name}:9092")), listed(|name, id| format!("{id}@{name}:9093")));
    for (name, service) in &kafka {
        let of = |variable: &str| service.environment[variable].as_str();
        assert_eq!(of("KAFKA_LISTENERS"), "BROKER://:9092,CONTROLLER://:9093");
        assert_eq!(of("KAFKA_ADVERTISED_LISTENERS"), format!("BROKER://{name}:9092"));
        assert_eq!(of("KAFKA_CONTROLLER_QUORUM_VOTERS"), voters);
        assert_eq!(of("KAFKA_MIN_INSYNC_REPLICAS"), "2");
        // 16 bytes in base64url, without padding.
        assert_eq!(of("CLUSTER_ID").len(), 22);
        let (volume, place) = service.mounts().next().unwrap();
        assert_eq!((volume, place), (name.as_str(), of("KAFKA_LOG_DIRS")));
    }
    for (name, service) in compose.ours().filter(|(name, _)| *name != "simulate") {
        assert_eq!(service.environment["TICKGATE_KAFKA__BROKERS"], brokers, "`{name}`");
        assert_eq!(service.environment["TICKGATE_SINK__CONTACT_POINTS"], "cassandra:9042", "`{name}`");
    }
    let ui = &compose.service("kafka-ui").environment;
    assert_eq!(ui["KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS"], brokers);
}

#[test]
fn everything_that_is_named_is_there() {
    let compose = Compose::read();
    assert_eq!(compose.name, "tickgate");
    let mut used: Vec<&str> = Vec::new();
    for (name, service) in &compose.services {
        for (host, place) in service.mounts() {
            assert!(place.starts_with('/'), "`{name}`: `{place}`");
            if let Some(path) = host.strip_prefix("./") {
                assert!(checkout(path).exists(), "`{name}`: there is no `{path}`");
            } else {
                assert!(compose.volumes.contains_key(host), "`{name}`: there is no volume `{host}`");
                used.push(host);
            }
        }
        for (other, dependency) in &service.depends_on {
            let needed = compose.service(other);
            let ends = needed.restart != "unless-stopped";
            let condition = if ends { "service_completed_successfully" } else { "service_healthy" };
            assert_eq!(dependency.condition, condition, "`{name}` on `{other}`");
            // What is not started without its profile can't be required by what is.
            let is_optional = needed.profiles.iter().any(|profile| !service.profiles.contains(profile));
            assert_eq!(dependency.required, !is_optional, "`{name}` on `{other}`");
        }
    }
    assert!(compose.volumes.keys().all(|volume| used.contains(&volume.as_str())), "a volume that nobody has");
}

#[test]
fn what_is_scaled_keeps_its_state_apart() {
    let process = Compose::read();
    let process = process.service("process");
    let state_dir = settings(process).process.state_dir;
    let (_, place) = process.mounts().next().unwrap();
    assert!(state_dir.starts_with(place) && state_dir.ends_with("{slot}"), "{}", state_dir.display());
    assert!(process.ports.is_empty(), "two containers cannot have one port");
}

#[test]
fn roles_listen_where_others_reach_them_and_the_simulator_is_found() {
    let compose = Compose::read();
    let ingest = settings(compose.service("ingest"));
    let is_open = |address: SocketAddr| address.ip().is_unspecified() && address.port() != 0;
    assert!(is_open(ingest.ingest.http));
    assert!(is_open(settings(compose.service("process")).process.http));
    assert!(is_open(settings(compose.service("sink")).sink.http));
    let serve = settings(compose.service("serve")).serve;
    assert!(is_open(serve.http) && serve.access.is_asked, "who reaches the page is asked");
    let ports = [
        ("process", settings(compose.service("process")).process.http.port()),
        ("ingest", ingest.ingest.http.port()),
        ("sink", settings(compose.service("sink")).sink.http.port()),
    ];
    assert_eq!(serve.instances, ports.map(|(service, port)| format!("{service}:{port}")));
    let simulate = settings(compose.service("simulate")).simulate;
    assert!(is_open(simulate.listen) && is_open(simulate.http));
    let url = format!("TICKGATE_FINNHUB__URL=ws://simulate:{}", simulate.listen.port());
    let simulated = crate::read(".env.simulate");
    assert!(simulated.lines().any(|line| line == url), "`.env.simulate` has no `{url}`");
    assert!(simulated.lines().any(|line| line == "COMPOSE_PROFILES=simulate"));
    for source in compose.secrets.values() {
        let variable = format!("{}=", source.environment);
        let is_given = |line: &str| line.strip_prefix(&variable).is_some_and(|value| !value.is_empty());
        assert!(simulated.lines().any(is_given), "`.env.simulate` has no `{variable}…`");
    }
}
