//! The yardstick: what the driver does when nobody asks anything of it but to insert. No Kafka, no retries, no
//! look at what came of a row but whether it was acknowledged; rows are made where they are written.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::Context;
use scylla::{
    client::{session::Session, session_builder::SessionBuilder},
    statement::prepared::PreparedStatement,
    value::{CqlDate, CqlDecimal, CqlTimestamp},
};
use tickgate::model::{Row, row::cql_decimal};

use rust_decimal::Decimal;

use crate::rows::Rows;

/// Where rows go, and how many at a time.
pub(crate) struct Inserts<'a> {
    pub(crate) contact_point: &'a str,
    pub(crate) keyspace: &'a str,
    pub(crate) in_flight: usize,
}

/// A connected driver with the sink's own statements.
struct Writer {
    session: Session,
    stock: PreparedStatement,
    latest: Option<PreparedStatement>,
}

impl Inserts<'_> {
    /// Inserts all rows: so many loops at once, each with one row under way.
    pub(crate) async fn run(&self, rows: Rows, latest_too: bool) -> anyhow::Result<()> {
        let writer = Arc::new(self.connect(latest_too).await?);
        let next = Arc::new(AtomicU64::new(0));
        let loops: Vec<_> = (0..self.in_flight)
            .map(|_| {
                let (writer, next) = (Arc::clone(&writer), Arc::clone(&next));
                tokio::spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= rows.count {
                            return anyhow::Ok(());
                        }
                        writer.insert(&rows.row(number)).await?;
                    }
                })
            })
            .collect();
        for inserting in loops {
            inserting.await??;
        }
        Ok(())
    }

    async fn connect(&self, latest_too: bool) -> anyhow::Result<Writer> {
        let session = SessionBuilder::new().known_node(self.contact_point).build().await?;
        let keyspace = self.keyspace;
        let stock = session
            .prepare(format!(
                "INSERT INTO {keyspace}.stock \
                 (symbol, day, timestamp, source_partition, source_offset, last_price, volume) \
                 VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
            ))
            .await?;
        let latest = format!("INSERT INTO {keyspace}.latest (symbol, quote) VALUES (?, ?) USING TIMESTAMP ?");
        let latest = if latest_too { Some(session.prepare(latest).await?) } else { None };
        Ok(Writer { session, stock, latest })
    }
}

impl Writer {
    async fn insert(&self, row: &Row) -> anyhow::Result<()> {
        let time = CqlTimestamp(row.event_time.0);
        let (price, volume, at) = (decimal(row.last_price), decimal(row.volume), row.write_time_us());
        let (partition, offset) = (row.source.partition, row.source.offset);
        let values = (&row.symbol, date(row.day()), time, partition, offset, &price, &volume, at);
        self.session.execute_unpaged(&self.stock, values).await.context("inserting into stock")?;
        if let Some(latest) = &self.latest {
            let values = (&row.symbol, (offset, time, &price, &volume), at);
            self.session.execute_unpaged(latest, values).await.context("inserting into latest")?;
        }
        Ok(())
    }
}

/// A day as CQL counts it: 1970-01-01 is 2^31.
pub(crate) fn date(day: i64) -> CqlDate {
    CqlDate(u32::try_from(day + (1 << 31)).expect("a day of our time"))
}

fn decimal(number: Decimal) -> CqlDecimal {
    let (unscaled, scale) = cql_decimal(number);
    CqlDecimal::from_signed_be_bytes_and_exponent(unscaled, scale)
}
