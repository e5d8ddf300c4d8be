//! One row until Cassandra has it: attempts, each after a pause, until it is acknowledged or refused for good.
//!
//! The number of attempts has no bound, the pause between two has: an outage lasts as long as it lasts.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rand::RngExt as _;

use super::newest::Latest;
use super::pulse::Pulse;
use crate::journal::kafka::dead_letters::{DeadLetters, Death, Original, Undeliverable};
use crate::model::Row;
use crate::table::cassandra::{Cassandra, SchemaError, WriteError};
use crate::telemetry::metrics::SinkMetrics;

/// The pause before the second attempt; it doubles with each one.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause: so soon after an outage everything flows again.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A record under way, as a row.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) row: Row,
    pub(super) original: Rc<Original>,
}

/// What came of a write.
#[derive(Debug)]
pub(super) enum Done {
    /// `stock` has the row.
    Stock(Rc<Taken>),
    /// `latest` has the newest of these rows.
    Latest(Vec<Rc<Taken>>),
    /// Cassandra refuses this row for good. The others wait for another that takes its place.
    Refused { taken: Rc<Taken>, others: Vec<Rc<Taken>>, death: Death },
    /// The record is kept as a dead letter.
    Letter(Rc<Original>, Death),
    /// The schema is another than the statements were made for.
    OtherSchema(SchemaError),
    /// The topic of dead letters does not take them.
    Undeliverable(Undeliverable),
}

/// What every write needs.
pub(super) struct Writer {
    pub(super) table: Cassandra,
    pub(super) dead_letters: DeadLetters,
    pub(super) metrics: SinkMetrics,
    /// Cassandra's.
    pub(super) pulse: Pulse,
    /// The brokers', as dead letters see them.
    pub(super) letters_pulse: Pulse,
}

impl Writer {
    /// Writes the row to `stock`.
    pub(super) async fn stock(self: Rc<Self>, taken: Rc<Taken>) -> Done {
        match self.until_answered(async || self.table.write_stock(&taken.row).await).await {
            Ok(()) => {
                self.metrics.rows.inc();
                Done::Stock(taken)
            }
            Err(Refusal::Row(death)) => Done::Refused { taken, others: Vec::new(), death },
            Err(Refusal::Schema(error)) => Done::OtherSchema(error),
        }
    }

    /// Writes the newest row to `latest`.
    pub(super) async fn latest(self: Rc<Self>, latest: Latest) -> Done {
        let Latest { newest, covered } = latest;
        match self.until_answered(async || self.table.write_latest(&newest.row).await).await {
            Ok(()) => {
                self.metrics.latest.inc();
                Done::Latest(covered)
            }
            Err(Refusal::Row(death)) => {
                let others = covered.into_iter().filter(|taken| !Rc::ptr_eq(taken, &newest)).collect();
                Done::Refused { taken: newest, others, death }
            }
            Err(Refusal::Schema(error)) => Done::OtherSchema(error),
        }
    }

    /// Keeps the record as a dead letter.
    pub(super) async fn letter(self: Rc<Self>, original: Rc<Original>, death: Death) -> Done {
        match self.dead_letters.deliver(&original, &death).await {
            Ok(()) => {
                self.letters_pulse.answered();
                Done::Letter(original, death)
            }
            Err(error) => Done::Undeliverable(error),
        }
    }

    async fn until_answered(&self, attempt: impl AsyncFn() -> Result<(), WriteError>) -> Result<(), Refusal> {
        let mut pause = PAUSE_MIN;
        loop {
            let began = Instant::now();
            let trouble = match attempt().await {
                Ok(()) => {
                    self.pulse.answered();
                    self.metrics.write_duration.observe(began.elapsed().as_secs_f64());
                    return Ok(());
                }
                Err(WriteError::Refused(detail)) => {
                    return Err(Refusal::Row(Death { reason: "unwritable", detail }));
                }
                Err(WriteError::Invalid(detail)) => match self.table.check_schema().await {
                    Ok(()) => {
                        self.pulse.answered();
                        return Err(Refusal::Row(Death { reason: "refused", detail }));
                    }
                    Err(error) if error.is_passing() => WriteError::Invalid(error.to_string()),
                    Err(error) => return Err(Refusal::Schema(error)),
                },
                Err(trouble @ WriteError::Passing { .. }) => trouble,
            };
            self.pause_after(&trouble, pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Pauses for up to `pause`: writes that failed together are not to come back together.
    async fn pause_after(&self, trouble: &WriteError, pause: Duration) {
        let reason = match trouble {
            WriteError::Passing { reason, .. } => reason.name(),
            _ => "schema_unknown",
        };
        self.metrics.retries.with_label_values(&[reason]).inc();
        tracing::debug!(reason, "a write is tried again: {trouble}");
        self.pulse.troubled(trouble.to_string());
        tokio::time::sleep(pause.mul_f64(rand::rng().random_range(0.5..=1.0))).await;
    }
}

/// Why a row is not written.
enum Refusal {
    Row(Death),
    Schema(SchemaError),
}

#[cfg(test)]
pub(super) mod tests {
    use rust_decimal::Decimal;

    use super::*;
    use crate::model::{EventTime, Source};

    /// A record of partition 0 under way.
    pub(in crate::roles::sink) fn taken(symbol: &str, offset: i64, time_ms: i64) -> Rc<Taken> {
        let row = Row {
            symbol: symbol.to_owned(),
            event_time: EventTime(time_ms),
            source: Source { partition: 0, offset },
            last_price: Decimal::ONE,
            volume: Decimal::ZERO,
        };
        Rc::new(Taken { row, original: Rc::new(Original::empty(0, offset)) })
    }
}
