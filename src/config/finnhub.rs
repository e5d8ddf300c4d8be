//! `[finnhub]`

use std::{path::PathBuf, time::Duration};

use super::{Secret, reader::Section};

/// The feed.
#[derive(Debug, Clone, PartialEq)]
pub struct FinnhubConfig {
    /// `mode`: `stream`, the websocket of trades; `poll`, quotes of the REST interface; `file`, a recording.
    /// Default: `stream`.
    pub mode: FeedMode,
    /// `url` of the websocket, `ws://` or `wss://`. Default: `wss://ws.finnhub.io`.
    pub url: String,
    /// `rest_url` of the REST interface, `http://` or `https://`. Default: `https://finnhub.io/api/v1`.
    pub rest_url: String,
    /// `symbols` to subscribe to, as Finnhub spells them; `SYM00001..SYM00500` stands for all between. See
    /// [`super::expand_symbols`]. Default: `AAPL`, `AMZN`, `BINANCE:BTCUSDT`, `IC MARKETS:1`.
    pub symbols: Vec<String>,
    /// `token`: Finnhub's API key; or `token_file`, a file that holds it. A `ws://` or `http://` feed (the
    /// simulator) needs none.
    pub token: Option<Secret>,
    /// `silent_after`: a connection without any message for this long is taken for dead and made anew.
    /// Default: `30s`.
    pub silent_after: Duration,
    /// `calls_per_minute` of the REST interface, over all symbols, as the plan allows. Default: 60.
    pub calls_per_minute: u32,
    /// `calls_per_second`, likewise. Default: 30, which is every plan's.
    pub calls_per_second: u32,
    /// `answer_timeout`: a call of the REST interface that takes longer is given up. Default: `10s`.
    pub answer_timeout: Duration,
    /// `file`: the recording that `mode = "file"` plays; `.gz` and `.zst` are unpacked. Default: none.
    pub file: PathBuf,
    /// `speed` that it is played with: 1 is its own, 10 ten times as fast, 0 as fast as Kafka takes it.
    /// Default: 1.
    pub speed: f64,
}

/// How quotes come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedMode {
    /// Trades pushed over a websocket.
    Stream,
    /// Quotes asked for, one call a symbol.
    Poll,
    /// What was recorded of a stream.
    File,
}

impl FinnhubConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let modes = ["stream", "poll", "file"];
        let mode =
            section.legal_text("mode", "stream", "`stream`, `poll` or `file`", |mode| modes.contains(&mode));
        let mode = match mode.as_str() {
            "poll" => FeedMode::Poll,
            "file" => FeedMode::File,
            _ => FeedMode::Stream,
        };
        let symbols = section.list("symbols", &["AAPL", "AMZN", "BINANCE:BTCUSDT", "IC MARKETS:1"]);
        if symbols.is_empty() {
            section.reject_together("symbols", "an empty list", "at least one symbol");
        }
        let finnhub = Self {
            mode,
            url: section.url("url", "wss://ws.finnhub.io", &["ws://", "wss://"]),
            rest_url: section.url("rest_url", "https://finnhub.io/api/v1", &["http://", "https://"]),
            symbols,
            token: section.secret("token"),
            silent_after: section.duration(
                "silent_after",
                "30s",
                Duration::from_millis(100)..=Duration::from_hours(1),
            ),
            calls_per_minute: section.number("calls_per_minute", 60, 1..=100_000),
            calls_per_second: section.number("calls_per_second", 30, 1..=1_000),
            answer_timeout: section.duration(
                "answer_timeout",
                "10s",
                Duration::from_millis(100)..=Duration::from_mins(5),
            ),
            file: PathBuf::from(section.legal_text("file", "", "a path", |_| true)),
            speed: section.number("speed", 1.0, 0.0..=1_000_000.0),
        };
        if mode == FeedMode::File && finnhub.file.as_os_str().is_empty() {
            section.reject_together("file", "none", "the path of a recording, as `mode` is `file`");
        }
        finnhub
    }
}
