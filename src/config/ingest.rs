//! `[ingest]`

use std::net::SocketAddr;

use super::reader::Section;

/// The feed's way into staging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestConfig {
    /// `http`: where `/metrics`, `/livez` and `/readyz` answer. Default: `127.0.0.1:9465`.
    pub http: SocketAddr,
}

impl IngestConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { http: section.address("http", "127.0.0.1:9465") }
    }
}
