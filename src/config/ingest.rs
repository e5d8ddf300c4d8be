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
}

impl IngestConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            http: section.address("http", "127.0.0.1:9465"),
            max_in_flight: section.number("max_in_flight", 100_000, 1..=10_000_000),
        }
    }
}
