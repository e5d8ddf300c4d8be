//! The past of one symbol, for the page: newest first and no more than is asked for, or the first quote of a day.

use futures_util::TryStreamExt as _;
use rust_decimal::Decimal;
use scylla::client::pager::TypedRowStream;
use scylla::statement::{Consistency, Statement};
use scylla::value::{CqlDate, CqlDecimal, CqlTimestamp};

use super::read::{DAY_ZERO, ReadError, stored};
use super::session::Cassandra;
use crate::model::row::decimal_of;

/// Rows of one page.
const PAGE_ROWS: i32 = 5_000;
const DAY_MS: i64 = 86_400_000;

/// A row of `stock`, as far as the page shows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The event time, in ms since 1970.
    pub time_ms: i64,
    /// The price, every digit.
    pub price: Decimal,
    /// The volume, likewise.
    pub volume: Decimal,
}

impl Cassandra {
    /// The rows of one symbol and day (in days since 1970, UTC) from `from_ms` on, newest first, until `each` says
    /// `false`. Rows without price or volume, and with digits that are none of ours, are left out. One copy's answer is
    /// enough.
    pub async fn read_day(
        &self,
        symbol: &str,
        day: i64,
        from_ms: i64,
        mut each: impl FnMut(Point) -> bool,
    ) -> Result<(), ReadError> {
        let mut rows = self.rows_of(symbol, day, from_ms, "").await?;
        while let Some(row) = rows.try_next().await.map_err(|error| self.unread(&error))? {
            if point(row).is_some_and(|point| !each(point)) {
                break;
            }
        }
        Ok(())
    }

    /// The first row of a symbol and day; none where there is none, or where it is left out.
    pub async fn first_of_day(&self, symbol: &str, day: i64) -> Result<Option<Point>, ReadError> {
        let mut rows =
            self.rows_of(symbol, day, day.saturating_mul(DAY_MS), "ORDER BY timestamp ASC LIMIT 1").await?;
        let first = rows.try_next().await.map_err(|error| self.unread(&error))?;
        Ok(first.and_then(point))
    }

    /// Whether a node answers.
    pub async fn ping(&self) -> Result<(), ReadError> {
        let asked = self.session.query_unpaged("SELECT release_version FROM system.local", ()).await;
        asked.map(drop).map_err(|error| self.unread(&error))
    }

    async fn rows_of(
        &self,
        symbol: &str,
        day: i64,
        from_ms: i64,
        which: &str,
    ) -> Result<TypedRowStream<Columns>, ReadError> {
        let cql = format!(
            "SELECT timestamp, last_price, volume FROM {}.stock \
             WHERE symbol = ? AND day = ? AND timestamp >= ? {which}",
            self.keyspace
        );
        let mut statement = Statement::new(cql).with_page_size(PAGE_ROWS);
        statement.set_consistency(Consistency::LocalOne);
        // A day that CQL cannot say has no rows.
        let date = CqlDate(u32::try_from(day + DAY_ZERO).unwrap_or(u32::MAX));
        let pager = self.session.query_iter(statement, (symbol, date, CqlTimestamp(from_ms))).await;
        pager.map_err(|error| self.unread(&error))?.rows_stream().map_err(|error| self.unread(&error))
    }

    fn unread(&self, cause: &impl ToString) -> ReadError {
        ReadError::of(&format!("{}.stock", self.keyspace), cause.to_string())
    }
}

/// `timestamp`, `last_price` and `volume`.
type Columns = (CqlTimestamp, Option<CqlDecimal>, Option<CqlDecimal>);

fn point((time, price, volume): Columns) -> Option<Point> {
    let exact = |number: Option<CqlDecimal>| decimal_of(&stored(number?));
    Some(Point { time_ms: time.0, price: exact(price)?, volume: exact(volume)? })
}
