//! `docker-compose.yml`, carried out without containers: each of our services with its very command and settings, in the
//! order that it asks for, on real brokers and a real Cassandra. Only addresses are others.

use std::{collections::BTreeMap, fs, path::PathBuf};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    cluster::Settings,
    gate::{PATIENCE, wait_for},
    proof::Proof,
    role::Role,
    sink::tables,
};

/// The file's services, with variables at their defaults but for the feed's address.
fn services() -> BTreeMap<String, Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docker-compose.yml");
    let text =
        fs::read_to_string(path).unwrap().replace("${TICKGATE_FINNHUB__URL:-wss://ws.finnhub.io}", "$FEED");
    let compose: BTreeMap<String, Value> = serde_saphyr::from_str(&text).unwrap();
    serde_json::from_value(compose["services"].clone()).unwrap()
}

/// What stands in for the containers' network, files and volumes.
struct Host {
    services: BTreeMap<String, Value>,
    test: Settings,
    folder: TempDir,
    feed: Option<String>,
    /// Where the services that were started answer.
    http: BTreeMap<String, String>,
}

impl Host {
    fn of(test: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("tickgate-composed.").tempdir().unwrap();
        for secret in ["finnhub_token", "page_password"] {
            fs::write(folder.path().join(secret), "secret").unwrap();
        }
        // The test's own names of topics, groups and keyspace.
        Self { services: services(), test: tables::settings(test), folder, feed: None, http: BTreeMap::new() }
    }

    fn settings(&self, service: &str) -> Settings {
        let environment = self.services[service]["environment"].as_object().unwrap();
        let mut settings = self.test.clone();
        let path = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        for (variable, value) in environment {
            let value = value.as_str().unwrap();
            let name = variable.strip_prefix("TICKGATE_").unwrap();
            let value = match value {
                "kafka-1:9092,kafka-2:9092,kafka-3:9092" | "cassandra:9042" => continue,
                "$FEED" => self.feed.clone().unwrap(),
                _ if value.starts_with("/run/secrets/") => path(value.rsplit('/').next().unwrap()),
                _ if value.starts_with("${TICKGATE_SERVE__INSTANCES") => self.instances(value),
                "/var/lib/tickgate/{slot}" => path("{slot}"),
                _ if value.starts_with("0.0.0.0:") => "127.0.0.1:0".to_owned(),
                _ => value.split(":-").last().unwrap().trim_end_matches('}').to_owned(),
            };
            settings = settings.with(name, &value);
        }
        settings
    }

    /// Each of `${…:-process:9464,ingest:9465}` where it answers here.
    fn instances(&self, value: &str) -> String {
        let listed = value.split_once(":-").unwrap().1.trim_end_matches('}').split(',');
        let names = listed.map(|address| address.split_once(':').unwrap().0);
        names.map(|name| self.http[name].as_str()).collect::<Vec<_>>().join(",")
    }

    fn command(&self, service: &str) -> Vec<String> {
        serde_json::from_value(self.services[service]["command"].clone()).unwrap()
    }

    /// A service that ends.
    fn job(&self, service: &str) {
        let command = self.command(service);
        self.settings(service).run(&command.iter().map(String::as_str).collect::<Vec<_>>()).ended(0);
    }

    /// A service that stays, healthy.
    fn start(&mut self, service: &str) -> Role {
        let (command, settings) = (self.command(service), self.settings(service));
        let role = Role::start(&settings, &command.iter().map(String::as_str).collect::<Vec<_>>());
        let http = role.wait_logged("answers on http")["http"].as_str().unwrap().to_owned();
        let url = format!("http://{http}/readyz");
        self.http.insert(service.to_owned(), http);
        let health: Vec<String> =
            serde_json::from_value(self.services[service]["healthcheck"]["test"].clone()).unwrap();
        assert_eq!(health, ["CMD", "tickgate", "health"]);
        // Ports are free ones here, so it is told which.
        wait_for("healthy service", PATIENCE, || {
            (settings.run(&["health", &url]).code == Some(0)).then_some(())
        });
        role
    }
}

/// What `apache/kafka` takes from its environment beside the broker's settings.
const NO_SETTINGS_OF_BROKERS: [&str; 2] = ["CLUSTER_ID", "KAFKA_HEAP_OPTS"];

#[test]
fn what_the_brokers_are_told_are_settings_that_brokers_have() {
    let settings = Settings::of("composed-brokers");
    let admin: AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", settings.direct()).create().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let asked = admin.describe_configs([&ResourceSpecifier::Broker(1)], &AdminOptions::new());
    let described = runtime.block_on(asked).unwrap().remove(0).unwrap();
    let known = described.entry_map();
    let mut count = 0;
    for (name, service) in
        services().iter().filter(|(name, _)| name.starts_with("kafka-") && *name != "kafka-ui")
    {
        let environment = service["environment"].as_object().unwrap();
        for variable in environment.keys().filter(|name| !NO_SETTINGS_OF_BROKERS.contains(&name.as_str())) {
            let setting = variable.strip_prefix("KAFKA_").unwrap().to_lowercase().replace('_', ".");
            assert!(known.contains_key(setting.as_str()), "`{name}`: `{variable}` is no setting of a broker");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn the_composed_roles_bring_the_feed_to_its_rows() {
    let mut host = Host::of("composed");
    let simulate = host.start("simulate");
    let feed = simulate.wait_logged("ws://");
    let words = feed["message"].as_str().unwrap();
    let address = words.split("ws://").nth(1).unwrap().split([' ', ',', ';']).next().unwrap();
    host.feed = Some(format!("ws://{address}"));
    host.job("topics");
    host.job("schema");
    // Repeated, as at the next start.
    host.job("topics");
    host.job("schema");
    // Scaled: instances that are started alike.
    let mut processes: Vec<Role> = (0..3).map(|_| host.start("process")).collect();
    let mut others = [host.start("sink"), host.start("ingest")];
    wait_for("rows", PATIENCE, || (others[0].counter("tickgate_sink_rows_total") > 500).then_some(()));
    let mut page = host.start("serve");
    assert_eq!(page.ask("/v1/status").unwrap().0, 401, "who is there is asked");
    let login = "Basic dGlja2dhdGU6c2VjcmV0"; // tickgate:secret
    wait_for("symbols on the page", PATIENCE, || {
        let (status, body) = page.ask_as("/v1/status", login)?;
        let told: Value = serde_json::from_str(&body).unwrap();
        let is_whole = told["symbols"].as_u64()? > 0 && told["instances"] == 3 && told["is_ready"] == true;
        (status == 200 && is_whole && told["instances_down"] == serde_json::json!([])).then_some(())
    });
    for slot in ["0", "1", "2"] {
        assert!(host.folder.path().join(slot).join("db").exists(), "no store in `{slot}`");
    }
    // As `docker compose stop` does; what is under way is done by the next start.
    assert_eq!(others[1].terminate().0, Some(0));
    let run = host.settings("process").with("PROCESS__HTTP", "127.0.0.1:0");
    run.run(&["process", "--until-caught-up"]).ended(0);
    run.run(&["sink", "--until-caught-up"]).ended(0);
    let proof = Proof::of_rows(&host.test);
    assert!(proof.count("rows") > 500 && proof.count("rejected") > 0, "{proof:?}");
    for role in processes.iter_mut().chain(&mut others[..1]).chain([&mut page]) {
        assert_eq!(role.terminate().0, Some(0));
    }
}
