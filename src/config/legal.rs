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
