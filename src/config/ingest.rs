//! `[ingest]`

use std::net::SocketAddr;

use super::reader::Section;

/// The feed's way into staging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestConfig {
    /// `http`: where `/metrics`, `/livez` and `/readyz` answer. Default: `127.0.0.1:9465`.
    pub http: SocketAddr,
    /// `max_in_flight`: records that Kafka has not acknowledged yet; with so many, the feed is not read on.
    /// Default: 100000.
    pub max_in_flight: u32,
    /// `lease`: how ingesters of one token agree on who is connected. `"kafka"`: one is, the others stand by, in
    /// the group `<process.group>-ingest`, on a topic of its own that ingest makes. `"none"`: this one is
    /// alone; it then keeps the feed while brokers are away. Default: `kafka`.
    pub lease: LeaseKind,
}

/// How ingesters of one token agree on who is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseKind {
    /// By a consumer group.
    Kafka,
    /// Not at all: there is one.
    None,
}

impl IngestConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let lease = section
            .legal_text("lease", "kafka", "`kafka` or `none`", |lease| ["kafka", "none"].contains(&lease));
        Self {
            http: section.address("http", "127.0.0.1:9465"),
            max_in_flight: section.number("max_in_flight", 100_000, 1..=10_000_000),
            lease: if lease == "none" { LeaseKind::None } else { LeaseKind::Kafka },
        }
    }
}
