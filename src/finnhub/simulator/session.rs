//! One connection to the simulator: its token, its subscriptions, its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request as Upgrade, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message as Frame, Utf8Bytes};

use super::Floor;
use crate::finnhub::Request;

/// How many messages wait for a client before the market waits for it.
const WAITING_MESSAGES_MAX: usize = 256;
/// How long the market waits for a client that reads nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Another one with the same token came.
    TakenOver,
    /// Cut without a word.
    Dropped,
}

/// One open connection.
pub(super) struct Session {
    pub(super) id: u64,
    subscribed: Vec<AtomicBool>,
    stalled: AtomicBool,
    outgoing: mpsc::Sender<Utf8Bytes>,
    ending: watch::Sender<Option<End>>,
}

impl Session {
    /// Whether it wants the symbol's trades.
    pub(super) fn wants(&self, symbol: usize) -> bool {
        self.subscribed.get(symbol).is_some_and(|wanted| wanted.load(Ordering::Relaxed))
    }

    pub(super) fn subscriptions(&self) -> u64 {
        self.subscribed.iter().filter(|wanted| wanted.load(Ordering::Relaxed)).count() as u64
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Sends nothing from now on, not even pings, and keeps the connection open.
    pub(super) fn stall(&self) {
        self.stalled.store(true, Ordering::Relaxed);
    }

    pub(super) fn end(&self, end: End) {
        self.ending.send_if_modified(|ending| {
            let first = ending.is_none();
            ending.get_or_insert(end);
            first
        });
    }

    /// Hands a message to the client, waiting while it is slow; `false` when it is gone.
    pub(super) async fn send(&self, message: Utf8Bytes) -> bool {
        let mut ending = self.ending.subscribe();
        let sent = tokio::select! {
            sent = self.outgoing.send_timeout(message, PATIENCE) => sent.is_ok(),
            _ = ending.wait_for(Option::is_some) => false,
        };
        if !sent {
            self.end(End::Dropped);
        }
        sent
    }

    /// Tells the client that something is wrong, if there is room.
    pub(super) fn complain(&self, words: &str) {
        self.offer(error(words).into());
    }

    /// Hands a message to the client if there is room.
    pub(super) fn offer(&self, message: Utf8Bytes) {
        if !self.is_stalled() {
            // No room means that there is something to read anyway.
            let _ = self.outgoing.try_send(message);
        }
    }
}

/// Takes connections in until the simulator is dropped.
pub(super) async fn accept(listener: TcpListener, floor: Arc<Floor>) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    clients.spawn(serve(socket, floor.clone()));
                }
                // Out of descriptors, say: try again rather than spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = clients.join_next() => {}
        }
    }
}

async fn serve(socket: TcpStream, floor: Arc<Floor>) {
    let mut token = None;
    // A small message at a low rate must not wait for the next one; a failure only costs latency.
    let _ = socket.set_nodelay(true);
    let refused = floor.rules().refuse;
    #[allow(clippy::result_large_err)] // tungstenite's callback wants the response by value
    let handshake = tokio_tungstenite::accept_hdr_async(socket, |upgrade: &Upgrade, response: Response| {
        if let Some(status) = refused {
            return Err(refusal(StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN), "on demand"));
        }
        token = token_of(upgrade.uri().query().unwrap_or_default());
        if token.is_some() { Ok(response) } else { Err(refusal(StatusCode::UNAUTHORIZED, "Invalid API key")) }
    });
    let Ok(Ok(websocket)) = tokio::time::timeout(Duration::from_secs(10), handshake).await else { return };
    let Some(token) = token else { return };

    let (outgoing, waiting) = mpsc::channel(WAITING_MESSAGES_MAX);
    let (ending, end) = watch::channel(None);
    let subscribed = floor.settings.symbols.iter().map(|_| AtomicBool::new(false)).collect();
    let stalled = AtomicBool::new(false);
    let session = Arc::new(Session { id: floor.session_id(), subscribed, stalled, outgoing, ending });
    floor.enter(&token, &session);
    let (sink, stream) = websocket.split();
    tokio::select! {
        () = listen(stream, &session, &floor) => {}
        () = speak(sink, waiting, end, floor.settings.tells_takeover) => {}
    }
    floor.leave(&token, &session);
    session.end(End::Dropped);
}

/// The token of a query like `token=…`; `None` when it is missing or empty.
fn token_of(query: &str) -> Option<String> {
    let token = query.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    (!token.is_empty()).then(|| token.to_owned())
}

fn refusal(status: StatusCode, words: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(words.to_owned()));
    *response.status_mut() = status;
    response
}

/// Reads requests until the client is gone.
async fn listen(mut stream: SplitStream<WebSocketStream<TcpStream>>, session: &Session, floor: &Floor) {
    while let Some(Ok(frame)) = stream.next().await {
        let answer = match frame {
            Frame::Text(text) => obey(&text, session, floor).err(),
            Frame::Binary(_) => Some("Invalid message".to_owned()),
            Frame::Close(_) => return,
            _ => None,
        };
        if let Some(complaint) = answer {
            session.complain(&complaint);
        }
    }
}

/// Does what a request asks; the error is what the client is told.
fn obey(text: &str, session: &Session, floor: &Floor) -> Result<(), String> {
    let (symbol, wanted) = match Request::read(text) {
        Some(Request::Subscribe { symbol }) => (symbol, true),
        Some(Request::Unsubscribe { symbol }) => (symbol, false),
        None => return Err("Invalid message".to_owned()),
    };
    let flag = floor.index.get(symbol.as_ref()).and_then(|at| session.subscribed.get(*at));
    let flag = flag.ok_or_else(|| format!("Invalid symbol {symbol}"))?;
    let max = floor.settings.max_symbols.map_or(u64::MAX, |max| max as u64);
    if wanted && !flag.load(Ordering::Relaxed) && session.subscriptions() >= max {
        return Err("Subscribing to too many symbols".to_owned());
    }
    flag.store(wanted, Ordering::Relaxed);
    Ok(())
}

/// A server's complaint as it travels.
fn error(words: &str) -> String {
    serde_json::json!({ "type": "error", "msg": words }).to_string()
}

/// Writes what waits until the session ends.
async fn speak(
    mut sink: SplitSink<WebSocketStream<TcpStream>, Frame>,
    mut waiting: mpsc::Receiver<Utf8Bytes>,
    mut end: watch::Receiver<Option<End>>,
    tells_takeover: bool,
) {
    let written = async {
        while let Some(message) = waiting.recv().await {
            let sent = if waiting.is_empty() {
                sink.send(Frame::Text(message)).await
            } else {
                sink.feed(Frame::Text(message)).await
            };
            if sent.is_err() {
                return;
            }
        }
    };
    let ended = tokio::select! {
        () = written => None,
        ended = end.wait_for(Option::is_some) => ended.ok().and_then(|ended| *ended),
    };
    if ended == Some(End::TakenOver) && tells_takeover {
        let frame = CloseFrame { code: CloseCode::Policy, reason: "another connection with this key".into() };
        // The client may be gone already, or read nothing.
        let _ = tokio::time::timeout(Duration::from_secs(1), sink.send(Frame::Close(Some(frame)))).await;
    }
}
