//! What symbols are held to in one seed, and what that means: as simple as the words of the contract, and without
//! any of the gate's code.

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tickgate::core::{Calendar, Class, Classes};
use tickgate::model::Level;

/// One class, or the symbols of none.
#[derive(Debug, Clone)]
pub struct Held {
    pub name: &'static str,
    symbols: &'static [&'static str],
    has: fn(&str) -> bool,
    pub warn_ms: Option<i64>,
    pub error_ms: Option<i64>,
    /// Of the class as a whole.
    feed_ms: Option<i64>,
    /// Without any it is always open.
    sessions: Vec<(i64, i64)>,
}

#[derive(Debug, Clone)]
pub struct Watch {
    /// Symbols that are watched from when they are first listed.
    listed: Vec<&'static str>,
    /// The last one has the symbols of no class.
    all: Vec<Held>,
}

/// The error threshold of symbols of no class.
pub const THRESHOLD_MS: i64 = 30_000;
/// Sessions are laid out for so long; from then on all time counts.
const LAID_OUT_MS: i64 = 3_600_000;

impl Watch {
    pub fn draw(rng: &mut ChaCha8Rng, base_ms: i64) -> Self {
        let mut all = vec![
            Held { name: "ones", symbols: &["S1*"], has: |symbol| symbol.starts_with("S1"), ..Held::none() },
            Held {
                name: "pair",
                symbols: &["S2", "S3", "S1"],
                has: |symbol| ["S2", "S3", "S1"].contains(&symbol),
                ..Held::none()
            },
            Held { name: "short", symbols: &["S?"], has: |symbol| symbol.len() == 2, ..Held::none() },
        ];
        all.retain(|_| rng.random_bool(0.4));
        all.push(Held::none());
        for held in &mut all {
            held.error_ms =
                Some(if held.name == "default" { THRESHOLD_MS } else { rng.random_range(15_000..40_000) });
            held.warn_ms = rng.random_bool(0.6).then(|| rng.random_range(4_000..15_000));
            if held.name != "default" && rng.random_ratio(1, 5) {
                (held.warn_ms, held.error_ms) = (None, None);
            } else if rng.random_bool(0.5) {
                held.feed_ms = Some(rng.random_range(2_000..25_000));
            }
            if rng.random_ratio(1, 3) {
                let (period, open) = (rng.random_range(10_000..60_000), rng.random_range(4_000..10_000));
                let first = base_ms + rng.random_range(-60_000..60_000);
                let begins = (0..).map(|number| first + number * period);
                let begins = begins.take_while(|begin| *begin < base_ms + LAID_OUT_MS);
                held.sessions = begins.map(|begin| (begin, begin + open)).collect();
            }
        }
        let mut listed = vec!["S0", "S3", "S11", "never", "S1never"];
        listed.retain(|_| rng.random_ratio(1, 3));
        Self { listed, all }
    }

    /// One level for all, always.
    pub fn plain() -> Self {
        Self { listed: Vec::new(), all: vec![Held { error_ms: Some(THRESHOLD_MS), ..Held::none() }] }
    }

    pub fn listed(&self) -> Vec<Arc<str>> {
        self.listed.iter().map(|symbol| (*symbol).into()).collect()
    }

    /// What a symbol is held to.
    pub fn of(&self, symbol: &str) -> &Held {
        self.all.iter().find(|held| (held.has)(symbol)).unwrap()
    }

    /// Whether every silence that goes on since a moment has passed every threshold by another.
    pub fn have_all_passed(&self, since_ms: i64, at_ms: i64) -> bool {
        self.all.iter().all(|held| {
            held.error_ms.max(held.feed_ms).is_none_or(|longest| held.open_ms(since_ms, at_ms) > longest)
        })
    }

    /// The classes that are judged as a whole, with their thresholds.
    pub fn feeds(&self) -> Vec<(&'static str, i64)> {
        self.all.iter().filter_map(|held| Some((held.name, held.feed_ms?))).collect()
    }

    pub fn named(&self, name: &str) -> &Held {
        self.all.iter().find(|held| held.name == name).unwrap()
    }

    /// The same for the core.
    pub fn classes(&self) -> Classes {
        let mut all: Vec<(Class, Vec<String>)> = self.all.iter().map(Held::class).collect();
        let (default, _) = all.pop().unwrap();
        Classes::new(all, default)
    }
}

impl Held {
    fn none() -> Self {
        Self {
            name: "default",
            symbols: &[],
            has: |_| true,
            warn_ms: None,
            error_ms: None,
            feed_ms: None,
            sessions: Vec::new(),
        }
    }

    pub fn calendar(&self) -> &'static str {
        if self.sessions.is_empty() { "24x7" } else { "sessions" }
    }

    pub fn threshold_ms(&self, level: Level) -> Option<i64> {
        match level {
            Level::Warn => self.warn_ms,
            Level::Error => self.error_ms,
        }
    }

    /// The levels and thresholds that there are.
    pub fn levels(&self) -> Vec<(Level, i64)> {
        let all = [Level::Warn, Level::Error];
        all.into_iter().filter_map(|level| Some((level, self.threshold_ms(level)?))).collect()
    }

    /// What counts of a stretch of time.
    pub fn open_ms(&self, from: i64, to: i64) -> i64 {
        let (Some((first, _)), Some((_, last))) = (self.sessions.first(), self.sessions.last()) else {
            return (to - from).max(0);
        };
        let overlap = |begin: i64, end: i64| (to.min(end) - from.max(begin)).max(0);
        let inside: i64 = self.sessions.iter().map(|(begin, end)| overlap(*begin, *end)).sum();
        overlap(i64::MIN / 2, *first) + inside + overlap(*last, i64::MAX / 2)
    }

    fn class(&self) -> (Class, Vec<String>) {
        let class = Class {
            name: self.name.into(),
            calendar: if self.sessions.is_empty() {
                Calendar::always()
            } else {
                Calendar::of_sessions("sessions", self.sessions.clone())
            },
            warn_after_ms: self.warn_ms,
            error_after_ms: self.error_ms,
            feed_after_ms: self.feed_ms,
        };
        (class, self.symbols.iter().map(ToString::to_string).collect())
    }
}
