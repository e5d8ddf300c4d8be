//! The past of one symbol as bars: from the table, where there is one, put together with what was read here.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;

use super::bars::{self, Bar, FINE_S, Range};
use super::board::Board;
use super::market::{Past, Silence};
use crate::model::{EventTime, WallTime};
use crate::table::cassandra::{Cassandra, Point};

/// Rows of one chart at most; what is older is left out, and said to be.
const ROWS_MAX: usize = 300_000;
/// Days that `all` goes back.
const DAYS_MAX: i64 = 90;
/// Days that are asked for side by side.
const DAYS_AT_ONCE: usize = 6;
/// How long a chart may be waited for.
const READ_TIMEOUT: Duration = Duration::from_secs(8);
const DAY_S: i64 = 86_400;

/// The answer to a question about the past.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct History {
    /// The symbol.
    pub symbol: String,
    /// Which range was asked for.
    pub range: &'static str,
    /// Seconds of a step.
    pub step_s: i64,
    /// Where the bars are from: `cassandra` or `memory`.
    pub source: &'static str,
    /// What is to be known of that, in words.
    pub note: Option<String>,
    /// Where what is complete begins, where the range is not.
    pub complete_from: Option<EventTime>,
    /// Oldest first; steps without a quote are left out.
    pub bars: Vec<Bar>,
    /// Silences that were reported, oldest first.
    pub silences: Vec<Silence>,
}

/// The past of a symbol; none if nobody has ever heard of it.
pub(super) async fn history(board: &Board, symbol: &str, range: Range) -> Option<History> {
    let now_ms = WallTime::now().0;
    let remembered = board.market().past(symbol, range, now_ms, None);
    let wants_table = board.shared.shown.history == "cassandra";
    let (note, told) = match board.table() {
        None if wants_table => (Some("Cassandra has not answered yet".to_owned()), None),
        None => (None, None),
        Some(table) => match stored(board, &table, symbol, range, now_ms.div_euclid(1_000)).await {
            Ok(told) => (None, Some(told)),
            Err(error) => (Some(format!("Cassandra does not answer: {error}")), None),
        },
    };
    let Some(told) = told.filter(|told| remembered.is_some() || !told.bars.is_empty()) else {
        let Past { step_s, bars, silences } = remembered?;
        let what = "only what this page has read of `stock_data`";
        let note = note.map_or_else(|| what.to_owned(), |note| format!("{note}; {what}"));
        let range = range.name();
        let (symbol, source) = (symbol.to_owned(), "memory");
        return Some(History {
            symbol,
            range,
            step_s,
            source,
            note: Some(note),
            complete_from: None,
            bars,
            silences,
        });
    };
    // The sink may be behind what was read here.
    let fresh = board.market().past(symbol, range, now_ms, Some(told.step_s));
    let silences = fresh.as_ref().map(|past| past.silences.clone()).unwrap_or_default();
    let fresh = fresh.filter(|past| past.step_s == told.step_s).map(|past| past.bars).unwrap_or_default();
    let since = told.complete_from.map_or(i64::MIN, |from| from.0.div_euclid(1_000));
    let fresh = fresh.into_iter().filter(|bar| bar.time >= since).collect();
    Some(History {
        symbol: symbol.to_owned(),
        range: range.name(),
        step_s: told.step_s,
        source: "cassandra",
        note: told.complete_from.map(|from| format!("more than {ROWS_MAX} quotes: complete from {from} on")),
        complete_from: told.complete_from,
        bars: bars::fuller(told.bars, fresh),
        silences,
    })
}

struct Told {
    step_s: i64,
    complete_from: Option<EventTime>,
    bars: Vec<Bar>,
}

/// The past as the table has it, newest day first, until there are enough rows.
async fn stored(
    board: &Board,
    table: &Cassandra,
    symbol: &str,
    range: Range,
    now_s: i64,
) -> Result<Told, String> {
    let _turn = board.shared.readings.acquire().await.map_err(|error| error.to_string())?;
    let from_s = range.from_s(now_s).unwrap_or(now_s - DAYS_MAX * DAY_S);
    let mut gathered = Gathered::new(match range {
        Range::Hour => FINE_S,
        Range::Day => 60,
        Range::ThreeDays | Range::All => bars::COARSE_S,
    });
    // Event times may be a little ahead of this clock.
    let days = (from_s.div_euclid(DAY_S)..=(now_s + 60).div_euclid(DAY_S)).rev();
    let each = days.map(async |day| {
        let mut points = Vec::new();
        let take = |point| {
            points.push(point);
            points.len() < ROWS_MAX
        };
        table.read_day(symbol, day, from_s * 1_000, take).await.map(|()| points)
    });
    let reading = async {
        let mut answers = stream::iter(each).buffered(DAYS_AT_ONCE);
        while let Some(points) = answers.next().await {
            for point in points? {
                if !gathered.take(point) {
                    return Ok(());
                }
            }
        }
        Ok(())
    };
    let read = tokio::time::timeout(READ_TIMEOUT, reading).await;
    read.map_err(|_| format!("nothing within {READ_TIMEOUT:?}"))?
        .map_err(|error: crate::table::cassandra::ReadError| error.to_string())?;
    Ok(gathered.into_told(from_s, now_s))
}

/// Rows that come newest first, as bars.
struct Gathered {
    step_s: i64,
    bars: BTreeMap<i64, Bar>,
    rows: usize,
    oldest_ms: i64,
}

impl Gathered {
    fn new(step_s: i64) -> Self {
        Self { step_s, bars: BTreeMap::new(), rows: 0, oldest_ms: i64::MAX }
    }

    /// Takes in a row that is older than all before; whether there is room for more.
    fn take(&mut self, point: Point) -> bool {
        let one = Bar::of(point.time_ms, self.step_s, point.price, point.volume);
        self.bars.entry(one.time).and_modify(|bar| bar.add_earlier(&one)).or_insert(one);
        self.rows += 1;
        self.oldest_ms = point.time_ms;
        !self.is_full()
    }

    fn is_full(&self) -> bool {
        self.rows >= ROWS_MAX
    }

    fn into_told(self, from_s: i64, now_s: i64) -> Told {
        let first_s = self.bars.keys().next().copied().unwrap_or(now_s);
        let step_s = bars::step_for(now_s - first_s.max(from_s), self.step_s);
        let complete_from = self.is_full().then_some(EventTime(self.oldest_ms));
        Told { step_s, complete_from, bars: bars::merge(self.bars.into_values(), step_s) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_decimal::Decimal;

    fn point(time_ms: i64, price: i64) -> Point {
        Point { time_ms, price: price.into(), volume: Decimal::ONE }
    }

    #[test]
    fn rows_that_come_newest_first_make_the_same_bars() {
        let mut gathered = Gathered::new(FINE_S);
        for (time_ms, price) in [(29_000, 5), (25_000, 9), (21_000, 2), (3_000, 7)] {
            assert!(gathered.take(point(time_ms, price)));
        }
        let told = gathered.into_told(0, 30);
        let [open, high, low, close] = [2, 9, 2, 5].map(Decimal::from);
        let last = Bar { time: 20, open, high, low, close, volume: 3.into(), quotes: 3 };
        assert_eq!((told.bars.len(), told.bars[1], told.step_s), (2, last, 10));
        assert_eq!(told.complete_from, None);
    }

    #[test]
    fn a_chart_ends_where_there_is_too_much_of_it() {
        let mut gathered = Gathered::new(FINE_S);
        let taken = (1_i64..).take_while(|n| gathered.take(point(-n, 1)));
        assert_eq!(taken.count(), ROWS_MAX - 1);
        let told = gathered.into_told(-1_000, 0);
        assert_eq!(told.complete_from, Some(EventTime(-i64::try_from(ROWS_MAX).unwrap())));
    }
}
