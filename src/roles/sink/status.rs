//! What the outside sees of the loop: gauges, readiness, and the log's word when Cassandra falls silent.

use std::time::{Duration, Instant};

use super::writing::Writer;
use crate::telemetry::health::Readiness;

/// Without an answer for so long, Cassandra counts as away.
const SILENT_AFTER: Duration = Duration::from_secs(2);
/// How often gauges and readiness are renewed.
const EVERY: Duration = Duration::from_millis(200);

/// Parts of readiness.
pub(super) const KAFKA: &str = "kafka";
pub(super) const CASSANDRA: &str = "cassandra";

/// How things stand.
#[derive(Debug)]
pub(super) struct Standings {
    pub(super) writes: usize,
    pub(super) bytes: usize,
    pub(super) partitions: usize,
    pub(super) lag: i64,
    pub(super) is_held: bool,
}

/// What was shown.
#[derive(Debug)]
pub(super) struct Status {
    readiness: Readiness,
    due: Instant,
    is_silent: bool,
}

impl Status {
    pub(super) fn new(readiness: Readiness) -> Self {
        let status = Self { readiness, due: Instant::now(), is_silent: false };
        status.awaits_partitions();
        status
    }

    /// Whether it is time to show how things stand.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    pub(super) fn awaits_partitions(&self) {
        self.readiness.awaits(KAFKA, "partitions from the group");
    }

    pub(super) fn has_partitions(&self) {
        self.readiness.met(KAFKA);
    }

    pub(super) fn show(&mut self, now: &Standings, writer: &Writer) {
        self.due = Instant::now() + EVERY;
        let (metrics, count) = (&writer.metrics, |number: usize| i64::try_from(number).unwrap_or(i64::MAX));
        metrics.in_flight.set(count(now.writes));
        metrics.bytes.set(count(now.bytes));
        metrics.partitions_assigned.set(count(now.partitions));
        metrics.lag.set(now.lag);
        metrics.held.set(i64::from(now.is_held));
        let (silence, trouble) = writer.pulse.silence();
        let is_silent = silence >= SILENT_AFTER;
        if is_silent {
            let trouble = trouble.unwrap_or_else(|| "no error so far".to_owned());
            self.readiness
                .awaits(CASSANDRA, format!("answers: none for {} s ({trouble})", silence.as_secs()));
            if !self.is_silent {
                tracing::warn!("Cassandra answers no write; waits, and tries again: {trouble}");
            }
        } else if self.is_silent {
            tracing::info!("Cassandra answers again");
            self.readiness.met(CASSANDRA);
        }
        self.is_silent = is_silent;
    }
}
