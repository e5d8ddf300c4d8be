//! `[simulate]`

use std::net::SocketAddr;

use super::reader::Section;

/// The stand-in for the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulateConfig {
    /// `listen`: where the websocket answers. Default: `127.0.0.1:8765`.
    pub listen: SocketAddr,
    /// `rate`: trades a second, over all subscribed symbols. Default: 100.
    pub rate: f64,
    /// `seed`: the same seed makes the same prices. Default: 1.
    pub seed: u64,
}

impl SimulateConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            listen: section.address("listen", "127.0.0.1:8765"),
            rate: section.number("rate", 100.0, 0.001..=1_000_000.0),
            seed: section.number("seed", 1, 0..=u64::MAX),
        }
    }
}
