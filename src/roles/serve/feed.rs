//! One topic, onto the board: a thread that reads, and says when it can't.

use std::time::{Duration, Instant};

use rdkafka::message::{BorrowedMessage, Message as _};

use crate::config::Config;
use crate::core::record::Record;
use crate::journal::kafka::tail::{LookBack, Tail};
use crate::journal::kafka::{client, headers};
use crate::model::headers::{KIND, REJECTION, SRC, SUSPECT};
use crate::model::{Kind, WallTime};
use crate::roles::Shutdown;
use crate::roles::sink::row_of;
use crate::telemetry::health::Readiness;
use crate::telemetry::rarely::{REMINDER_EVERY, Rarely};
use crate::web::{BadRecord, Board, Trade};

/// How long to wait for a record before other things are looked at.
const POLL: Duration = Duration::from_millis(200);
/// How often the brokers are asked whether they are there.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Pause before what failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);

static UNREADABLE: Rarely = Rarely::every(REMINDER_EVERY);

/// A topic and where its records go.
pub(super) struct Feed {
    topic: String,
    is_good: bool,
    part: String,
    config: Config,
    board: Board,
    readiness: Readiness,
    shutdown: Shutdown,
}

impl Feed {
    /// Those of `stock_data` and `bad_data`.
    pub(super) fn both(
        config: &Config,
        board: &Board,
        readiness: &Readiness,
        shutdown: &Shutdown,
    ) -> [Self; 2] {
        // Told before they start: between the two, nobody would seem to be waited for.
        let topics = [(&config.topics.stock_data, true), (&config.topics.bad_data, false)];
        let feeds = topics.map(|(topic, is_good)| {
            let part = format!("kafka ({topic})");
            readiness.awaits(&part, "its first answer");
            Self {
                topic: topic.clone(),
                is_good,
                part,
                config: config.clone(),
                board: board.clone(),
                readiness: readiness.clone(),
                shutdown: shutdown.clone(),
            }
        });
        readiness.met(super::KAFKA);
        feeds
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Reads until it is time to stop.
    pub(super) fn run(&self) {
        let Some(mut tail) = self.start() else { return };
        let mut look_at = Instant::now() + LOOK_EVERY;
        while !self.shutdown.is_requested() {
            match tail.next(POLL) {
                Ok(Some(record)) => self.take(&record),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(topic = self.topic, %error, "reading goes on after an error");
                }
            }
            if look_at <= Instant::now() {
                match tail.look() {
                    Ok(()) => self.readiness.met(&self.part),
                    Err(error) => self.readiness.awaits(&self.part, format!("brokers: {error}")),
                }
                look_at = Instant::now() + LOOK_EVERY;
            }
        }
    }

    fn start(&self) -> Option<Tail> {
        loop {
            let serve = &self.config.serve;
            let look_back = i64::try_from(serve.look_back.as_millis()).unwrap_or(i64::MAX);
            let back = LookBack {
                from_ms: WallTime::now().0.saturating_sub(look_back),
                records: serve.look_back_records,
            };
            let config = client::base_config(&self.config.kafka, "serve");
            match Tail::start(config, &self.topic, back) {
                Ok(tail) => {
                    if self.is_good && !tail.is_cut() {
                        self.board.set_read_since(WallTime(back.from_ms));
                    }
                    self.readiness.met(&self.part);
                    return Some(tail);
                }
                Err(error) => self.readiness.awaits(&self.part, format!("brokers: {error}")),
            }
            if self.shutdown.wait(PAUSE) {
                return None;
            }
        }
    }

    fn take(&self, message: &BorrowedMessage<'_>) {
        let headers = headers::read(message);
        let last =
            |name: &str| headers.iter().rev().flatten().find(|(of, _)| *of == name).and_then(|(_, v)| *v);
        let text = |name: &str| last(name).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let time_ms = message.timestamp().to_millis().unwrap_or_default();
        let (partition, offset) = (message.partition(), message.offset());
        let (key, value) = (message.key(), message.payload());
        if self.is_good {
            let record = Record { partition, offset, kafka_time: Some(time_ms), key, value };
            match row_of(&record, last(SRC)) {
                Ok(row) => {
                    let marks = text(SUSPECT).unwrap_or_default().split(',').filter(|name| !name.is_empty());
                    let trade = Trade {
                        symbol: &row.symbol,
                        price: row.last_price,
                        volume: row.volume,
                        time_ms: row.event_time.0,
                        kafka_ms: time_ms,
                        marks: marks.collect(),
                    };
                    self.board.trade(&trade);
                }
                Err(why) => {
                    if let Some(held_back) = UNREADABLE.admit(Instant::now()) {
                        let (topic, why) = (&self.topic, &why.detail);
                        tracing::warn!(topic, partition, offset, held_back, "a record is not shown: {why}");
                    }
                }
            }
        } else {
            let kind = text(KIND).and_then(Kind::from_name);
            let rejection = last(REJECTION).filter(|_| kind == Some(Kind::Rejected));
            self.board.bad(&BadRecord { partition, offset, time_ms, kind, key, value, rejection });
        }
    }
}
