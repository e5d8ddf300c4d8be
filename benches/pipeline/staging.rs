//! What stands on staging before anybody runs.

use std::time::{SystemTime, UNIX_EPOCH};

use tickgate::model::EventTime;

use crate::job::fill::Filler;
use crate::job::offsets::Offsets;
use crate::job::topics;

/// Where the pass-through writes.
pub(crate) const COPY: &str = "copy";

/// Of 1,000 records this many are bad.
const BAD_PER_1000: u64 = 30;
/// Large batches: nobody waits for a single record.
const LINGER_MS: u32 = 20;

/// What staging holds.
pub(crate) struct Layout {
    pub(crate) records: u64,
    pub(crate) partitions: i32,
    pub(crate) symbols: u64,
}

/// Creates the topics and fills staging; answers staging's end offsets, by partition.
pub(crate) fn prepare(brokers: &str, layout: &Layout) -> anyhow::Result<Vec<i64>> {
    topics::create(brokers, &["stock_data", "bad_data", COPY], layout.partitions)?;
    fill(brokers, layout)?;
    let ends = Offsets::new(brokers, "bench", layout.partitions)?.ends()?;
    let there = ends.iter().sum::<i64>();
    anyhow::ensure!(u64::try_from(there)? == layout.records, "staging holds {there} records");
    Ok(ends)
}

fn fill(brokers: &str, layout: &Layout) -> anyhow::Result<()> {
    let mut filler = Filler::new(brokers, layout.partitions, LINGER_MS)?;
    let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let first_ms = now_ms - i64::try_from(layout.records)?;
    for (event_time, number) in (first_ms..).zip(0..layout.records) {
        let (key, value) = record(number, layout.symbols, EventTime(event_time));
        filler.send(&key, &value)?;
    }
    filler.finish()
}

/// The record's key and value; the same number always gives the same quote.
fn record(number: u64, symbols: u64, time: EventTime) -> (String, String) {
    // Fibonacci hashing: spreads the symbols without repeating their order.
    let chance = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    let symbol = format!("SYM{:05}", chance % symbols);
    let (cents, volume) = (10_000 + chance % 40_000, 1 + chance % 900);
    let price = format!("{}.{:02}", cents / 100, cents % 100);
    let text = |price: &str, time: &str| {
        format!(r#"{{"symbol":"{symbol}","last_price":{price},"volume":{volume},"timestamp":"{time}"}}"#)
    };
    let good = |price: &str| text(price, &time.to_string());
    if number % 1_000 >= BAD_PER_1000 {
        let value = good(&price);
        return (symbol, value);
    }
    let value = match number % 6 {
        0 => good(&format!("-{price}")),
        1 => good("null"),
        2 => good("\"189.12\""),
        3 => text(&price, "2026-11-22 14:00:00"),
        4 => format!(r#"{{"symbol":"{symbol}","volume":{volume},"timestamp":"{time}"}}"#),
        _ => format!(r#"{{"symbol":"{symbol}","last_price":{price}"#),
    };
    (symbol, value)
}
