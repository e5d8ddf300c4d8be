//! One attempt at writing, and what its failure means.
//!
//! Both statements are idempotent: the key and the write time follow from the row.

use scylla::errors::{BadQuery, DbError, ExecutionError, RequestAttemptError};
use scylla::value::{CqlDate, CqlDecimal, CqlTimestamp};

use super::session::Cassandra;
use crate::config::CassandraConfig;
use crate::model::Row;
use crate::model::row::cql_decimal;
use rust_decimal::Decimal;

/// 1970-01-01 as CQL's `date` counts days.
const DAY_ZERO: i64 = 1 << 31;

/// A row that was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It may be taken later. The row may have been written all the same.
    #[error("{reason}: {cause}", reason = .reason.name())]
    Passing {
        /// What stands in the way.
        reason: Reason,
        /// The driver's words.
        cause: String,
    },
    /// The driver can't even send it.
    #[error("{0}")]
    Refused(String),
    /// The statement is invalid, says the node: for this row, or since somebody changed the schema.
    #[error("{0}")]
    Invalid(String),
}

/// What stands in the way of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum Reason {
    Timeout,
    Overloaded,
    Unavailable,
    Connection,
    Unauthorized,
    Other,
}

impl Reason {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::Connection => "connection",
            Self::Unauthorized => "unauthorized",
            Self::Other => "other",
        }
    }
}

impl Cassandra {
    /// Writes a row of `stock`.
    pub async fn write_stock(&self, row: &Row) -> Result<(), WriteError> {
        let values = (
            row.symbol.as_str(),
            date_of(row),
            CqlTimestamp(row.event_time.0),
            row.source.partition,
            row.source.offset,
            decimal(row.last_price),
            decimal(row.volume),
            row.write_time_us(),
        );
        answered(self.session.execute_unpaged(&self.insert_stock, values).await)
    }

    /// Writes the row as its symbol's in `latest`, where it stays if none is newer.
    pub async fn write_latest(&self, row: &Row) -> Result<(), WriteError> {
        let quote =
            (row.source.offset, CqlTimestamp(row.event_time.0), decimal(row.last_price), decimal(row.volume));
        let values = (row.symbol.as_str(), quote, row.write_time_us());
        answered(self.session.execute_unpaged(&self.insert_latest, values).await)
    }
}

pub(super) fn insert_stock(config: &CassandraConfig) -> String {
    format!(
        "INSERT INTO {}.stock (symbol, day, timestamp, source_partition, source_offset, last_price, volume) \
         VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?{}",
        config.keyspace,
        time_to_live(config)
    )
}

pub(super) fn insert_latest(config: &CassandraConfig) -> String {
    format!(
        "INSERT INTO {}.latest (symbol, quote) VALUES (?, ?) USING TIMESTAMP ?{}",
        config.keyspace,
        time_to_live(config)
    )
}

/// What may go away by itself; `None` for what won't.
pub(super) fn reason_of(error: &ExecutionError) -> Option<Reason> {
    match error {
        ExecutionError::RequestTimeout(_) | ExecutionError::SchemaAgreementError(_) => Some(Reason::Timeout),
        ExecutionError::ConnectionPoolError(_) | ExecutionError::EmptyPlan => Some(Reason::Connection),
        ExecutionError::LastAttemptError(attempt) => match attempt {
            RequestAttemptError::DbError(error, _) => reason_of_node(error),
            RequestAttemptError::SerializationError(_) | RequestAttemptError::CqlRequestSerialization(_) => {
                None
            }
            RequestAttemptError::BrokenConnectionError(_) => Some(Reason::Connection),
            RequestAttemptError::UnableToAllocStreamId => Some(Reason::Overloaded),
            _ => Some(Reason::Other),
        },
        ExecutionError::BadQuery(_) => None,
        _ => Some(Reason::Other),
    }
}

fn reason_of_node(error: &DbError) -> Option<Reason> {
    match error {
        DbError::ReadTimeout { .. } | DbError::WriteTimeout { .. } => Some(Reason::Timeout),
        DbError::Overloaded | DbError::RateLimitReached { .. } => Some(Reason::Overloaded),
        DbError::Unavailable { .. } | DbError::IsBootstrapping => Some(Reason::Unavailable),
        DbError::Unauthorized => Some(Reason::Unauthorized),
        DbError::Invalid | DbError::SyntaxError | DbError::ConfigError => None,
        _ => Some(Reason::Other),
    }
}

fn answered<T>(answer: Result<T, ExecutionError>) -> Result<(), WriteError> {
    let Err(error) = answer else { return Ok(()) };
    let cause = error.to_string();
    Err(match (reason_of(&error), &error) {
        (Some(reason), _) => WriteError::Passing { reason, cause },
        (None, ExecutionError::LastAttemptError(RequestAttemptError::DbError(_, words))) => {
            WriteError::Invalid(words.clone())
        }
        (None, ExecutionError::BadQuery(BadQuery::ValuesTooLongForKey(found, most))) => {
            WriteError::Refused(format!("its key has {found} bytes, and Cassandra takes {most}"))
        }
        (None, _) => WriteError::Refused(cause),
    })
}

fn date_of(row: &Row) -> CqlDate {
    // Event times lie within the years 0 to 9999.
    CqlDate(u32::try_from(row.day() + DAY_ZERO).unwrap_or(u32::MAX))
}

fn decimal(number: Decimal) -> CqlDecimal {
    let (bytes, scale) = cql_decimal(number);
    CqlDecimal::from_signed_be_bytes_and_exponent(bytes, scale)
}

fn time_to_live(config: &CassandraConfig) -> String {
    if config.ttl.is_zero() { String::new() } else { format!(" AND TTL {}", config.ttl.as_secs().max(1)) }
}
