//! `[kafka]`

use super::{legal, reader::Section};

/// librdkafka properties that tickgate sets itself: exactly-once hangs on them, so they can't be passed.
const OURS: [&str; 15] = [
    "auto.offset.reset",
    "bootstrap.servers",
    "client.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "isolation.level",
    "metadata.broker.list",
    "partitioner",
    "session.timeout.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

/// How to reach the brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `brokers`: addresses to start from, `host:port`. Default: `127.0.0.1:9092`.
    pub brokers: Vec<String>,
    /// `[kafka.properties]`: librdkafka properties, passed through (TLS, SASL, …). In the environment `_`
    /// stands for a dot: `TICKGATE_KAFKA__PROPERTIES__SASL_PASSWORD`. Passwords may be given as
    /// files: `…SASL_PASSWORD_FILE`. Properties that exactly-once hangs on are refused.
    pub properties: Properties,
}

/// librdkafka properties; `Debug` hides the secret ones.
#[derive(Clone, PartialEq, Eq)]
pub struct Properties(Vec<(String, String)>);

impl KafkaConfig {
    /// The brokers as librdkafka wants them.
    pub fn bootstrap(&self) -> String {
        self.brokers.join(",")
    }

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let brokers = section.list("brokers", &["127.0.0.1:9092"]);
        if brokers.is_empty() || !brokers.iter().all(|broker| legal::is_address(broker)) {
            let found = format!("`{}`", brokers.join(","));
            section.reject_together("brokers", found, "addresses such as `127.0.0.1:9092`, comma-separated");
        }
        let properties = section.table("properties", is_secret);
        for (name, _) in properties.iter().filter(|(name, _)| OURS.contains(&name.as_str())) {
            let expected = "a property that tickgate doesn't set itself";
            section.reject_together(&format!("properties.{name}"), format!("`{name}`"), expected);
        }
        Self { brokers, properties: Properties(properties) }
    }
}

impl Properties {
    /// Names and values, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl std::fmt::Debug for Properties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (name, if is_secret(name) { "***" } else { value })))
            .finish()
    }
}

/// Whether a librdkafka property holds a secret.
fn is_secret(property: &str) -> bool {
    let ends = ["password", "secret", "passphrase", "key.pem", "oauthbearer.config"];
    ends.iter().any(|end| property.ends_with(end))
}
