//! A TCP proxy before one server, with faults that are switched while clients are connected.
//!
//! Before a broker it forwards whole frames of Kafka's protocol in plain text, so that a fault can pick out
//! one kind of request: [`Proxy::lose_replies`] lets a broker do what it was asked and keeps the answer from
//! the client, which cannot know then whether it was done. Before any other server it is
//! [opaque](Proxy::opaque) and takes bytes as they come. It changes no byte of what passes.

mod relay;
mod wire;

use std::{
    net::TcpListener,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{runtime, sync::watch};

use crate::StackError;

pub use wire::Request;

/// A listener that forwards to a server on this machine. Dropping it closes everything.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    /// `None` only while it is dropped: the tasks end when it goes.
    weather: Option<watch::Sender<Weather>>,
    losses: Arc<Losses>,
    thread: Option<JoinHandle<()>>,
}

/// What holds for all that passes.
#[derive(Debug, Clone, Copy)]
struct Weather {
    line: Line,
    /// What each piece waits, in either direction.
    delay: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Open,
    Cut,
    Stalled,
}

/// What is forwarded as one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pieces {
    /// Frames of Kafka's protocol, which can be told apart.
    KafkaFrames,
    /// Whatever one read brings.
    AsRead,
}

const FAIR: Weather = Weather { line: Line::Open, delay: Duration::ZERO };

impl Proxy {
    /// Listens on `port` of 127.0.0.1 and forwards to `server`, the port of a broker there, which need not
    /// serve yet.
    pub fn start(port: u16, server: u16) -> Result<Self, StackError> {
        Self::forwarding(Pieces::KafkaFrames, port, server)
    }

    /// The same before a server of any protocol, also an encrypted one: it cuts, stalls and delays, but has
    /// no requests that could be [lost](Self::lose_requests).
    pub fn opaque(port: u16, server: u16) -> Result<Self, StackError> {
        Self::forwarding(Pieces::AsRead, port, server)
    }

    /// Where clients connect: `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Closes all connections, and refuses new ones.
    pub fn cut(&self) {
        self.change(|weather| weather.line = Line::Cut);
    }

    /// Keeps all connections, takes new ones, and forwards nothing in either direction. What was sent
    /// meanwhile arrives when the line is mended, also from clients that have gone.
    pub fn stall(&self) {
        self.change(|weather| weather.line = Line::Stalled);
    }

    /// Holds every frame, or what was read at once, back for this long, each way.
    pub fn delay(&self, each_way: Duration) {
        self.change(|weather| weather.delay = each_way);
    }

    /// Swallows the replies to the next `count` requests of a kind, each together with its connection: the
    /// server has done what it was asked. [`lost`](Self::lost) counts from 0 again.
    pub fn lose_replies(&self, to: Request, count: usize) {
        *self.losses.lock() = Loss { of: Some((Way::Reply, to)), left: count, lost: 0 };
    }

    /// Swallows the next `count` requests of a kind, each together with its connection: the server never
    /// hears of them. [`lost`](Self::lost) counts from 0 again.
    pub fn lose_requests(&self, of: Request, count: usize) {
        *self.losses.lock() = Loss { of: Some((Way::Request, of)), left: count, lost: 0 };
    }

    /// How many requests or replies were swallowed since they were last asked for.
    pub fn lost(&self) -> usize {
        self.losses.lock().lost
    }

    /// Ends all faults: connections are taken, and all that comes is forwarded at once.
    pub fn mend(&self) {
        self.change(|weather| *weather = FAIR);
        self.losses.lock().left = 0;
    }

    fn forwarding(pieces: Pieces, port: u16, server: u16) -> Result<Self, StackError> {
        let listener = listen(port).map_err(|source| StackError::Listen { port, source })?;
        let failed = |error: std::io::Error| StackError::Program {
            program: "the proxy's runtime".to_owned(),
            reason: error.to_string(),
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (weather, seen) = watch::channel(FAIR);
        let losses = Arc::new(Losses::default());
        let relay = relay::Relay { pieces, port, server, weather: seen, losses: Arc::clone(&losses) };
        let thread = thread::Builder::new()
            .name(format!("proxy-{port}"))
            .spawn(move || runtime.block_on(relay.serve(listener)))
            .map_err(failed)?;
        Ok(Self { port, weather: Some(weather), losses, thread: Some(thread) })
    }

    fn change(&self, change: impl FnOnce(&mut Weather)) {
        if let Some(weather) = &self.weather {
            weather.send_modify(change);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.weather = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed.
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Reply,
}

/// What is to be swallowed, over all connections.
#[derive(Debug, Default)]
struct Losses(Mutex<Loss>);

#[derive(Debug, Default)]
struct Loss {
    of: Option<(Way, Request)>,
    left: usize,
    lost: usize,
}

impl Losses {
    /// Whether replies to a request like this one may have to be swallowed.
    fn watches_reply(&self, frame: &[u8]) -> bool {
        matches!(self.lock().of, Some((Way::Reply, kind)) if kind.is(frame))
    }

    /// Whether to swallow this request.
    fn takes_request(&self, frame: &[u8]) -> bool {
        let mut loss = self.lock();
        matches!(loss.of, Some((Way::Request, kind)) if kind.is(frame)) && loss.take()
    }

    /// Whether to swallow a reply that was watched for.
    fn takes_reply(&self) -> bool {
        let mut loss = self.lock();
        matches!(loss.of, Some((Way::Reply, _))) && loss.take()
    }

    fn lock(&self) -> MutexGuard<'_, Loss> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loss {
    fn take(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.lost += 1;
        true
    }
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
