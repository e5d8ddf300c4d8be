//! The client of Finnhub's REST quotes: asks for every symbol in turn, and hands on what is new.
//!
//! Promises: the plan's limits are kept over all symbols together (`schedule`); a server that asks for
//! patience, or is in trouble, is left alone by all of them; a quote whose time has not advanced is not handed
//! on again; what is wrong with a symbol is said once; an answer that came is handed on before anything more is
//! asked for. Deliberately not in here: logs, metrics, Kafka.

mod rest;
mod schedule;

use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, RngExt};
use tokio::sync::mpsc::{OwnedPermit, Sender};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use self::rest::{BadRest, Refusal, Rest};
pub use self::schedule::Limits;
use self::schedule::{Schedule, Turn};
use super::message::NotATradeReason;
use super::quote::{Answer, Moment};

/// Waits of a server in trouble: the first, and the longest.
const TROUBLE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Waits at a limit without a word about how long.
const LIMITED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));
/// Waits when the token is refused: people have to do something.
const REFUSED: (Duration, Duration) = (Duration::from_secs(30), Duration::from_mins(5));
/// What is added at most to a pause that the server asked for, so that not all of its clients come at once.
const SPREAD_MAX: Duration = Duration::from_secs(1);

/// What an answer, or the lack of one, means.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// The symbol that was asked for.
    pub symbol: Arc<str>,
    /// What came of it.
    pub outcome: Outcome,
    /// The call began before the last pause was decided on: it says nothing of how things are since.
    pub is_old: bool,
}

/// What came of one call.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A quote that is news: its record's value on `staging`.
    New(Vec<u8>),
    /// The last quote is still the last.
    Unchanged,
    /// Zeros or nulls; `first` when it wasn't so the last time.
    Unknown {
        /// Whether this is to be said.
        first: bool,
    },
    /// Status 403 for this symbol; `first` likewise.
    Denied {
        /// Whether this is to be said.
        first: bool,
    },
    /// An answer that is no quote.
    Unreadable {
        /// As it came.
        bytes: Vec<u8>,
        /// Why.
        reason: NotATradeReason,
    },
    /// No answer; nothing is asked for before the time is over.
    Paused {
        /// Why.
        refusal: Refusal,
        /// For how long.
        retry_in: Duration,
    },
}

/// Follows quotes; keeps what it knows of limits and of symbols between runs.
#[derive(Debug)]
pub struct Poller {
    rest: Rest,
    symbols: Vec<Followed>,
    schedule: Schedule,
    /// Pauses in a row without an answer between them.
    troubles: u32,
    /// When the last pause was decided on: calls that began before it say nothing new.
    paused_at: Option<Instant>,
    /// Denials in a row.
    denials: usize,
}

/// One symbol.
#[derive(Debug)]
struct Followed {
    name: Arc<str>,
    /// When its last quote was.
    last: Option<Moment>,
    is_unknown: bool,
    is_denied: bool,
}

/// A call that is over.
struct Call {
    symbol: usize,
    began: Instant,
    answer: Result<Vec<u8>, Refusal>,
    /// Room for the one event that it becomes.
    room: OwnedPermit<Event>,
}

impl Poller {
    /// Follows `symbols`, all new to it.
    pub fn new(rest: Rest, symbols: &[String], limits: Limits) -> Self {
        let follow = |name: &String| Followed {
            name: Arc::from(name.as_str()),
            last: None,
            is_unknown: false,
            is_denied: false,
        };
        Self {
            rest,
            schedule: Schedule::new(symbols.len(), limits, Instant::now()),
            symbols: symbols.iter().map(follow).collect(),
            troubles: 0,
            paused_at: None,
            denials: 0,
        }
    }

    /// Asks, again and again, until whoever receives the events is gone or has closed the channel. `chance`
    /// draws the jitter.
    pub async fn run(&mut self, mut chance: impl Rng, events: Sender<Event>) {
        // Dropping the calls ends them: what they would have been told was not received. A run that was itself
        // dropped has left some.
        self.schedule.give_up(Instant::now());
        let mut calls = JoinSet::new();
        while self.step(&mut chance, &events, &mut calls).await.is_some() {}
    }

    /// Starts one call, or waits for one or for its time; `None` when nobody receives any more.
    async fn step(
        &mut self,
        chance: &mut impl Rng,
        events: &Sender<Event>,
        calls: &mut JoinSet<Call>,
    ) -> Option<()> {
        // Room first, so that every answer can be handed on.
        let room = tokio::select! {
            biased;
            Some(Ok(call)) = calls.join_next(), if !calls.is_empty() => {
                self.answered(call, chance);
                return Some(());
            }
            room = events.clone().reserve_owned() => room.ok()?,
        };
        let wait = match self.schedule.turn(Instant::now()) {
            Turn::Ask(symbol) => {
                let (rest, name) = (self.rest.clone(), self.symbols[symbol].name.clone());
                let began = Instant::now();
                calls.spawn(async move {
                    let answer = rest.quote(&name).await;
                    Call { symbol, began, answer, room }
                });
                return Some(());
            }
            Turn::Wait(at) => Some(at),
            Turn::WaitForAnswer => None,
        };
        let waited = async {
            match wait {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = waited => {}
            Some(Ok(call)) = calls.join_next(), if !calls.is_empty() => self.answered(call, chance),
            () = events.closed() => return None,
        }
        Some(())
    }

    fn answered(&mut self, call: Call, chance: &mut impl Rng) {
        let Call { symbol, began, answer, room } = call;
        let now = Instant::now();
        let outcome = match answer {
            Ok(bytes) => {
                (self.troubles, self.denials) = (0, 0);
                self.schedule.answered(symbol, now);
                self.symbols[symbol].learn(bytes)
            }
            Err(Refusal::Denied) if self.denials + 1 < self.symbols.len() => {
                self.denials += 1;
                self.schedule.answered(symbol, now);
                Outcome::Denied { first: !std::mem::replace(&mut self.symbols[symbol].is_denied, true) }
            }
            Err(refusal) => {
                self.schedule.failed(symbol, now);
                let retry_in = self.pause(&refusal, began, now, chance);
                Outcome::Paused { refusal, retry_in }
            }
        };
        let is_old = self.paused_at.is_some_and(|paused| began < paused);
        room.send(Event { symbol: self.symbols[symbol].name.clone(), outcome, is_old });
    }

    /// Decides on a pause for all symbols; returns how long it is.
    fn pause(&mut self, refusal: &Refusal, began: Instant, now: Instant, chance: &mut impl Rng) -> Duration {
        let is_news = self.paused_at.is_none_or(|paused| began >= paused);
        let times = if is_news { self.troubles } else { self.troubles.saturating_sub(1) };
        let (first, longest) = match refusal {
            Refusal::Limited { .. } => LIMITED,
            Refusal::Unauthorized | Refusal::Denied => REFUSED,
            _ => TROUBLE,
        };
        let retry_in = if let Refusal::Limited { retry_after: Some(wanted) } = refusal {
            *wanted + SPREAD_MAX.min(*wanted / 10).mul_f64(chance.random_range(0.0..=1.0))
        } else {
            let wait = first.saturating_mul(2_u32.saturating_pow(times)).min(longest);
            wait.mul_f64(chance.random_range(0.5..=1.0))
        };
        if is_news {
            self.troubles = self.troubles.saturating_add(1);
            self.paused_at = Some(now);
        }
        self.schedule.pause(now + retry_in);
        retry_in
    }
}

impl Followed {
    fn learn(&mut self, bytes: Vec<u8>) -> Outcome {
        self.is_denied = false;
        let (moment, value) = match Answer::read(&bytes) {
            Answer::Unknown => {
                return Outcome::Unknown { first: !std::mem::replace(&mut self.is_unknown, true) };
            }
            Answer::Unreadable(bad) => {
                let reason = bad.reason;
                return Outcome::Unreadable { bytes, reason };
            }
            Answer::Quote(quote) => (quote.moment(), quote.staging_value(&self.name)),
        };
        self.is_unknown = false;
        if self.last.as_ref().is_some_and(|last| !moment.is_after(last)) {
            return Outcome::Unchanged;
        }
        self.last = Some(moment);
        Outcome::New(value)
    }
}
