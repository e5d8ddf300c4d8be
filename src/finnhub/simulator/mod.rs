//! A stand-in for Finnhub: its websocket and its REST quotes in its own wire formats, with faults on demand.
//!
//! Promises: one connection a token (a second closes the first); the sequence of trades follows from the
//! seed; a client that reads slowly slows the market down instead of losing trades, and is let go only
//! when it reads nothing for long. Trades are made while anyone is subscribed. Deliberately not in here:
//! settings files, flags, and the http address of the control endpoint, which are the role's.

mod faults;
mod market;
mod rest;
mod session;
mod walk;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use faults::{FaultKind, NotAPart, NotASilence, Silence, Spoil, UnknownFault, write_trade};
use rest::Desk;
pub use rest::{CallLimits, RestCounts, RestFault, RestFaults};
use session::{End, Session};
pub use walk::{Tick, Walk};

/// How a simulated feed behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The symbols that exist.
    pub symbols: Vec<String>,
    /// Where the random walk starts.
    pub seed: u64,
    /// Trades a second over all symbols; 0 pauses the market.
    pub rate: f64,
    /// Ends the feed after this many trades; connections stay.
    pub trades: Option<u64>,
    /// How often a `ping` is sent; 0 is never.
    pub ping_every: Duration,
    /// Trades to spoil.
    pub spoil: Spoil,
    /// Symbols that fall silent, from the start on.
    pub silences: Vec<Silence>,
    /// Drops every connection so often, without a close frame.
    pub disconnect_every: Option<Duration>,
    /// Stalls every connection so often: nothing more is sent on it, and it stays open.
    pub stall_every: Option<Duration>,
    /// Whether a connection that is taken over is told so, or just cut.
    pub tells_takeover: bool,
    /// Symbols that a connection may subscribe to.
    pub max_symbols: Option<usize>,
    /// Calls of the REST interface.
    pub call_limits: CallLimits,
    /// How often the REST interface has a new quote, in whole seconds.
    pub quote_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            symbols: synthetic_symbols(10),
            seed: 1,
            rate: 200.0,
            trades: None,
            ping_every: Duration::from_secs(10),
            spoil: Spoil::default(),
            silences: Vec::new(),
            disconnect_every: None,
            stall_every: None,
            tells_takeover: true,
            max_symbols: None,
            call_limits: CallLimits { per_minute: 60, per_second: 30 },
            quote_every: Duration::from_secs(1),
        }
    }
}

/// `SYM00001`, `SYM00002`, … as many as asked for.
pub fn synthetic_symbols(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("SYM{n:05}")).collect()
}

/// A running simulator; dropping it ends it and its connections.
pub struct Simulator {
    address: SocketAddr,
    control: Control,
    tasks: JoinSet<()>,
}

impl Simulator {
    /// Listens on `address`, like `127.0.0.1:0` (port 0 takes a free one), and starts the market.
    pub async fn start(address: &str, settings: Settings) -> Result<Self, StartError> {
        if settings.symbols.is_empty() {
            return Err(StartError::NoSymbols);
        }
        let change = Change { rate: Some(settings.rate), ..Change::default() };
        change.check_rate()?;
        settings.spoil.check().map_err(BadChange::from)?;
        let (listener, address) = listen(address).await?;
        let floor = Arc::new(Floor::new(settings));
        let mut tasks = JoinSet::new();
        tasks.spawn(session::accept(listener, floor.clone()));
        tasks.spawn(market::run(floor.clone()));
        tasks.spawn(market::interrupt(floor.clone()));
        Ok(Self { address, control: Control { floor }, tasks })
    }

    /// Listens on `address` for calls of the REST interface, too; returns where.
    pub async fn serve_rest(&mut self, address: &str) -> Result<SocketAddr, StartError> {
        let (listener, address) = listen(address).await?;
        self.tasks.spawn(rest::serve(listener, self.control.floor.clone()));
        Ok(address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What changes a running simulator.
    pub fn control(&self) -> Control {
        self.control.clone()
    }
}

async fn listen(address: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let no_listener = |source| StartError::Listen { address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(no_listener)?;
    let bound = listener.local_addr().map_err(no_listener)?;
    Ok((listener, bound))
}

/// Why a simulator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A market of nothing.
    #[error("expected one symbol at least to simulate, found none")]
    NoSymbols,
    /// A rate or a part out of range.
    #[error(transparent)]
    Settings(#[from] BadChange),
    /// The address is not to be had.
    #[error("the simulator cannot listen on `{address}`: {source}")]
    Listen {
        /// As asked for.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Changes and counts of a running simulator.
#[derive(Clone)]
pub struct Control {
    floor: Arc<Floor>,
}

/// What to change; what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// Trades a second over all symbols.
    pub rate: Option<f64>,
    /// Part of all trades that is spoilt, spread over every kind.
    pub bad: Option<f64>,
    /// Parts per kind of fault; replaces those in force.
    pub kinds: Option<std::collections::BTreeMap<FaultKind, f64>>,
    /// Symbols that fall silent, as `SYMBOL@FROM+FOR` from now on; replaces those in force, so `[]` ends
    /// every silence.
    pub silent: Option<Vec<String>>,
    /// Stalls every connection that is open now.
    pub stall: bool,
    /// Drops every connection that is open now.
    pub disconnect: bool,
    /// Tells every connection that is open now, as an error, what is said here.
    pub complain: Option<String>,
    /// Answers connects with this http status from now on; 0 takes them again.
    pub refuse: Option<u16>,
    /// What happens to the next calls of the REST interface, after those that were told before.
    pub rest: Vec<RestFaults>,
}

/// A change that cannot be made; nothing was changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadChange {
    /// The rate is negative or not a number.
    #[error("expected `rate` to be 0 trades a second or more, found `{0}`")]
    Rate(f64),
    /// The parts of spoilt trades.
    #[error(transparent)]
    Spoil(#[from] NotAPart),
    /// A silence.
    #[error(transparent)]
    Silence(#[from] NotASilence),
}

impl Change {
    fn check_rate(&self) -> Result<(), BadChange> {
        match self.rate {
            Some(rate) if !rate.is_finite() || rate < 0.0 => Err(BadChange::Rate(rate)),
            _ => Ok(()),
        }
    }
}

/// What a simulator has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Trades made by the walk.
    pub made: u64,
    /// Trades handed to a connection, spoilt ones included.
    pub sent: u64,
    /// Trades held back because their symbol is silent.
    pub silenced: u64,
    /// Spoilt trades handed to a connection, by kind.
    pub spoilt: std::collections::BTreeMap<FaultKind, u64>,
    /// Connections open now.
    pub connections: u64,
    /// Symbols subscribed to now, over all connections.
    pub subscriptions: u64,
    /// Connections there have been.
    pub accepted: u64,
    /// Connections that were still open when another one with their token came.
    pub taken_over: u64,
    /// What the REST interface has seen.
    pub rest: RestCounts,
}

impl Control {
    /// Makes a change, whole or not at all.
    pub fn change(&self, change: &Change) -> Result<(), BadChange> {
        let silences = change.silent.as_ref().map(|silent| {
            silent.iter().map(|text| text.parse()).collect::<Result<Vec<Silence>, NotASilence>>()
        });
        let silences = silences.transpose()?;
        change.check_rate()?;
        {
            let mut rules = self.floor.rules();
            let spoil = Spoil {
                bad: change.bad.unwrap_or(rules.spoil.bad),
                kinds: change.kinds.clone().unwrap_or_else(|| rules.spoil.kinds.clone()),
            };
            spoil.check()?;
            rules.spoil = spoil;
            rules.rate = change.rate.unwrap_or(rules.rate);
            rules.refuse =
                change.refuse.map_or(rules.refuse, |status| Some(status).filter(|status| *status > 0));
            if let Some(silences) = &silences {
                rules.silent = self.floor.silent_spans(silences);
            }
        }
        self.floor.desk().add(&change.rest);
        if let Some(words) = &change.complain {
            self.floor.complain(words);
        }
        if change.stall {
            self.floor.stall_all();
        }
        if change.disconnect {
            self.floor.end_all(End::Dropped);
        }
        Ok(())
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        let mut counts = self.floor.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sessions = self.floor.sessions();
        counts.rest = self.floor.desk().counts();
        counts.connections = sessions.len() as u64;
        counts.subscriptions = sessions.values().map(|session| session.subscriptions()).sum();
        counts
    }
}

/// What the tasks of a simulator share.
struct Floor {
    settings: Settings,
    index: HashMap<String, usize>,
    rules: Mutex<Rules>,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    counts: Mutex<Counts>,
    desk: Mutex<Desk>,
    next_session: AtomicU64,
}

/// What a change can change.
struct Rules {
    rate: f64,
    spoil: Spoil,
    silent: Vec<SilentSpan>,
    /// The http status that connects are answered with, if they are refused.
    refuse: Option<u16>,
}

#[derive(Clone, Copy)]
struct SilentSpan {
    symbol: usize,
    from: Instant,
    until: Option<Instant>,
}

impl Floor {
    fn new(settings: Settings) -> Self {
        let index = settings.symbols.iter().enumerate().map(|(at, symbol)| (symbol.clone(), at)).collect();
        let rules =
            Rules { rate: settings.rate, spoil: settings.spoil.clone(), silent: Vec::new(), refuse: None };
        let floor = Self {
            index,
            rules: Mutex::new(rules),
            sessions: Mutex::default(),
            counts: Mutex::default(),
            desk: Mutex::default(),
            next_session: AtomicU64::new(0),
            settings,
        };
        let silent = floor.silent_spans(&floor.settings.silences);
        floor.rules().silent = silent;
        floor
    }

    /// Silences counted from now; those of unknown symbols silence nothing.
    fn silent_spans(&self, silences: &[Silence]) -> Vec<SilentSpan> {
        let now = Instant::now();
        let span = |silence: &Silence| {
            let from = now.checked_add(silence.from)?;
            let until = silence.lasts.and_then(|lasts| from.checked_add(lasts));
            Some(SilentSpan { symbol: *self.index.get(&silence.symbol)?, from, until })
        };
        silences.iter().filter_map(span).collect()
    }

    // No thread panics while it holds one of these, so what is behind the lock is whole.
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a connection of `token`; the one before it ends.
    fn enter(&self, token: &str, session: &Arc<Session>) {
        let before = self.sessions().insert(token.to_owned(), session.clone());
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.accepted += 1;
        if let Some(before) = before {
            counts.taken_over += 1;
            before.end(End::TakenOver);
        }
    }

    fn leave(&self, token: &str, session: &Session) {
        let mut sessions = self.sessions();
        if sessions.get(token).is_some_and(|current| current.id == session.id) {
            sessions.remove(token);
        }
    }

    fn listeners(&self) -> Vec<Arc<Session>> {
        let sessions = self.sessions();
        sessions.values().filter(|session| !session.is_stalled()).cloned().collect()
    }

    fn complain(&self, words: &str) {
        self.sessions().values().for_each(|session| session.complain(words));
    }

    fn stall_all(&self) {
        self.sessions().values().for_each(|session| session.stall());
    }

    fn end_all(&self, end: End) {
        self.sessions().values().for_each(|session| session.end(end));
    }

    fn session_id(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }
}
