//! `[finnhub]`

use std::time::Duration;

use super::{Secret, reader::Section};

/// The feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinnhubConfig {
    /// `mode`: `"stream"`, the websocket of trades.
    pub mode: FeedMode,
    /// `url` of the websocket, `ws://` or `wss://`. Default: `wss://ws.finnhub.io`.
    pub url: String,
    /// `symbols` to subscribe to, as Finnhub spells them; `SYM00001..SYM00500` stands for all between. See
    /// [`super::expand_symbols`]. Default: `AAPL`, `AMZN`, `BINANCE:BTCUSDT`, `IC MARKETS:1`.
    pub symbols: Vec<String>,
    /// `token`: Finnhub's API key; or `token_file`, a file that holds it. A `ws://` feed (the simulator) needs none.
    pub token: Option<Secret>,
    /// `silent_after`: a connection without any message for this long is taken for dead and made anew.
    /// Default: `30s`.
    pub silent_after: Duration,
}

/// How quotes come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedMode {
    /// Trades pushed over a websocket.
    Stream,
}

impl FinnhubConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        section.legal_text("mode", "stream", "`stream`", |mode| mode == "stream");
        let is_websocket = |url: &str| url.starts_with("ws://") || url.starts_with("wss://");
        let symbols = section.list("symbols", &["AAPL", "AMZN", "BINANCE:BTCUSDT", "IC MARKETS:1"]);
        if symbols.is_empty() {
            section.reject_together("symbols", "an empty list", "at least one symbol");
        }
        Self {
            mode: FeedMode::Stream,
            url: section.legal_text(
                "url",
                "wss://ws.finnhub.io",
                "a `ws://` or `wss://` address",
                is_websocket,
            ),
            symbols,
            token: section.secret("token"),
            silent_after: section.duration(
                "silent_after",
                "30s",
                Duration::from_millis(100)..=Duration::from_hours(1),
            ),
        }
    }
}
