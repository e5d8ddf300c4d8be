//! Records for staging: good ones, bad ones, tombstones, late ones, equal times.

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tickgate::model::{EventTime, Partition, partition_of};

use crate::journal::{Staged, Truth};
use crate::schedule::Schedule;

/// Makes the records of one seed.
#[derive(Debug)]
pub struct Feed {
    symbols: Vec<Arc<str>>,
    partitions: i32,
    bad: u32,
    removals: u32,
    last: Vec<i64>,
}

const BROKEN: [&str; 6] = [
    "",
    "{",
    "[]",
    r#"{"symbol":"S0"}"#,
    r#"{"symbol":"S0","last_price":-1,"volume":1,"timestamp":"2026-11-22T14:00:00Z"}"#,
    r#"{"symbol":"S0","last_price":null,"volume":"1","timestamp":"yesterday"}"#,
];

impl Feed {
    pub fn new(schedule: &Schedule) -> Self {
        let symbols: Vec<Arc<str>> = (0..schedule.symbols).map(|at| format!("S{at}").into()).collect();
        Self {
            last: vec![0; symbols.len()],
            symbols,
            partitions: schedule.partitions,
            bad: schedule.bad,
            removals: schedule.removals,
        }
    }

    /// One record and its partition. `wall_ms` is the brokers' time.
    pub fn draw(&mut self, rng: &mut ChaCha8Rng, wall_ms: i64) -> (Partition, Staged) {
        let which = rng.random_range(0..self.symbols.len());
        let symbol = self.symbols[which].clone();
        let mut partition = partition_of(symbol.as_bytes(), self.partitions);
        if rng.random_ratio(1, 40) {
            partition = rng.random_range(0..self.partitions);
        }
        let key = Some(symbol.as_bytes().to_vec());
        let staged = |value: Option<Vec<u8>>, truth| Staged { key, value, kafka_time: wall_ms, truth };
        if rng.random_ratio(self.bad, 1_000) {
            return (partition, bad(rng, staged, &symbol, wall_ms));
        }
        if rng.random_ratio(self.removals, 1_000) {
            return (partition, staged(None, Truth::Tombstone { symbol }));
        }
        let time = match rng.random_range(0..20) {
            0 => self.last[which].max(1),
            1 => wall_ms - rng.random_range(0..90_000),
            2 => wall_ms + 5_000,
            _ => wall_ms - rng.random_range(0..2_000),
        };
        self.last[which] = time;
        // Every other price is the same one, so that some stand still for long, and some jump.
        let cents = Some(rng.random_range(100..200)).filter(|cents| *cents >= 150).unwrap_or(120);
        let value = Some(quote(&symbol, time, cents));
        if rng.random_ratio(1, 100) {
            return (partition, staged(value, Truth::Unsendable { at_once: rng.random_bool(0.5) }));
        }
        (partition, staged(value, Truth::Quote { symbol, time, cents }))
    }
}

fn bad(
    rng: &mut ChaCha8Rng,
    staged: impl FnOnce(Option<Vec<u8>>, Truth) -> Staged,
    symbol: &str,
    wall_ms: i64,
) -> Staged {
    let value = match rng.random_range(0..BROKEN.len() + 2) {
        at if at < BROKEN.len() => BROKEN[at].as_bytes().to_vec(),
        at if at == BROKEN.len() => quote(symbol, wall_ms + 5_001, 100),
        _ => quote("another", wall_ms, 100),
    };
    staged(Some(value), Truth::Bad)
}

pub fn quote(symbol: &str, time: i64, cents: i64) -> Vec<u8> {
    let (whole, rest, time) = (cents / 100, cents % 100, EventTime(time));
    format!(r#"{{"symbol":"{symbol}","last_price":{whole}.{rest:02},"volume":1,"timestamp":"{time}"}}"#)
        .into_bytes()
}
