//! `[freshness]`

use std::time::Duration;

use super::reader::Section;

/// When a symbol counts as silent, and when a record comes from the future.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshnessConfig {
    /// `error_after`: a silence longer than this is a `stale` event of level `error`. Default: `4h`.
    pub error_after: Duration,
    /// `future_skew`: an event time further than this after the record's Kafka time is `future_time`.
    /// Default: `5s`.
    pub future_skew: Duration,
    /// `grace`: notices by the clock wait this long after the threshold, for a record that is on its way.
    /// Default: `5s`.
    pub grace: Duration,
}

impl FreshnessConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let day = Duration::from_hours(24);
        Self {
            error_after: section.duration("error_after", "4h", Duration::from_millis(1)..=day * 365),
            future_skew: section.duration("future_skew", "5s", Duration::ZERO..=day),
            grace: section.duration("grace", "5s", Duration::ZERO..=day),
        }
    }

    /// What of this changes verdicts or events. Grace doesn't: it only changes who notices first.
    pub(super) fn fingerprint_fields(&self) -> Vec<(&'static str, u128)> {
        vec![
            ("freshness.error_after_ms", self.error_after.as_millis()),
            ("freshness.future_skew_ms", self.future_skew.as_millis()),
        ]
    }
}
