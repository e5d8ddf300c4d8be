//! `[freshness.calendars.<name>]`: exchange sessions, holidays and half days, and the table of those that tickgate
//! knows. Zones come from the data in the binary, so that equal builds have equal calendars on every machine.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan as _;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::reader::Section;

/// The calendar that is always open.
const ALWAYS: &str = "24x7";
/// What tickgate knows, as settings would say it.
const KNOWN: &str = include_str!("calendars.toml");
/// Sessions are laid out from here to `LAST`; beyond them all time counts.
const FIRST: Date = jiff::civil::date(2000, 1, 1);
const LAST: Date = jiff::civil::date(2099, 12, 31);

const SESSIONS: &str =
    "texts such as `mon-fri 09:30-16:00`; one that ends before it begins ends on the next day";
const HOLIDAYS: &str = "dates such as `2026-12-25`";
const HALF_DAYS: &str = "dates with the time of the close, such as `2026-11-27 13:00`";

/// When an exchange is open. Dates and times are local.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarConfig {
    /// `zone`: an IANA time zone, such as `America/New_York`. Default: `UTC`.
    pub zone: String,
    /// `sessions`: days and hours, such as `mon-fri 09:30-16:00`; hours that end before they begin end on the next
    /// day.
    pub sessions: Vec<Hours>,
    /// `holidays`: dates on which no session begins.
    pub holidays: BTreeSet<Date>,
    /// `half_days`: dates on which sessions end early, at the time given: `2026-11-27 13:00`.
    pub half_days: BTreeMap<Date, Time>,
}

/// The hours of some days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    first: Weekday,
    last: Weekday,
    open: Time,
    close: Time,
}

impl CalendarConfig {
    /// Reads the calendars that are set, and answers them beside those that are known.
    pub(super) fn read_all(section: &mut Section<'_>) -> BTreeMap<String, Self> {
        let known = known();
        let mut all = known.clone();
        for name in section.children("calendars") {
            let calendar = Self::read(section, &name, &known);
            all.insert(name, calendar);
        }
        all
    }

    fn read(section: &mut Section<'_>, name: &str, known: &BTreeMap<String, Self>) -> Self {
        let key = |of: &str| format!("calendars.{name}.{of}");
        if name == ALWAYS {
            section.reject_together(&key("sessions"), format!("a calendar `{ALWAYS}`"), "another name");
        }
        let expected = format!("one of {}", quoted(known.keys()));
        let based_on = section
            .legal_text(&key("based_on"), "", &expected, |base| base.is_empty() || known.contains_key(base));
        let nothing = || Self {
            zone: "UTC".to_owned(),
            sessions: Vec::new(),
            holidays: BTreeSet::new(),
            half_days: BTreeMap::new(),
        };
        let mut calendar = known.get(&based_on).cloned().unwrap_or_else(nothing);
        let zone = calendar.zone.clone();
        calendar.zone = section.legal_text(&key("zone"), &zone, "an IANA time zone", |zone| {
            TimeZoneDatabase::bundled().get(zone).is_ok()
        });
        let sessions = section.parsed_list(&key("sessions"), SESSIONS, parse_hours);
        if !sessions.is_empty() {
            calendar.sessions = sessions;
        } else if calendar.sessions.is_empty() {
            section.reject_together(&key("sessions"), "none", SESSIONS);
        }
        let not_open = section.parsed_list(&key("holidays"), HOLIDAYS, parse_date);
        let early = section.parsed_list(&key("half_days"), HALF_DAYS, parse_half_day);
        for date in section.parsed_list(&key("open_days"), HOLIDAYS, parse_date) {
            calendar.holidays.remove(&date);
            calendar.half_days.remove(&date);
        }
        calendar.holidays.extend(not_open);
        calendar.half_days.extend(early);
        calendar
    }

    /// Every session from 2000 to 2099, from its begin to below its end, in ms since 1970.
    pub fn sessions_ms(&self) -> Vec<(i64, i64)> {
        let zone = TimeZoneDatabase::bundled().get(&self.zone).unwrap_or(TimeZone::UTC);
        let mut sessions = Vec::new();
        for date in FIRST.series(1.day()).take_while(|date| *date <= LAST) {
            if self.holidays.contains(&date) {
                continue;
            }
            for hours in self.sessions.iter().filter(|hours| hours.has(date.weekday())) {
                sessions.extend(hours.on(date, self.half_days.get(&date).copied(), &zone));
            }
        }
        sessions
    }

    /// The end of the last year of which holidays are known, in ms since 1970; `None` where there are none.
    pub fn known_until_ms(&self) -> Option<i64> {
        let year = self.holidays.last()?.year();
        let next = Date::new(year.checked_add(1)?, 1, 1).ok()?;
        Some(TimeZone::UTC.to_timestamp(next.into()).ok()?.as_millisecond())
    }

    /// All that it says, in one order.
    pub(super) fn described(&self) -> String {
        format!("{self:?}")
    }
}

impl Hours {
    fn has(self, day: Weekday) -> bool {
        let first = self.first.to_monday_zero_offset();
        let since = |day: Weekday| (day.to_monday_zero_offset() - first).rem_euclid(7);
        since(day) <= since(self.last)
    }

    /// The session of a date; `None` where it would end as it begins.
    fn on(self, date: Date, half_day: Option<Time>, zone: &TimeZone) -> Option<(i64, i64)> {
        let is_overnight = self.close <= self.open;
        let (end, close) = match half_day {
            Some(early) if is_overnight || early < self.close => (date, early),
            _ if is_overnight => (date.tomorrow().ok()?, self.close),
            _ => (date, self.close),
        };
        let ms =
            |date: Date, time: Time| Some(zone.to_timestamp(date.to_datetime(time)).ok()?.as_millisecond());
        let (from, until) = (ms(date, self.open)?, ms(end, close)?);
        (from < until).then_some((from, until))
    }
}

/// The calendars of the table.
fn known() -> BTreeMap<String, CalendarConfig> {
    let table: toml::Table = KNOWN.parse().expect("the table of calendars is TOML, as a test has seen");
    let texts = |entry: &toml::Value, key: &str| -> Vec<String> {
        let items = entry.get(key).and_then(toml::Value::as_array).into_iter().flatten();
        items.filter_map(toml::Value::as_str).map(ToOwned::to_owned).collect()
    };
    let read = |entry: &toml::Value| CalendarConfig {
        zone: entry.get("zone").and_then(toml::Value::as_str).unwrap_or("UTC").to_owned(),
        sessions: texts(entry, "sessions").iter().filter_map(|text| parse_hours(text)).collect(),
        holidays: texts(entry, "holidays").iter().filter_map(|text| parse_date(text)).collect(),
        half_days: texts(entry, "half_days").iter().filter_map(|text| parse_half_day(text)).collect(),
    };
    let base = |entry: &toml::Value| {
        let base = entry.get("based_on").and_then(toml::Value::as_str);
        base.and_then(|base| table.get(base)).unwrap_or(entry).clone()
    };
    table.iter().map(|(name, entry)| (name.clone(), read(&base(entry)))).collect()
}

fn parse_hours(text: &str) -> Option<Hours> {
    let (days, hours) = text.trim().split_once(' ')?;
    let (first, last) = days.split_once('-').unwrap_or((days, days));
    let (open, close) = hours.trim().split_once('-')?;
    Some(Hours {
        first: parse_weekday(first)?,
        last: parse_weekday(last)?,
        open: parse_time(open)?,
        close: if close == "24:00" { Time::midnight() } else { parse_time(close)? },
    })
}

fn parse_weekday(text: &str) -> Option<Weekday> {
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let index = days.iter().position(|day| day.eq_ignore_ascii_case(text))?;
    Weekday::from_monday_zero_offset(i8::try_from(index).ok()?).ok()
}

fn parse_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

fn parse_date(text: &str) -> Option<Date> {
    text.trim().parse().ok()
}

fn parse_half_day(text: &str) -> Option<(Date, Time)> {
    let (date, time) = text.trim().split_once([' ', 'T'])?;
    Some((parse_date(date)?, parse_time(time.get(..5)?)?))
}

fn quoted<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
