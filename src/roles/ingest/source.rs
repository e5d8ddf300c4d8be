//! Which feed runs, and whether it does: it can be held and let go again and again.
//!
//! Promises: one feed runs at a time; what it had received before it was let go still comes out, and
//! [`Event::LetGo`] only after its connections are closed. Deliberately not in here: what events mean, and
//! who decides to hold the feed.

use std::future::pending;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;

use super::Failure;
use crate::config::{FinnhubConfig, Secret, expand_symbols};
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
    /// The feed was let go: all that it had received has been yielded, and its connections are closed.
    LetGo,
    /// The feed has ended by itself.
    Over,
}

/// A feed, held or not.
pub(super) struct Source {
    settings: stream::Settings,
    /// Of the feed that runs, or that was let go and is not drained yet.
    events: Option<mpsc::Receiver<stream::Event>>,
    /// What the next feed runs under, once the one before it is over.
    permit: Option<Permit>,
    /// Whether the feed that runs was let go, or has to be.
    is_closing: bool,
    is_leased: bool,
}

/// What a feed runs under: a lease, or nothing.
#[derive(Debug)]
pub(super) struct Permit(pub(super) Option<Held>);

impl Source {
    /// The feed that the settings ask for; it doesn't run yet.
    pub(super) fn new(config: &FinnhubConfig) -> Result<Self, Failure> {
        Ok(Self {
            settings: stream_settings(config)?,
            events: None,
            permit: None,
            is_closing: false,
            is_leased: false,
        })
    }

    /// How many symbols it asks for.
    pub(super) fn symbols(&self) -> usize {
        self.settings.symbols.len()
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
        match events.recv().await {
            Some(event) => Event::Stream(event),
            None => self.ended(),
        }
    }

    /// An event that has been yielded already and waits here.
    pub(super) fn next_now(&mut self) -> Option<Event> {
        let event = self.events.as_mut()?.try_recv().ok()?;
        Some(Event::Stream(event))
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
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let chance = ChaCha8Rng::from_rng(&mut rand::rng());
        let feed = stream::run(self.settings.clone(), chance, sender);
        self.events = Some(events);
        self.is_leased = held.is_some();
        match held {
            // The task has the only clone: the lease is free as soon as the connections are closed.
            Some(held) => drop(tokio::spawn(held.carry_on(feed))),
            None => drop(tokio::spawn(feed)),
        }
    }
}

fn stream_settings(finnhub: &FinnhubConfig) -> Result<stream::Settings, Failure> {
    let token = finnhub.token.as_ref().map(Secret::reveal);
    // A simulator takes any token; the real feed is not to be bothered with a made-up one.
    let token = match token {
        Some(token) => token,
        None if finnhub.url.starts_with("ws://") => "simulated",
        None => {
            return Err(Failure::settings(anyhow::anyhow!(
                "expected Finnhub's token in `TICKGATE_FINNHUB__TOKEN` or a file with it in \
                 `TICKGATE_FINNHUB__TOKEN_FILE`, found none; only a `ws://` feed (the simulator) needs none"
            )));
        }
    };
    Ok(stream::Settings {
        endpoint: Endpoint::new(&finnhub.url, token).map_err(Failure::settings)?,
        symbols: expand_symbols(&finnhub.symbols),
        silent_after: finnhub.silent_after,
        connect_timeout: CONNECT_TIMEOUT,
        backoff: BackoffSettings::default(),
    })
}
