//! The client of Finnhub's websocket: stays connected, and hands on what it receives, in order.
//!
//! Promises: every symbol is subscribed to again after every connect; a connection on which nothing at all
//! arrives is given up; retries are spaced, jittered and bounded; a receiver that is slow makes the client
//! stop reading rather than lose anything; the token is in no error, event or debug text. Deliberately not
//! in here: what messages mean ([`super::message`]), logs, metrics, Kafka.

use std::fmt;
use std::time::Duration;

use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use rand::{Rng, RngExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message as Frame};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{Request, percent_encoded, without_token};

/// A message larger than this ends the connection; Finnhub's are some KiB.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// So many connections that the server ends early, one after the other, look like another user of the token.
const EARLY_ENDS_MAX: u32 = 3;

/// How to stay connected.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the feed is.
    pub endpoint: Endpoint,
    /// What to subscribe to, every time.
    pub symbols: Vec<String>,
    /// Nothing at all, pings included, for this long: the connection has stalled.
    pub silent_after: Duration,
    /// How long a connect may take.
    pub connect_timeout: Duration,
    /// How retries are spaced.
    pub backoff: BackoffSettings,
}

/// How retries are spaced. A wait is drawn between half of its length and the whole of it.
#[derive(Debug, Clone)]
pub struct BackoffSettings {
    /// The first wait; each that follows is twice as long.
    pub first: Duration,
    /// No wait is longer, unless the token is in use elsewhere.
    pub longest: Duration,
    /// The first wait when the token is in use elsewhere; doubled likewise.
    pub taken_over: Duration,
    /// No such wait is longer.
    pub taken_over_longest: Duration,
    /// A connection that lived this long was healthy: the next wait is the first again.
    pub healthy_after: Duration,
}

impl Default for BackoffSettings {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            taken_over: Duration::from_secs(30),
            taken_over_longest: Duration::from_mins(5),
            healthy_after: Duration::from_secs(10),
        }
    }
}

/// A websocket's address with the token in it, which nothing prints.
#[derive(Clone)]
pub struct Endpoint {
    uri: Uri,
    token: String,
}

/// An address that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// Not the address of a websocket.
    #[error("expected the feed's url as `ws://host` or `wss://host`, found `{found}`")]
    NotAWebsocket {
        /// The url up to its query.
        found: String,
    },
    /// A query, which the token would be in.
    #[error(
        "expected the feed's url without a query, found one behind `{before}`; the token is set on its own"
    )]
    Query {
        /// The url up to its query.
        before: String,
    },
    /// No token.
    #[error("expected a token for the feed, found an empty one")]
    NoToken,
}

impl Endpoint {
    /// The websocket at `url`, for the user of `token`.
    pub fn new(url: &str, token: &str) -> Result<Self, BadEndpoint> {
        let (before, query) = url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
        if query.is_some() {
            return Err(BadEndpoint::Query { before: before.to_owned() });
        }
        if token.is_empty() {
            return Err(BadEndpoint::NoToken);
        }
        let read = || {
            let uri: Uri = before.parse().ok()?;
            let scheme = uri.scheme_str().filter(|scheme| ["ws", "wss"].contains(scheme))?;
            let (authority, path) = (uri.authority()?, uri.path());
            format!("{scheme}://{authority}{path}?token={}", percent_encoded(token)).parse().ok()
        };
        let uri = read().ok_or_else(|| BadEndpoint::NotAWebsocket { found: before.to_owned() })?;
        Ok(Self { uri, token: token.to_owned() })
    }

    fn scrubbed(&self, text: &str) -> String {
        without_token(text, &self.token)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("host", &self.uri.host()).finish_non_exhaustive()
    }
}

/// What happens on the feed.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection is open; the subscriptions follow.
    Connected,
    /// One message, as it came.
    Received(Bytes),
    /// The connection ended, or none was to be had.
    Ended {
        /// Why.
        end: End,
        /// How long until the next try.
        retry_in: Duration,
    },
}

/// Why a connection ended, or none was to be had. None of these holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The watchdog's finding.
    #[error("the feed sent nothing for `{}`, not even a ping", humantime::format_duration(*.0))]
    Silent(Duration),
    /// The server says so, by closing with the code for it.
    #[error("the feed closed the connection because another one uses the same token")]
    TakenOver,
    /// The server doesn't say so, and keeps closing.
    #[error("the feed ended {0} connections in a row soon after they opened; is the token in use elsewhere?")]
    SeemsTakenOver(u32),
    /// The server closed it.
    #[error("the feed closed the connection (`{0}`)")]
    Closed(String),
    /// The handshake was answered otherwise.
    #[error("the feed refused the connection with http status {0}{hint}", hint = hint(*.0))]
    Refused(u16),
    /// No connection within the time for it.
    #[error("the feed did not answer within `{}`", humantime::format_duration(*.0))]
    NoAnswer(Duration),
    /// Anything else that a network does.
    #[error("the connection to the feed failed: {0}")]
    Broken(String),
}

impl End {
    /// The end as a word for labels.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Silent(_) => "silent",
            Self::TakenOver | Self::SeemsTakenOver(_) => "taken_over",
            Self::Closed(_) => "closed",
            Self::Refused(_) => "refused",
            Self::NoAnswer(_) => "no_answer",
            Self::Broken(_) => "broken",
        }
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => "; is the token right?",
        429 => "; too many connects",
        _ => "",
    }
}

/// Connects, again and again, until whoever receives the events is gone or has closed the channel; what was
/// received until then is in it. `chance` draws the jitter.
pub async fn run(settings: Settings, mut chance: impl Rng, events: mpsc::Sender<Event>) {
    let mut backoff = Backoff::new(settings.backoff.clone());
    loop {
        let connected = tokio::select! {
            connected = connect(&settings) => connected,
            () = events.closed() => return,
        };
        let (end, lived) = match connected {
            Ok(socket) => {
                let opened = Instant::now();
                let Some(end) = receive(socket, &settings, &events).await else { return };
                (end, opened.elapsed())
            }
            Err(end) => (end, Duration::ZERO),
        };
        let (end, retry_in) = backoff.after(end, lived, &mut chance);
        if events.send(Event::Ended { end, retry_in }).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(retry_in) => {}
            () = events.closed() => return,
        }
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(settings: &Settings) -> Result<Socket, End> {
    let endpoint = &settings.endpoint;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let connecting = tokio_tungstenite::connect_async_with_config(endpoint.uri.clone(), Some(config), true);
    match tokio::time::timeout(settings.connect_timeout, connecting).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(Error::Http(answer))) => Err(End::Refused(answer.status().as_u16())),
        Ok(Err(error)) => Err(broken(&error, endpoint)),
        Err(_) => Err(End::NoAnswer(settings.connect_timeout)),
    }
}

/// Subscribes and hands on what comes, until the connection ends; `None` when nobody receives any more.
async fn receive(socket: Socket, settings: &Settings, events: &mpsc::Sender<Event>) -> Option<End> {
    events.send(Event::Connected).await.ok()?;
    let endpoint = &settings.endpoint;
    let (sink, mut stream) = socket.split();
    let mut subscribing = std::pin::pin!(subscribe(sink, &settings.symbols));
    let mut subscribed = false;
    loop {
        // Room first: what is read here must not have to be thrown away when the receiver closes.
        let room = events.reserve().await.ok()?;
        // Both at once: a server that waits for us to read must not wait for ever.
        let next = tokio::select! {
            sent = &mut subscribing, if !subscribed => match sent {
                Ok(()) => {
                    subscribed = true;
                    continue;
                }
                Err(error) => return Some(broken(&error, endpoint)),
            },
            next = tokio::time::timeout(settings.silent_after, stream.next()) => next,
            () = events.closed() => return None,
        };
        match next {
            Err(_) => return Some(End::Silent(settings.silent_after)),
            Ok(None) => return Some(End::Closed("no reason given".to_owned())),
            Ok(Some(Err(error))) => return Some(broken(&error, endpoint)),
            Ok(Some(Ok(Frame::Text(text)))) => room.send(Event::Received(text.into())),
            Ok(Some(Ok(Frame::Binary(bytes)))) => room.send(Event::Received(bytes)),
            Ok(Some(Ok(Frame::Close(frame)))) => return Some(closed(frame, endpoint)),
            Ok(Some(Ok(_))) => {}
        }
    }
}

async fn subscribe(mut sink: SplitSink<Socket, Frame>, symbols: &[String]) -> Result<(), Error> {
    for symbol in symbols {
        sink.feed(Frame::text(Request::subscribe(symbol).to_json())).await?;
    }
    sink.flush().await
}

fn closed(frame: Option<CloseFrame>, endpoint: &Endpoint) -> End {
    match frame {
        Some(frame) if frame.code == CloseCode::Policy => End::TakenOver,
        Some(frame) => End::Closed(endpoint.scrubbed(format!("{} {}", frame.code, frame.reason).trim())),
        None => End::Closed("no reason given".to_owned()),
    }
}

fn broken(error: &Error, endpoint: &Endpoint) -> End {
    End::Broken(endpoint.scrubbed(&error.to_string()))
}

/// The waits between connections.
struct Backoff {
    settings: BackoffSettings,
    /// Ends in a row without a healthy connection between them.
    failures: u32,
    /// Connections in a row that opened, and that the server ended early.
    early_ends: u32,
    /// Ends in a row because the token is in use elsewhere.
    taken_over: u32,
}

impl Backoff {
    fn new(settings: BackoffSettings) -> Self {
        Self { settings, failures: 0, early_ends: 0, taken_over: 0 }
    }

    /// The wait after a connection that ended so and lived so long (0: there was none), and what its end
    /// is in the light of those before it.
    fn after(&mut self, end: End, lived: Duration, chance: &mut impl Rng) -> (End, Duration) {
        let settings = &self.settings;
        if lived >= settings.healthy_after {
            (self.failures, self.early_ends) = (0, 0);
            // Whoever took the token over may take it over again after a healthy while.
            if end != End::TakenOver {
                self.taken_over = 0;
            }
        } else if !lived.is_zero() && matches!(end, End::Closed(_) | End::Broken(_)) {
            self.early_ends += 1;
        }
        let end = match end {
            End::Closed(_) | End::Broken(_) if self.early_ends >= EARLY_ENDS_MAX && !lived.is_zero() => {
                End::SeemsTakenOver(self.early_ends)
            }
            end => end,
        };
        let (first, longest, times) = match end {
            End::TakenOver | End::SeemsTakenOver(_) => {
                (settings.taken_over, settings.taken_over_longest, &mut self.taken_over)
            }
            _ => (settings.first, settings.longest, &mut self.failures),
        };
        let wait = first.saturating_mul(2_u32.saturating_pow(*times)).min(longest);
        *times = times.saturating_add(1);
        (end, wait.mul_f64(chance.random_range(0.5..=1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn waits(ends: impl IntoIterator<Item = (End, u64)>) -> Vec<(End, Duration)> {
        let mut backoff = Backoff::new(BackoffSettings::default());
        let mut chance = ChaCha8Rng::seed_from_u64(1);
        ends.into_iter()
            .map(|(end, lived)| backoff.after(end, Duration::from_secs(lived), &mut chance))
            .collect()
    }

    fn within(wait: Duration, longest: Duration) -> bool {
        (longest / 2..=longest).contains(&wait)
    }

    #[test]
    fn waits_double_up_to_a_bound_and_start_over_after_a_healthy_connection() {
        let refused = (End::Refused(500), 0);
        let waits = waits(std::iter::repeat_n(refused, 40).chain([(End::Closed(String::new()), 60)]));
        for (at, seconds) in [(0, 0.5), (1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (39, 30.0), (40, 0.5)] {
            assert!(within(waits[at].1, Duration::from_secs_f64(seconds)), "{at}: {:?}", waits[at]);
        }
        let distinct: std::collections::BTreeSet<_> = waits[6..40].iter().map(|(_, wait)| wait).collect();
        assert!(distinct.len() > 20, "no jitter");
    }

    #[test]
    fn a_token_in_use_elsewhere_is_left_alone_for_longer() {
        let waits = waits(std::iter::repeat_n((End::TakenOver, 20), 3));
        for (at, seconds) in [(0, 30), (1, 60), (2, 120)] {
            assert!(within(waits[at].1, Duration::from_secs(seconds)), "{at}: {:?}", waits[at]);
        }
    }

    #[test]
    fn early_ends_in_a_row_look_like_a_token_in_use_elsewhere() {
        let early = (End::Closed("1000".to_owned()), 1);
        let waits = waits(std::iter::repeat_n(early.clone(), 3));
        assert_eq!(waits[1].0, early.0);
        assert_eq!(waits[2].0, End::SeemsTakenOver(3));
        assert!(within(waits[2].1, Duration::from_secs(30)));
    }

    #[test]
    fn an_endpoint_says_what_is_wrong_with_it() {
        for url in ["", "ws.finnhub.io", "https://finnhub.io", "wss://"] {
            assert_eq!(
                Endpoint::new(url, "t").unwrap_err(),
                BadEndpoint::NotAWebsocket { found: url.to_owned() }
            );
        }
        let error = Endpoint::new("wss://ws.finnhub.io?token=secret", "t").unwrap_err();
        assert!(!error.to_string().contains("secret"));
        assert_eq!(Endpoint::new("wss://ws.finnhub.io", "").unwrap_err(), BadEndpoint::NoToken);
        let endpoint = Endpoint::new("wss://ws.finnhub.io", "a b&c").unwrap();
        assert_eq!(endpoint.uri.to_string(), "wss://ws.finnhub.io/?token=a%20b%26c");
    }

    proptest! {
        #[test]
        fn no_text_of_an_endpoint_holds_the_token(token in "[!-~]{8,40}", before in ".{0,20}") {
            let endpoint = Endpoint::new("wss://ws.finnhub.io", &token).unwrap();
            let debug = format!("{endpoint:?}");
            prop_assert!(!debug.contains(&token));
            let raw = broken(&Error::Utf8(format!("{before}{token}")), &endpoint);
            prop_assert!(!raw.to_string().contains(&token));
            let encoded = broken(&Error::Utf8(endpoint.uri.to_string()), &endpoint);
            prop_assert!(!encoded.to_string().contains(&percent_encoded(&token)));
        }
    }
}
