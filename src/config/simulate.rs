//! `[simulate]`

use std::{net::SocketAddr, time::Duration};

use super::reader::Section;

/// The stand-in for the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulateConfig {
    /// `listen`: where the websocket answers. Default: `127.0.0.1:8765`.
    pub listen: SocketAddr,
    /// `http`: where `/metrics`, `/livez`, `/readyz`, `/counts` and `POST /faults` answer.
    /// Default: `127.0.0.1:9466`.
    pub http: SocketAddr,
    /// `symbols`: how many (`SYM00001`, `SYM00002`, …), or which; see [`super::expand_symbols`].
    /// Default: `AAPL`, `AMZN`, `BINANCE:BTCUSDT`, `IC MARKETS:1`.
    pub symbols: Vec<String>,
    /// `rate`: trades a second, over all symbols; 0 waits for another rate. Default: 100.
    pub rate: f64,
    /// `seed`: the same seed makes the same trades. Default: 1.
    pub seed: u64,
    /// `bad`: part of all trades, 0 to 1, that is spoilt, spread over every kind of fault. Default: 0.
    pub bad: f64,
    /// `silent`: symbols that fall silent, as `SYMBOL@FROM+FOR` or `SYMBOL@FROM`. Default: none.
    pub silent: Vec<String>,
    /// `ping_every`: how often a ping is sent; `0s` is never. Default: `10s`.
    pub ping_every: Duration,
    /// `disconnect_every`: drops every connection so often; `0s` is never. Default: `0s`.
    pub disconnect_every: Duration,
    /// `stall_every`: stalls every connection so often, without closing it; `0s` is never. Default: `0s`.
    pub stall_every: Duration,
}

impl SimulateConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let periods = Duration::ZERO..=Duration::from_hours(24);
        let symbols = section.list("symbols", &["AAPL", "AMZN", "BINANCE:BTCUSDT", "IC MARKETS:1"]);
        if symbols.is_empty() {
            section.reject_together("symbols", "an empty list", "at least one symbol");
        }
        Self {
            listen: section.address("listen", "127.0.0.1:8765"),
            http: section.address("http", "127.0.0.1:9466"),
            symbols,
            rate: section.number("rate", 100.0, 0.0..=1_000_000.0),
            seed: section.number("seed", 1, 0..=u64::MAX),
            bad: section.number("bad", 0.0, 0.0..=1.0),
            silent: section.list("silent", &[]),
            ping_every: section.duration("ping_every", "10s", periods.clone()),
            disconnect_every: section.duration("disconnect_every", "0s", periods.clone()),
            stall_every: section.duration("stall_every", "0s", periods),
        }
    }
}
