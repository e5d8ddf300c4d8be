//! `docker-compose.yml` as `docker compose` reads it, as far as this file uses its language.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::read;

/// The file. A field that is not here is an error: whoever uses another one says here what it is held to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compose {
    pub name: String,
    pub services: BTreeMap<String, Service>,
    pub volumes: BTreeMap<String, Option<()>>,
    pub secrets: BTreeMap<String, SecretSource>,
    #[serde(rename = "x-tickgate")]
    _tickgate: serde_json::Value,
    #[serde(rename = "x-job")]
    _job: serde_json::Value,
    #[serde(rename = "x-settings")]
    _settings: serde_json::Value,
    #[serde(rename = "x-kafka")]
    _kafka: serde_json::Value,
    #[serde(rename = "x-kafka-settings")]
    _kafka_settings: serde_json::Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub image: String,
    pub build: Option<serde_json::Value>,
    pub restart: String,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default)]
    pub tmpfs: Vec<String>,
    #[serde(default)]
    pub cap_drop: Vec<String>,
    #[serde(default)]
    pub security_opt: Vec<String>,
    pub stop_grace_period: Option<String>,
    pub mem_limit: String,
    pub healthcheck: Health,
    #[serde(default)]
    pub command: Vec<String>,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    pub secrets: Vec<String>,
    #[serde(default)]
    pub volumes: Vec<String>,
    #[serde(default)]
    pub ports: Vec<String>,
    #[serde(default)]
    pub profiles: Vec<String>,
    #[serde(default)]
    pub depends_on: BTreeMap<String, Dependency>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    #[serde(default)]
    pub test: Vec<String>,
    #[serde(default)]
    pub disable: bool,
    pub interval: Option<String>,
    pub timeout: Option<String>,
    pub retries: Option<u32>,
    pub start_period: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    pub condition: String,
    #[serde(default = "yes")]
    pub required: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSource {
    pub environment: String,
}

fn yes() -> bool {
    true
}

impl Compose {
    /// The file, with variables at their defaults.
    pub fn read() -> Self {
        let text = interpolated(&read("docker-compose.yml"));
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("`docker-compose.yml`: {error}"))
    }

    /// A service.
    pub fn service(&self, name: &str) -> &Service {
        self.services.get(name).unwrap_or_else(|| panic!("there is no service `{name}`"))
    }

    /// The services that run our binary: their names and what they are.
    pub fn ours(&self) -> impl Iterator<Item = (&str, &Service)> {
        let ours = |(_, service): &(&String, &Service)| service.image.starts_with("tickgate:");
        self.services.iter().filter(ours).map(|(name, service)| (name.as_str(), service))
    }
}

impl Service {
    /// Host path or volume, and container path, of each volume.
    pub fn mounts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.volumes.iter().map(|volume| {
            let mut parts = volume.split(':');
            (parts.next().unwrap(), parts.next().unwrap_or_else(|| panic!("`{volume}` has no place")))
        })
    }

    /// Where a file or folder of the checkout is in the container.
    pub fn place_of(&self, path: &str) -> &str {
        let (_, place) = self.mounts().find(|(host, _)| host.trim_start_matches("./") == path).unwrap();
        place
    }
}

/// `${NAME:-default}` as its default; without one, the name stands.
fn interpolated(text: &str) -> String {
    let mut parts = text.split("${");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |made, part| {
        let (inside, behind) = part.split_once('}').expect("a variable's brace is closed");
        made + inside.split_once(":-").map_or(inside, |(_, default)| default) + behind
    })
}

#[test]
fn variables_have_their_defaults() {
    assert_eq!(interpolated("a ${B:-c d}, ${E}."), "a c d, E.");
}
