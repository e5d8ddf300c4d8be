//! How the feed is, for people: the log, readiness, metrics.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::Secret;
use crate::finnhub::poll::{self, Outcome, Refusal};
use crate::finnhub::recording;
use crate::finnhub::stream::End;
use crate::finnhub::{Message, without_token};
use crate::telemetry::health::Readiness;
use crate::telemetry::metrics::IngestMetrics;
use crate::telemetry::rarely::{REMINDER_EVERY, Rarely};

/// Parts of readiness.
const FEED: &str = "feed";
const SYMBOLS: &str = "symbols";

/// Tells what happens to the feed.
pub(super) struct Status {
    metrics: IngestMetrics,
    readiness: Readiness,
    /// How many symbols are asked for.
    symbols: usize,
    /// A server may repeat it in what it says.
    token: Option<Secret>,
    connects: u64,
    /// Whether the REST interface answers, or the recording plays.
    is_answering: bool,
    /// Lines about symbols above the plan's number, one for each symbol if all were told.
    too_many: Rarely,
    /// Lines about damaged lines of a recording.
    damaged: Rarely,
}

impl Status {
    /// A feed that is not there yet, and asks for so many symbols.
    pub(super) fn new(
        metrics: IngestMetrics,
        readiness: Readiness,
        symbols: usize,
        token: Option<Secret>,
    ) -> Self {
        let rarely = || Rarely::every(REMINDER_EVERY);
        let (too_many, damaged) = (rarely(), rarely());
        Self { metrics, readiness, symbols, token, connects: 0, is_answering: false, too_many, damaged }
    }

    /// The feed is to be connected.
    pub(super) fn held(&self) {
        self.readiness.awaits(FEED, "a connection or an answer");
    }

    /// The feed is closed, and is to be.
    pub(super) fn let_go(&mut self) {
        tracing::info!("let the feed go; nothing of it is open");
        self.is_answering = false;
        self.readiness.met(FEED);
        self.readiness.met(SYMBOLS);
        self.metrics.connected.set(0);
    }

    /// A connection is open.
    pub(super) fn connected(&mut self) {
        let symbols = self.symbols;
        tracing::info!(symbols, "connected to the feed; subscribes to {symbols} symbols");
        self.readiness.met(FEED);
        self.readiness.met(SYMBOLS);
        self.metrics.connected.set(1);
        self.connects += 1;
        if self.connects > 1 {
            self.metrics.reconnects.inc();
        }
    }

    /// The connection ended, or none was to be had.
    pub(super) fn lost(&self, end: &End, retry_in: Duration) {
        tracing::warn!(end = end.as_str(), "{end}; tries again in {}", in_words(retry_in));
        self.readiness.awaits(FEED, format!("a connection ({end})"));
        self.metrics.connected.set(0);
        self.metrics.ends.with_label_values(&[end.as_str()]).inc();
    }

    /// A message came.
    pub(super) fn received(&self, message: &Message<'_>) {
        let kind = match message {
            Message::Trades(_) => "trade",
            Message::Ping => "ping",
            Message::Error(_) => "error",
            Message::Unreadable(_) => "unreadable",
        };
        self.metrics.messages.with_label_values(&[kind]).inc();
        self.heard();
        if let Message::Error(words) = message {
            self.complained(words);
        }
    }

    /// The recording went on.
    pub(super) fn played(&mut self, event: &recording::Event) {
        if !self.is_answering {
            self.is_answering = true;
            self.readiness.met(FEED);
            self.metrics.connected.set(1);
        }
        match event {
            recording::Event::Received(_) => {}
            recording::Event::Damaged { line, .. } => {
                self.metrics.messages.with_label_values(&["damaged"]).inc();
                if let Some(others) = self.damaged.admit(Instant::now()) {
                    tracing::warn!(
                        line,
                        others,
                        "line {line} of the recording is damaged; it goes to bad_data"
                    );
                }
            }
            recording::Event::Finished { lines } => {
                tracing::info!(lines, "the recording has ended after {lines} lines");
            }
            recording::Event::Broken { lines, cause } => {
                tracing::error!(lines, "the recording breaks off after {lines} lines ({cause})");
            }
        }
    }

    /// A call of the REST interface is over.
    pub(super) fn called(&mut self, event: &poll::Event) {
        let symbol = &event.symbol;
        let outcome = match &event.outcome {
            Outcome::New(_) => "new",
            Outcome::Unchanged => "unchanged",
            Outcome::Unknown { first } => {
                if *first {
                    tracing::warn!(%symbol, "Finnhub does not know `{symbol}`: it answers zeros");
                }
                "unknown"
            }
            Outcome::Denied { first } => {
                if *first {
                    tracing::warn!(%symbol, "no quotes of `{symbol}`: {}", Refusal::Denied);
                }
                "denied"
            }
            Outcome::Unreadable { .. } => "unreadable",
            Outcome::Paused { refusal, retry_in } => {
                self.paused(refusal, *retry_in);
                refusal.as_str()
            }
        };
        self.metrics.calls.with_label_values(&[outcome]).inc();
        let is_answer = !matches!(event.outcome, Outcome::Paused { .. }) && !event.is_old;
        if is_answer {
            self.heard();
        }
        if is_answer && !self.is_answering {
            let symbols = self.symbols;
            tracing::info!(symbols, "the REST interface answers; asks for {symbols} symbols in turn");
            self.is_answering = true;
            self.readiness.met(FEED);
            self.metrics.connected.set(1);
        }
    }

    fn heard(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.metrics.last_message_timestamp.set(now.as_secs_f64());
    }

    fn paused(&mut self, refusal: &Refusal, retry_in: Duration) {
        tracing::warn!(refusal = refusal.as_str(), "{refusal}; asks again in {}", in_words(retry_in));
        self.is_answering = false;
        self.readiness.awaits(FEED, format!("an answer ({refusal})"));
        self.metrics.connected.set(0);
    }

    fn complained(&self, words: &str) {
        let words = without_token(words, self.token.as_ref().map_or("", Secret::reveal));
        // Finnhub documents no words for it; its server was seen to say "Subscribing to too many symbols", once for
        // each symbol beyond. Should it say so otherwise, its own words are told all the same.
        if !words.to_lowercase().contains("too many symbols") {
            tracing::error!("the feed complains: {words}");
            return;
        }
        let what = format!(
            "the plan allows fewer than the {} symbols of `[finnhub] symbols`, and the rest is missing (the feed \
             says: {words})",
            self.symbols
        );
        self.readiness.awaits(SYMBOLS, format!("fewer of them: {what}"));
        if self.too_many.admit(Instant::now()).is_some() {
            tracing::error!("{what}");
        }
    }
}

/// Rounded to what people read.
fn in_words(wait: Duration) -> String {
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}
