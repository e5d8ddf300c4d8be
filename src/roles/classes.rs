//! The classes of symbols as the core and the audit take them, from the settings.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{CalendarConfig, ClassConfig, Config};
use crate::core::{Calendar, Class, Classes};
use crate::model::WallTime;

/// How long before its holidays end a calendar is told of.
const LEAD_MS: i64 = 365 * 24 * 60 * 60 * 1000;

/// Every class with its calendar, the default one last.
pub fn classes(config: &Config) -> Classes {
    let mut calendars: BTreeMap<String, Calendar> = BTreeMap::new();
    let mut all: Vec<(Class, Vec<String>)> = Vec::new();
    for class in config.freshness.all_classes() {
        let named = config.freshness.calendars.get(&class.calendar);
        let calendar = calendars.entry(class.calendar.clone()).or_insert_with(|| match named {
            Some(calendar) => Calendar::of_sessions(&class.calendar, calendar.sessions_ms()),
            None => Calendar::always(),
        });
        all.push((held_to(&class, calendar.clone()), class.symbols));
    }
    let (default, _) = all.pop().expect("there is always the default class");
    Classes::new(all, default)
}

/// Tells of calendars in use whose holidays are known for a year at most.
pub fn tell_of_ending_calendars(config: &Config, now_ms: i64) {
    let in_a_year_ms = now_ms.saturating_add(LEAD_MS);
    let mut names: Vec<String> =
        config.freshness.all_classes().into_iter().map(|class| class.calendar).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let until_ms = config.freshness.calendars.get(&name).and_then(CalendarConfig::known_until_ms);
        if let Some(until_ms) = until_ms.filter(|until_ms| *until_ms < in_a_year_ms) {
            let until = WallTime(until_ms);
            tracing::warn!(
                calendar = name,
                %until,
                "the calendar `{name}` knows holidays until {until} only; a newer tickgate, or \
                 `[freshness.calendars.{name}]` with `based_on` and `holidays`, tells the next ones"
            );
        }
    }
}

fn held_to(class: &ClassConfig, calendar: Calendar) -> Class {
    let ms = |after: Duration| i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
    let is_watched = !class.exempt;
    Class {
        name: class.name.as_str().into(),
        calendar,
        warn_after_ms: class.warn_after.filter(|_| is_watched).map(ms),
        feed_after_ms: class.feed_after.filter(|_| is_watched).map(ms),
        error_after_ms: Some(class.error_after).filter(|_| is_watched).map(ms),
    }
}
