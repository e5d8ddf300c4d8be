//! `[record]`

use std::net::SocketAddr;

use super::reader::Section;

/// Making recordings of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordConfig {
    /// `http`: where `/metrics`, `/livez` and `/readyz` answer. Default: `127.0.0.1:9470`.
    pub http: SocketAddr,
}

impl RecordConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { http: section.address("http", "127.0.0.1:9470") }
    }
}
