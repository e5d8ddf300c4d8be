//! The market's clock: makes trades at the set rate, hands them to who subscribed, and interrupts.

use std::fmt::Write as _;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::faults::write_trade;
use super::session::{End, Session};
use super::{FaultKind, Floor, SilentSpan, Tick, Walk};
use crate::model::WallTime;

/// How often trades are made.
const BEAT: Duration = Duration::from_millis(BEAT_MS);
const BEAT_MS: u64 = 10;
/// What a market that was held up makes up for at most.
const ARREARS_MAX: Duration = Duration::from_millis(500);
/// Trades of one message at most.
const TRADES_PER_MESSAGE_MAX: usize = 40;

/// Makes trades while anyone is subscribed, until the simulator is dropped.
pub(super) async fn run(floor: Arc<Floor>) {
    let mut walk = Walk::new(floor.settings.seed, &floor.settings.symbols);
    // A stream of its own: spoiling trades must not change which trades there are.
    let mut chance = ChaCha8Rng::seed_from_u64(floor.settings.seed);
    chance.set_stream(1);
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last = Instant::now();
    let mut owed = 0.0;
    let mut left = floor.settings.trades.unwrap_or(u64::MAX);
    let mut time = WallTime::now().0;
    loop {
        beat.tick().await;
        let passed = last.elapsed().min(ARREARS_MAX);
        last = Instant::now();
        let mut listeners = floor.listeners();
        listeners.retain(|session| session.subscriptions() > 0);
        if listeners.is_empty() || left == 0 {
            owed = 0.0;
            continue;
        }
        let (rate, spoil, silent) = {
            let rules = floor.rules();
            (rules.rate, rules.spoil.clone(), silent_now(&rules.silent))
        };
        owed += rate * passed.as_secs_f64();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // neither negative nor large
        let due = (owed as u64).min(left);
        #[allow(clippy::cast_precision_loss)] // far below 2^52
        {
            owed = (owed - due as f64).min(rate);
        }
        left -= due;
        let mut batch = Vec::new();
        let now = WallTime::now().0;
        for at in 0..due {
            let tick = walk.next_tick();
            if !tick.same_moment {
                // Spread over the beat; never ahead of the clock, never back.
                let spread = i64::try_from(BEAT_MS * (due - at - 1) / due).unwrap_or_default();
                time = time.max(now - spread);
            }
            batch.push(Made { tick, time, fault: spoil.draw(&mut chance) });
        }
        send(&floor, &listeners, &batch, &silent).await;
    }
}

/// Sends pings, and stalls or drops connections so often as the settings say.
pub(super) async fn interrupt(floor: Arc<Floor>) {
    let settings = &floor.settings;
    let every = |period: Option<Duration>| async move {
        match period.filter(|period| !period.is_zero()) {
            Some(period) => tokio::time::sleep(period).await,
            None => std::future::pending().await,
        }
    };
    let pings = async {
        loop {
            every(Some(settings.ping_every)).await;
            let listeners = floor.listeners();
            for session in listeners {
                session.offer(Utf8Bytes::from_static(r#"{"type":"ping"}"#));
            }
        }
    };
    let disconnects = async {
        loop {
            every(settings.disconnect_every).await;
            floor.end_all(End::Dropped);
        }
    };
    let stalls = async {
        loop {
            every(settings.stall_every).await;
            floor.stall_all();
        }
    };
    tokio::join!(pings, disconnects, stalls);
}

/// A trade with its time, in ms since 1970, and its fault.
struct Made {
    tick: Tick,
    time: i64,
    fault: Option<FaultKind>,
}

async fn send(floor: &Floor, listeners: &[Arc<Session>], batch: &[Made], silent: &[usize]) {
    let mut counts = Batch { made: batch.len() as u64, ..Batch::default() };
    for made in batch.chunks(TRADES_PER_MESSAGE_MAX) {
        for session in listeners {
            let mut message = String::with_capacity(made.len() * 80 + 40);
            message.push_str(r#"{"data":["#);
            let mut sent = 0;
            let mut spoilt: Vec<FaultKind> = Vec::new();
            for Made { tick, time, fault } in made {
                if !session.wants(tick.symbol) {
                    continue;
                }
                if silent.contains(&tick.symbol) {
                    counts.silenced += 1;
                    continue;
                }
                if sent > 0 {
                    message.push(',');
                }
                write_trade(&mut message, &floor.settings.symbols[tick.symbol], tick, *time, *fault);
                sent += 1;
                spoilt.extend(fault);
            }
            if sent == 0 {
                continue;
            }
            write!(message, r#"],"type":"trade"}}"#).expect("a string takes every write");
            if session.send(message.into()).await {
                counts.sent += sent;
                counts.spoilt.extend(spoilt);
            }
        }
    }
    let mut all = floor.counts.lock().unwrap_or_else(PoisonError::into_inner);
    all.made += counts.made;
    all.sent += counts.sent;
    all.silenced += counts.silenced;
    for kind in counts.spoilt {
        *all.spoilt.entry(kind).or_default() += 1;
    }
}

/// What one batch adds to the counts.
#[derive(Default)]
struct Batch {
    made: u64,
    sent: u64,
    silenced: u64,
    spoilt: Vec<FaultKind>,
}

fn silent_now(spans: &[SilentSpan]) -> Vec<usize> {
    let now = Instant::now();
    let is_silent = |span: &&SilentSpan| span.from <= now && span.until.is_none_or(|until| now < until);
    spans.iter().filter(is_silent).map(|span| span.symbol).collect()
}
