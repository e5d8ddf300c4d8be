//! The past of one symbol, for charts: newest first, and no more than is asked for.

use futures_util::TryStreamExt as _;
use scylla::statement::{Consistency, Statement};
use scylla::value::{CqlDate, CqlDecimal, CqlTimestamp};

use super::read::{DAY_ZERO, ReadError};
use super::session::Cassandra;

/// Rows of one page.
const PAGE_ROWS: i32 = 5_000;

/// A row of `stock`, as far as a chart shows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The event time, in ms since 1970.
    pub time_ms: i64,
    /// The price, to the digits that a float has.
    pub price: f64,
    /// The volume, likewise.
    pub volume: f64,
}

impl Cassandra {
    /// The rows of one symbol and day (in days since 1970, UTC) from `from_ms` on, newest first, until `each` says
    /// `false`. Rows without price or volume are left out. One copy's answer is enough.
    pub async fn read_day(
        &self,
        symbol: &str,
        day: i64,
        from_ms: i64,
        mut each: impl FnMut(Point) -> bool,
    ) -> Result<(), ReadError> {
        let table = format!("{}.stock", self.keyspace);
        let failed = |cause: String| ReadError::of(&table, cause);
        let cql = format!(
            "SELECT timestamp, last_price, volume FROM {table} WHERE symbol = ? AND day = ? AND timestamp >= ?"
        );
        let mut statement = Statement::new(cql).with_page_size(PAGE_ROWS);
        statement.set_consistency(Consistency::LocalOne);
        let Ok(date) = u32::try_from(day + DAY_ZERO) else { return Ok(()) };
        let values = (symbol, CqlDate(date), CqlTimestamp(from_ms));
        let pager = self.session.query_iter(statement, values).await;
        let pager = pager.map_err(|error| failed(error.to_string()))?;
        let rows = pager.rows_stream::<(CqlTimestamp, Option<CqlDecimal>, Option<CqlDecimal>)>();
        let mut rows = rows.map_err(|error| failed(error.to_string()))?;
        while let Some((time, price, volume)) =
            rows.try_next().await.map_err(|error| failed(error.to_string()))?
        {
            let Some((price, volume)) = price.zip(volume) else { continue };
            if !each(Point { time_ms: time.0, price: float(price), volume: float(volume) }) {
                break;
            }
        }
        Ok(())
    }
}

#[allow(clippy::cast_precision_loss)] // a chart has fewer digits
fn float(decimal: CqlDecimal) -> f64 {
    let (bytes, places) = decimal.into_signed_be_bytes_and_exponent();
    let sign = if bytes.first().is_some_and(|byte| *byte >= 0x80) { -1.0 } else { 0.0 };
    let unscaled = bytes.iter().fold(sign, |sum, byte| sum * 256.0 + f64::from(*byte));
    unscaled / 10_f64.powi(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_become_floats() {
        let of = |bytes: &[u8], places| {
            float(CqlDecimal::from_signed_be_bytes_and_exponent(bytes.to_vec(), places))
        };
        let pairs = [
            (of(&[0x49, 0xe0], 2), 189.12),
            (of(&[0xff, 0x7f], 0), -129.0),
            (of(&[0], 0), 0.0),
            (of(&[1], -3), 1_000.0),
            (of(&[0, 0x80], 0), 128.0),
        ];
        for (found, expected) in pairs {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }
}
