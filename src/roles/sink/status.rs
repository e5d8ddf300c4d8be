//! What the outside sees of the loop: gauges, readiness, and the log's word when somebody falls silent.

use std::time::{Duration, Instant};

use super::offsets::ENDS_EVERY;
use super::pulse::Pulse;
use super::writing::Writer;
use crate::telemetry::health::Readiness;

/// Without an answer for so long, Cassandra counts as away, and the brokers for a dead letter.
const SILENT_AFTER: Duration = Duration::from_secs(2);
/// Without an answer for so long, the brokers count as away: several questions are due by then.
const BROKERS_SILENT_AFTER: Duration = ENDS_EVERY.saturating_mul(5);
/// How often gauges and readiness are renewed.
const EVERY: Duration = Duration::from_millis(200);

/// Parts of readiness.
pub(super) const KAFKA: &str = "kafka";
pub(super) const CASSANDRA: &str = "cassandra";
const READING: &str = "reading";
const LETTER: &str = "a dead letter";

/// How things stand.
#[derive(Debug)]
pub(super) struct Standings<'a> {
    pub(super) writes: usize,
    pub(super) letters: usize,
    pub(super) bytes: usize,
    pub(super) partitions: usize,
    pub(super) lag: i64,
    pub(super) is_held: bool,
    pub(super) brokers: &'a Pulse,
}

/// What was shown.
#[derive(Debug)]
pub(super) struct Status {
    readiness: Readiness,
    due: Instant,
    cassandra: Silence,
    brokers: Silence,
    letters: Silence,
}

/// Whether people know that somebody is silent.
#[derive(Debug, Default)]
struct Silence {
    is_told: bool,
}

/// What has changed in a [`Silence`].
enum Change {
    /// It has begun, or goes on: for how long, and what failed last.
    Silent { is_news: bool, seconds: u64, trouble: String },
    /// It is over.
    Over,
}

impl Status {
    pub(super) fn new(readiness: Readiness) -> Self {
        let status = Self {
            readiness,
            due: Instant::now(),
            cassandra: Silence::default(),
            brokers: Silence::default(),
            letters: Silence::default(),
        };
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

    pub(super) fn show(&mut self, now: &Standings<'_>, writer: &Writer) {
        self.due = Instant::now() + EVERY;
        let (metrics, count) = (&writer.metrics, |number: usize| i64::try_from(number).unwrap_or(i64::MAX));
        metrics.in_flight.set(count(now.writes));
        metrics.letters.set(count(now.letters));
        metrics.bytes.set(count(now.bytes));
        metrics.partitions_assigned.set(count(now.partitions));
        metrics.lag.set(now.lag);
        metrics.held.set(i64::from(now.is_held));
        self.show_cassandra(&writer.pulse);
        self.show_brokers(now.brokers);
        self.show_letters(&writer.letters_pulse, writer.dead_letters.topic());
    }

    fn show_cassandra(&mut self, pulse: &Pulse) {
        match self.cassandra.follow(pulse, SILENT_AFTER) {
            Some(Change::Silent { is_news, seconds, trouble }) => {
                self.readiness.awaits(CASSANDRA, format!("answers: none for {seconds} s ({trouble})"));
                if is_news {
                    tracing::warn!("Cassandra answers no write; waits, and tries again: {trouble}");
                }
            }
            Some(Change::Over) => {
                tracing::info!("Cassandra answers again");
                self.readiness.met(CASSANDRA);
            }
            None => {}
        }
    }

    fn show_brokers(&mut self, pulse: &Pulse) {
        match self.brokers.follow(pulse, BROKERS_SILENT_AFTER) {
            Some(Change::Silent { is_news, seconds, trouble }) => {
                self.readiness.awaits(READING, format!("brokers: no answer for {seconds} s ({trouble})"));
                if is_news {
                    tracing::warn!("the brokers don't answer; waits, and asks again: {trouble}");
                }
            }
            Some(Change::Over) => {
                tracing::info!("the brokers answer again");
                self.readiness.met(READING);
            }
            None => {}
        }
    }

    fn show_letters(&mut self, pulse: &Pulse, topic: &str) {
        match self.letters.follow(pulse, SILENT_AFTER) {
            Some(Change::Silent { is_news, seconds, .. }) => {
                self.readiness.awaits(LETTER, format!("brokers: `{topic}` takes none for {seconds} s"));
                if is_news {
                    tracing::warn!("the brokers take no dead letter for `{topic}`; waits for them");
                }
            }
            Some(Change::Over) => {
                tracing::info!("the brokers take dead letters again");
                self.readiness.met(LETTER);
            }
            None => {}
        }
    }
}

impl Silence {
    fn follow(&mut self, pulse: &Pulse, after: Duration) -> Option<Change> {
        let (silence, trouble) = pulse.silence();
        if silence < after {
            return std::mem::take(&mut self.is_told).then_some(Change::Over);
        }
        let trouble = trouble.unwrap_or_else(|| "no error so far".to_owned());
        let is_news = !std::mem::replace(&mut self.is_told, true);
        Some(Change::Silent { is_news, seconds: silence.as_secs(), trouble })
    }
}
