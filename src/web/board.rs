//! What the page shows, shared by those who feed it and those who ask. Clones are the same board.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::sync::{Semaphore, broadcast};

use super::market::{Market, Trade};
use super::pipeline::{Answer, Pipeline};
use super::quality::{BadRecord, Quality};
use crate::config::{Config, HistoryKind};
use crate::core::Classes;
use crate::model::{Kind, WallTime};
use crate::query::SymbolState;
use crate::table::cassandra::Cassandra;
use crate::telemetry::health::Readiness;
use crate::telemetry::metrics::ServeMetrics;

/// Changes are told so often.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// The standing of the parts is told so often, changed or not: a page knows by it that it is alive.
const STATUS_EVERY: Duration = Duration::from_secs(2);
/// What a slow reader may be behind, in frames, before it has to start anew.
const FRAMES_MAX: usize = 128;
/// Rows of one frame at most; a change of more of them goes into several.
const FRAME_ROWS_MAX: usize = 2_000;

/// One event for everybody who listens.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The event's name.
    pub event: &'static str,
    /// Its data, JSON on one line.
    pub data: Arc<str>,
}

/// What the settings say, as far as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The group of the gate.
    pub group: String,
    /// Where charts have the past from: `memory` or `cassandra`.
    pub history: &'static str,
    /// How far back the topics were read at the start, in milliseconds, and at most how many records of each.
    pub look_back_ms: u64,
    /// See there.
    pub look_back_records: u32,
}

/// All that is shown.
#[derive(Debug, Clone)]
pub struct Board {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    market: Mutex<Market>,
    quality: Mutex<Quality>,
    pipeline: Mutex<Pipeline>,
    table: Mutex<Option<Arc<Cassandra>>>,
    read_since: Mutex<Option<WallTime>>,
    frames: broadcast::Sender<Frame>,
    pub(super) streams: Arc<Semaphore>,
    pub(super) readings: Semaphore,
    pub(super) shown: Shown,
    pub(super) readiness: Readiness,
    pub(super) metrics: ServeMetrics,
}

impl Shown {
    /// The settings' own.
    pub fn of(config: &Config) -> Self {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            group: config.process.group.clone(),
            history: match config.serve.history {
                HistoryKind::Memory => "memory",
                HistoryKind::Cassandra => "cassandra",
            },
            look_back_ms: ms(config.serve.look_back),
            look_back_records: config.serve.look_back_records,
        }
    }
}

impl Board {
    /// An empty one; symbols are held to what their classes say, and at most `streams_max` pages are kept up to date.
    pub fn new(
        shown: Shown,
        classes: Classes,
        streams_max: u32,
        readiness: Readiness,
        metrics: ServeMetrics,
    ) -> Self {
        let shared = Shared {
            market: Mutex::new(Market::new(classes)),
            quality: Mutex::default(),
            pipeline: Mutex::default(),
            table: Mutex::default(),
            read_since: Mutex::default(),
            frames: broadcast::channel(FRAMES_MAX).0,
            streams: Arc::new(Semaphore::new(usize::try_from(streams_max).unwrap_or(usize::MAX))),
            readings: Semaphore::new(4),
            shown,
            readiness,
            metrics,
        };
        Self { shared: Arc::new(shared) }
    }

    /// A record of `stock_data`.
    pub fn trade(&self, trade: &Trade<'_>) {
        self.shared.metrics.records.with_label_values(&["stock_data"]).inc();
        if !trade.marks.is_empty() {
            let mut quality = self.quality();
            trade.marks.iter().for_each(|mark| quality.mark(mark, trade.kafka_ms));
        }
        self.market().trade(trade);
    }

    /// A record of `bad_data`.
    pub fn bad(&self, record: &BadRecord<'_>) {
        self.shared.metrics.records.with_label_values(&["bad_data"]).inc();
        let event = self.quality().bad(record);
        if let Some(event) = event {
            self.market().event(&event);
        }
        if record.kind == Some(Kind::Removed)
            && let Some(symbol) = record.key.and_then(|key| std::str::from_utf8(key).ok())
        {
            self.market().removed(symbol, record.time_ms);
        }
    }

    /// What the gate remembers of symbols; whether there is room for more of them.
    pub fn remembered(&self, symbols: &[SymbolState]) -> bool {
        let mut market = self.market();
        for state in symbols {
            market.remembered(state);
        }
        market.has_room()
    }

    /// What an instance answered.
    pub fn told(&self, address: &str, answer: Result<Answer, String>) {
        self.pipeline().told(address, WallTime::now().0, answer);
    }

    /// Nobody asks that address any more.
    pub fn forget(&self, address: &str) {
        self.pipeline().forget(address);
    }

    /// The past can be asked of this table from now on.
    pub fn set_table(&self, table: Cassandra) {
        *lock(&self.shared.table) = Some(Arc::new(table));
    }

    /// What is read of the topics goes back to there.
    pub fn set_read_since(&self, since: WallTime) {
        *lock(&self.shared.read_since) = Some(since);
        self.market().set_read_since(since.0);
    }

    /// Tells everybody who listens what has changed, for ever.
    pub async fn tell(&self) {
        let mut tick = tokio::time::interval(TELL_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let (mut quality, mut pipeline) = (0, 0);
        let mut status_at = tokio::time::Instant::now();
        loop {
            tick.tick().await;
            self.tell_changes();
            let now = self.quality().version();
            if now != quality {
                quality = now;
                self.send("quality", json!({ "version": now }).to_string());
            }
            let now = self.pipeline().version();
            if now != pipeline {
                pipeline = now;
                self.send("pipeline", json!({ "version": now }).to_string());
            }
            if status_at <= tokio::time::Instant::now() {
                status_at += STATUS_EVERY;
                self.send("status", self.status().to_string());
            }
        }
    }

    fn tell_changes(&self) {
        let (version, rows) = self.market().take_changes(WallTime::now().0);
        for rows in rows.chunks(FRAME_ROWS_MAX) {
            // Nobody listens: the changes are in the rows that whoever comes will ask for.
            if self.shared.frames.receiver_count() > 0 {
                self.send("markets", json!({ "version": version, "symbols": rows }).to_string());
            }
        }
    }

    fn send(&self, event: &'static str, data: String) {
        let _ = self.shared.frames.send(Frame { event, data: data.into() });
    }

    /// Who calls gets every frame from now on.
    pub(super) fn listen(&self) -> broadcast::Receiver<Frame> {
        self.shared.frames.subscribe()
    }

    /// How all parts are, in JSON.
    pub(super) fn status(&self) -> serde_json::Value {
        let (symbols, left_out, trades) = self.market().counts();
        let instances = self.pipeline().instances();
        let down: Vec<_> = instances
            .iter()
            .filter(|instance| !instance.is_up)
            .map(|instance| json!({ "address": instance.address, "role": instance.role, "error": instance.error }))
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "now": WallTime::now(),
            "settings": self.shared.shown,
            "read_since": *lock(&self.shared.read_since),
            "is_ready": self.shared.readiness.awaited().is_none(),
            "waits_for": self.shared.readiness.awaited(),
            "symbols": symbols,
            "records_left_out": left_out,
            "trades_read": trades,
            "instances": instances.len(),
            "instances_down": down,
        })
    }

    /// The table, once there is a session.
    pub fn table(&self) -> Option<Arc<Cassandra>> {
        lock(&self.shared.table).clone()
    }

    pub(super) fn market(&self) -> MutexGuard<'_, Market> {
        lock(&self.shared.market)
    }

    pub(super) fn quality(&self) -> MutexGuard<'_, Quality> {
        lock(&self.shared.quality)
    }

    pub(super) fn pipeline(&self) -> MutexGuard<'_, Pipeline> {
        lock(&self.shared.pipeline)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
