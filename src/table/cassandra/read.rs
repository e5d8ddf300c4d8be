//! What is in the tables, for an audit: all of it, a page at a time.

use futures_util::TryStreamExt as _;
use scylla::errors::PagerExecutionError;
use scylla::statement::{Consistency, Statement};
use scylla::value::{CqlDate, CqlDecimal, CqlTimestamp};

use super::session::Cassandra;
use crate::model::Source;
use crate::model::row::{StoredDecimal, StoredLatest, StoredRow};

/// Rows of one page.
const PAGE_ROWS: i32 = 2_000;
/// 1970-01-01 as CQL's `date` counts days.
pub(super) const DAY_ZERO: i64 = 1 << 31;

/// Tables that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("`{table}` can't be read ({cause})")]
pub struct ReadError {
    table: String,
    cause: String,
}

impl ReadError {
    pub(super) fn of(table: &str, cause: String) -> Self {
        Self { table: table.to_owned(), cause }
    }
}

type StockColumns = (
    String,
    CqlDate,
    CqlTimestamp,
    i32,
    i64,
    Option<CqlDecimal>,
    Option<CqlDecimal>,
    Option<i64>,
    Option<i64>,
);
type Quote = (Option<i64>, Option<CqlTimestamp>, Option<CqlDecimal>, Option<CqlDecimal>);

impl Cassandra {
    /// Every row of `stock`, in no order.
    pub async fn read_stock(&self, mut each: impl FnMut(StoredRow)) -> Result<(), ReadError> {
        let table = format!("{}.stock", self.keyspace);
        let failed = |cause: String| ReadError { table: table.clone(), cause };
        let cql = format!(
            "SELECT symbol, day, timestamp, source_partition, source_offset, last_price, volume, \
             WRITETIME(last_price), WRITETIME(volume) FROM {table}"
        );
        let pager = self.scan(cql).await.map_err(|error| failed(error.to_string()))?;
        let mut rows = pager.rows_stream::<StockColumns>().map_err(|error| failed(error.to_string()))?;
        while let Some(columns) = rows.try_next().await.map_err(|error| failed(error.to_string()))? {
            let (symbol, day, time, partition, offset, price, volume, price_time, volume_time) = columns;
            each(StoredRow {
                symbol,
                day: i64::from(day.0) - DAY_ZERO,
                time_ms: time.0,
                source: Source { partition, offset },
                last_price: price.map(stored).zip(price_time),
                volume: volume.map(stored).zip(volume_time),
            });
        }
        Ok(())
    }

    /// Every row of `latest`, in no order.
    pub async fn read_latest(&self, mut each: impl FnMut(StoredLatest)) -> Result<(), ReadError> {
        let table = format!("{}.latest", self.keyspace);
        let failed = |cause: String| ReadError { table: table.clone(), cause };
        let cql = format!("SELECT symbol, quote, WRITETIME(quote) FROM {table}");
        let pager = self.scan(cql).await.map_err(|error| failed(error.to_string()))?;
        let rows = pager.rows_stream::<(String, Option<Quote>, Option<i64>)>();
        let mut rows = rows.map_err(|error| failed(error.to_string()))?;
        while let Some((symbol, quote, written)) =
            rows.try_next().await.map_err(|error| failed(error.to_string()))?
        {
            let whole = |(offset, time, price, volume): Quote| {
                Some((offset?, time?.0, stored(price?), stored(volume?), written?))
            };
            each(StoredLatest { symbol, quote: quote.and_then(whole) });
        }
        Ok(())
    }

    async fn scan(&self, cql: String) -> Result<scylla::client::pager::QueryPager, PagerExecutionError> {
        let mut statement = Statement::new(cql).with_page_size(PAGE_ROWS);
        // Not the consistency of the writes: some of those are none for reads.
        statement.set_consistency(Consistency::LocalQuorum);
        self.session.query_iter(statement, ()).await
    }
}

pub(super) fn stored(decimal: CqlDecimal) -> StoredDecimal {
    decimal.into_signed_be_bytes_and_exponent()
}
