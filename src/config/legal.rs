//! Which characters names may have.

/// What [`is_topic`] accepts, in words.
pub(super) const TOPIC: &str =
    "a Kafka topic name: 1 to 249 of a-z, A-Z, 0-9, `.`, `_` and `-`, other than `.` and `..`";

/// Whether Kafka takes `name` for a topic.
pub(super) fn is_topic(name: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=249).contains(&name.len()) && name.chars().all(is_legal) && name != "." && name != ".."
}

/// What [`is_id_part`] accepts, in words.
pub(super) const ID_PART: &str =
    "1 to 100 of a-z, A-Z, 0-9, `_` and `-`: dots separate the parts of transactional ids";

/// Whether `name` can be a part of a transactional id and of the changelog's name.
pub(super) fn is_id_part(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// What [`is_keyspace`] accepts, in words.
pub(super) const KEYSPACE: &str = "a keyspace: a letter, then up to 47 of a-z, 0-9 and `_`";

/// Whether Cassandra takes `name` for a keyspace without quotes.
pub(super) fn is_keyspace(name: &str) -> bool {
    name.len() <= 48
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Whether `text` is a host and a port.
pub(super) fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}
