//! Which feed runs, and whether it does: it can be held and let go again and again.
//!
//! Promises: one feed runs at a time; what it had received before it was let go still comes out, and
//! [`Event::LetGo`] only after its connections are closed. Deliberately not in here: what events mean, and
//! who decides to hold the feed.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Mutex, mpsc};

use super::Failure;
use crate::config::{FeedMode, FinnhubConfig, Secret, expand_symbols};
use crate::finnhub::poll::{self, Limits, Poller, Rest};
use crate::finnhub::recording;
use crate::finnhub::stream::{self, BackoffSettings, Endpoint};
use crate::journal::kafka::lease::Held;

/// How many messages of the feed wait for their records to be taken.
const EVENTS_MAX: usize = 64;
/// How long a connect to the feed may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a source yields.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The websocket's.
    Stream(stream::Event),
    /// The REST interface's.
    Poll(poll::Event),
    /// The recording's.
    File(recording::Event),
    /// The feed was let go: all that it had received has been yielded, and its connections are closed.
    LetGo,
    /// The feed has ended by itself.
    Over,
}

/// A feed, held or not.
pub(super) struct Source {
    feed: Feed,
    /// Of the feed that runs, or that was let go and is not drained yet.
    events: Option<Events>,
    /// What the next feed runs under, once the one before it is over.
    permit: Option<Permit>,
    /// Whether the feed that runs was let go, or has to be.
    is_closing: bool,
    is_leased: bool,
}

/// What a feed runs under: a lease, or nothing.
#[derive(Debug)]
pub(super) struct Permit(pub(super) Option<Held>);

/// Which feed.
enum Feed {
    Stream(Box<stream::Settings>),
    /// It remembers limits and quotes while it is let go.
    Poll(Arc<Mutex<Poller>>),
    /// It begins anew each time.
    File(recording::Settings),
}

enum Events {
    Stream(mpsc::Receiver<stream::Event>),
    Poll(mpsc::Receiver<poll::Event>),
    File(mpsc::Receiver<recording::Event>),
}

impl Source {
    /// The feed that the settings ask for; it doesn't run yet.
    pub(super) fn new(config: &FinnhubConfig) -> Result<Self, Failure> {
        let feed = match config.mode {
            FeedMode::Stream => Feed::Stream(Box::new(stream_settings(config)?)),
            FeedMode::Poll => Feed::Poll(Arc::new(Mutex::new(poller(config)?))),
            FeedMode::File => Feed::File(recording(config)?),
        };
        Ok(Self { feed, events: None, permit: None, is_closing: false, is_leased: false })
    }

    /// Lets the feed run, if it doesn't; after a [`Source::let_go`] once that is over. Under a lease it runs for as
    /// long as that holds, and is let go with it. Needs a tokio runtime.
    pub(super) fn hold(&mut self, permit: Permit) {
        self.permit = Some(permit);
        if self.events.is_none() {
            self.start();
        }
    }

    /// Ends the feed, if it runs. Doesn't wait: [`Event::LetGo`] says when it is over.
    pub(super) fn let_go(&mut self) {
        self.permit = None;
        if let Some(events) = &mut self.events {
            self.is_closing = true;
            events.close();
        }
    }

    /// Whether no feed runs and none is to be drained.
    pub(super) fn is_over(&self) -> bool {
        self.events.is_none()
    }

    /// The next event; waits for ever while no feed runs. Can be cancelled without losing one.
    pub(super) async fn next(&mut self) -> Event {
        let Some(events) = &mut self.events else { return pending().await };
        match events.next().await {
            Some(event) => event,
            None => self.ended(),
        }
    }

    /// An event that has been yielded already and waits here.
    pub(super) fn next_now(&mut self) -> Option<Event> {
        self.events.as_mut()?.next_now()
    }

    fn ended(&mut self) -> Event {
        self.events = None;
        // A leased feed ends by itself only with its lease.
        if !std::mem::take(&mut self.is_closing) && !self.is_leased {
            return Event::Over;
        }
        self.start();
        Event::LetGo
    }

    fn start(&mut self) {
        let Some(Permit(held)) = self.permit.take() else { return };
        self.is_leased = held.is_some();
        let chance = ChaCha8Rng::from_rng(&mut rand::rng());
        self.events = Some(match &self.feed {
            Feed::Stream(settings) => {
                let (sender, events) = mpsc::channel(EVENTS_MAX);
                run(held, stream::run(settings.as_ref().clone(), chance, sender));
                Events::Stream(events)
            }
            Feed::Poll(poller) => {
                let (sender, events) = mpsc::channel(EVENTS_MAX);
                let poller = poller.clone();
                run(held, async move { poller.lock().await.run(chance, sender).await });
                Events::Poll(events)
            }
            Feed::File(settings) => {
                let (sender, events) = mpsc::channel(EVENTS_MAX);
                run(held, recording::run(settings.clone(), sender));
                Events::File(events)
            }
        });
    }
}

/// Runs a feed, for as long as its lease holds if it has one.
fn run(held: Option<Held>, feed: impl Future<Output = ()> + Send + 'static) {
    match held {
        // The task has the only clone: the lease is free as soon as the connections are closed.
        Some(held) => drop(tokio::spawn(held.carry_on(feed))),
        None => drop(tokio::spawn(feed)),
    }
}

impl Events {
    async fn next(&mut self) -> Option<Event> {
        match self {
            Self::Stream(events) => events.recv().await.map(Event::Stream),
            Self::Poll(events) => events.recv().await.map(Event::Poll),
            Self::File(events) => events.recv().await.map(Event::File),
        }
    }

    fn next_now(&mut self) -> Option<Event> {
        match self {
            Self::Stream(events) => events.try_recv().ok().map(Event::Stream),
            Self::Poll(events) => events.try_recv().ok().map(Event::Poll),
            Self::File(events) => events.try_recv().ok().map(Event::File),
        }
    }

    fn close(&mut self) {
        match self {
            Self::Stream(events) => events.close(),
            Self::Poll(events) => events.close(),
            Self::File(events) => events.close(),
        }
    }
}

fn poller(config: &FinnhubConfig) -> Result<Poller, Failure> {
    let token = token(config, &config.rest_url, "http://")?;
    let rest = Rest::new(&config.rest_url, token, CONNECT_TIMEOUT, config.answer_timeout);
    let limits =
        Limits { calls_per_minute: config.calls_per_minute, calls_per_second: config.calls_per_second };
    Ok(Poller::new(rest.map_err(Failure::settings)?, &expand_symbols(&config.symbols), limits))
}

fn recording(config: &FinnhubConfig) -> Result<recording::Settings, Failure> {
    recording::check(&config.file).map_err(Failure::settings)?;
    Ok(recording::Settings { path: config.file.clone(), speed: config.speed })
}

/// What to connect with and to subscribe to.
pub(in crate::roles) fn stream_settings(config: &FinnhubConfig) -> Result<stream::Settings, Failure> {
    let token = token(config, &config.url, "ws://")?;
    Ok(stream::Settings {
        endpoint: Endpoint::new(&config.url, token).map_err(Failure::settings)?,
        symbols: expand_symbols(&config.symbols),
        silent_after: config.silent_after,
        connect_timeout: CONNECT_TIMEOUT,
        backoff: BackoffSettings::default(),
    })
}

fn token<'a>(config: &'a FinnhubConfig, url: &str, simulated: &str) -> Result<&'a str, Failure> {
    match config.token.as_ref().map(Secret::reveal) {
        Some(token) => Ok(token),
        // A simulator takes any token; the real feed is not to be bothered with a made-up one.
        None if url.starts_with(simulated) => Ok("simulated"),
        None => Err(Failure::settings(anyhow::anyhow!(
            "expected Finnhub's token in `TICKGATE_FINNHUB__TOKEN` or a file with it in \
             `TICKGATE_FINNHUB__TOKEN_FILE`, found none; only a `{simulated}` feed (the simulator) needs none"
        ))),
    }
}
