//! `tickgate audit` over a test's topics: the proof that every input has exactly one output.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{cluster::Settings, feed::Expected};

/// What an audit counted.
#[derive(Debug)]
pub struct Proof {
    counts: BTreeMap<String, u64>,
}

impl Proof {
    /// Audits; panics with its report when anything is a breach or could not be judged.
    pub fn of(settings: &Settings) -> Self {
        Self::by(settings, &["audit", "--json"])
    }

    /// The same of the tables too.
    pub fn of_rows(settings: &Settings) -> Self {
        Self::by(settings, &["audit", "--json", "--rows"])
    }

    fn by(settings: &Settings, command: &[&str]) -> Self {
        let run = settings.run(command).ended(0);
        let report: Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!(report["whole"], true, "{}", run.out);
        assert_eq!(report["unjudged"], serde_json::json!({}), "{}", run.out);
        Self { counts: serde_json::from_value(report["counts"].clone()).unwrap() }
    }

    /// How many of `what` there were.
    pub fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// Holds what was counted against what the records called for.
    pub fn assert_matches(&self, expected: &Expected) {
        let wanted = [
            ("inputs", expected.inputs()),
            ("accepted", expected.accepted),
            ("rejected", expected.rejected),
            ("removed", expected.removed),
            ("unsendable", 0),
            ("stock_data", expected.accepted),
            // At both levels.
            ("stale", 2 * expected.silences),
            ("recovered", expected.silences),
            ("bad_data", expected.rejected + expected.removed + 3 * expected.silences),
        ];
        for (what, wanted) in wanted {
            assert_eq!(self.count(what), wanted, "`{what}` in {:?}, expected {expected:?}", self.counts);
        }
    }
}
