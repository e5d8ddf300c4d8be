//! `[simulate]`

use std::{net::SocketAddr, time::Duration};

use super::reader::Section;

/// The stand-in for the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulateConfig {
    /// `listen`: where the websocket answers. Default: `127.0.0.1:8765`.
    pub listen: SocketAddr,
    /// `rest`: where the REST interface answers, as `http://ADDRESS/api/v1`. Default: `127.0.0.1:8766`.
    pub rest: SocketAddr,
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
    /// `max_symbols` that a connection may subscribe to; 0 is no limit. Default: 0.
    pub max_symbols: usize,
    /// `calls_per_minute` of the REST interface; more are answered with 429. Default: 60.
    pub calls_per_minute: u32,
    /// `calls_per_second`, likewise. Default: 30.
    pub calls_per_second: u32,
    /// `quote_every`: how often the REST interface has a new quote. Default: `1s`.
    pub quote_every: Duration,
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
            rest: section.address("rest", "127.0.0.1:8766"),
            http: section.address("http", "127.0.0.1:9466"),
            symbols,
            rate: section.number("rate", 100.0, 0.0..=1_000_000.0),
            seed: section.number("seed", 1, 0..=u64::MAX),
            bad: section.number("bad", 0.0, 0.0..=1.0),
            silent: section.list("silent", &[]),
            ping_every: section.duration("ping_every", "10s", periods.clone()),
            disconnect_every: section.duration("disconnect_every", "0s", periods.clone()),
            stall_every: section.duration("stall_every", "0s", periods),
            max_symbols: section.number("max_symbols", 0, 0..=1_000_000),
            calls_per_minute: section.number("calls_per_minute", 60, 1..=100_000),
            calls_per_second: section.number("calls_per_second", 30, 1..=1_000),
            quote_every: section.duration(
                "quote_every",
                "1s",
                Duration::from_secs(1)..=Duration::from_hours(24),
            ),
        }
    }
}
