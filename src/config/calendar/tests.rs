use super::*;
use crate::core::Calendar;
use crate::model::WallTime;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn ms(text: &str) -> i64 {
    WallTime::parse(text).unwrap().0
}

fn calendar(config: &CalendarConfig) -> Calendar {
    Calendar::of_sessions("c", config.sessions_ms())
}

fn of(zone: &str, sessions: &[&str]) -> CalendarConfig {
    CalendarConfig {
        zone: zone.to_owned(),
        sessions: sessions.iter().map(|text| parse_hours(text).unwrap()).collect(),
        holidays: BTreeSet::new(),
        half_days: BTreeMap::new(),
    }
}

#[test]
fn open_time_of_new_york_has_known_answers() {
    let nyse = calendar(&known()["nyse"]);
    let rows = [
        ("a whole day in winter", "2026-01-05T05:00:00Z", "2026-01-06T05:00:00Z", 390),
        ("a whole day in summer", "2026-06-01T04:00:00Z", "2026-06-02T04:00:00Z", 390),
        ("the bell in winter is 14:30", "2026-01-05T14:29:00Z", "2026-01-05T14:31:00Z", 1),
        ("the bell in summer is 13:30", "2026-06-01T13:29:00Z", "2026-06-01T13:31:00Z", 1),
        ("the close in summer is 20:00", "2026-06-01T19:59:00Z", "2026-06-01T20:01:00Z", 1),
        ("summer time begins on the weekend", "2026-03-06T20:00:00Z", "2026-03-09T14:00:00Z", 90),
        ("summer time ends on the weekend", "2026-10-30T19:00:00Z", "2026-11-02T15:00:00Z", 90),
        ("a leap day", "2028-02-28T20:00:00Z", "2028-03-01T15:00:00Z", 60 + 390 + 30),
        ("a year's end with a holiday", "2025-12-31T20:00:00Z", "2026-01-02T15:00:00Z", 90),
        ("a year's end with the holiday on a Saturday", "2027-12-31T14:00:00Z", "2028-01-03T15:00:00Z", 420),
        ("Thanksgiving and its half day", "2026-11-25T20:00:00Z", "2026-11-30T15:00:00Z", 60 + 210 + 30),
        ("the half day alone", "2026-11-27T05:00:00Z", "2026-11-28T05:00:00Z", 210),
        ("Good Friday", "2026-04-02T19:00:00Z", "2026-04-06T14:00:00Z", 90),
        ("a holiday moved to Friday", "2026-07-02T19:00:00Z", "2026-07-06T14:00:00Z", 90),
        ("a day of mourning", "2025-01-08T20:00:00Z", "2025-01-10T15:00:00Z", 90),
        ("a weekend", "2026-01-09T21:00:00Z", "2026-01-12T14:30:00Z", 0),
    ];
    for (what, from, to, minutes) in rows {
        assert_eq!(nyse.open_ms(ms(from), ms(to)), minutes * MINUTE, "{what}");
    }
}

#[test]
fn deadlines_in_new_york_have_known_answers() {
    let nyse = calendar(&known()["nyse"]);
    let rows = [
        ("within a day", "2026-01-05T15:00:00Z", "2026-01-05T19:00:00Z"),
        ("over a weekend, into summer time", "2026-03-06T20:59:00Z", "2026-03-09T17:29:00Z"),
        ("over a holiday and a half day", "2026-11-25T20:00:00Z", "2026-11-27T17:30:00Z"),
        ("past a half day", "2026-11-25T20:40:00Z", "2026-11-30T14:40:00Z"),
        ("seen while it is closed", "2026-01-10T12:00:00Z", "2026-01-12T18:30:00Z"),
        ("over a year's end", "2025-12-31T19:00:00Z", "2026-01-02T16:30:00Z"),
    ];
    for (what, from, to) in rows {
        assert_eq!(nyse.after(ms(from), 4 * HOUR + 1), ms(to) + 1, "{what}");
    }
}

#[test]
fn sessions_may_go_past_midnight_and_meet() {
    let forex = calendar(&of("America/New_York", &["sun-thu 17:00-17:00"]));
    let rows = [
        ("the week begins on Sunday", "2026-01-04T21:00:00Z", "2026-01-04T23:00:00Z", 60),
        ("and ends on Friday", "2026-01-09T21:00:00Z", "2026-01-09T23:00:00Z", 60),
        ("a whole week", "2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z", 5 * 24 * 60),
        ("summer time begins in no session", "2026-03-06T21:00:00Z", "2026-03-08T22:00:00Z", 120),
    ];
    for (what, from, to, minutes) in rows {
        assert_eq!(forex.open_ms(ms(from), ms(to)), minutes * MINUTE, "{what}");
    }
    let days = calendar(&of("Europe/Berlin", &["mon-sun 00:00-24:00"]));
    let (from, to) = (ms("2026-03-28T12:00:00Z"), ms("2026-10-26T12:00:00Z"));
    assert_eq!(days.open_ms(from, to), to - from, "days of 23 and 25 hours leave no gap");
    let crossing = calendar(&of("America/New_York", &["sat 22:00-06:00"]));
    let (from, to) = (ms("2026-03-07T12:00:00Z"), ms("2026-03-08T20:00:00Z"));
    assert_eq!(crossing.open_ms(from, to), 7 * HOUR, "an hour of the night is skipped");
    let (from, to) = (ms("2026-10-31T12:00:00Z"), ms("2026-11-01T20:00:00Z"));
    assert_eq!(crossing.open_ms(from, to), 9 * HOUR, "an hour of the night comes twice");
}

#[test]
fn days_of_the_week_wrap_around() {
    let hours = parse_hours("fri-mon 10:00-11:00").unwrap();
    let has = |day| hours.has(day);
    assert!(has(Weekday::Friday) && has(Weekday::Sunday) && has(Weekday::Monday));
    assert!(!has(Weekday::Tuesday) && !has(Weekday::Thursday));
    assert_eq!(parse_hours("SAT 22:00-24:00").unwrap().close, Time::midnight());
    for wrong in ["", "mon", "mon 9:30", "noday 09:30-16:00", "mon-fri 25:00-26:00", "mon 09:30-16:60"] {
        assert!(parse_hours(wrong).is_none(), "{wrong}");
    }
}

fn nth(year: i16, month: i8, day: Weekday, nth: i8) -> Date {
    Date::new(year, month, 1).unwrap().nth_weekday_of_month(nth, day).unwrap()
}

/// Easter Sundays of 2020 to 2028, less two days.
fn good_friday(year: i16) -> Date {
    let easters = [(4, 12), (4, 4), (4, 17), (4, 9), (3, 31), (4, 20), (4, 5), (3, 28), (4, 16)];
    let (month, day) = easters[usize::try_from(year - 2020).unwrap()];
    Date::new(year, month, day).unwrap().saturating_sub(2.days())
}

/// Sunday's is kept on Monday, Saturday's on Friday, but New Year's then not at all.
fn kept(year: i16, month: i8, day: i8) -> Option<Date> {
    let date = Date::new(year, month, day).unwrap();
    match date.weekday() {
        Weekday::Sunday => date.tomorrow().ok(),
        Weekday::Saturday if month == 1 => None,
        Weekday::Saturday => date.yesterday().ok(),
        _ => Some(date),
    }
}

#[test]
fn the_table_of_new_york_is_what_the_rules_of_the_exchange_give() {
    let nyse = &known()["nyse"];
    let mut holidays: BTreeSet<Date> = [Date::new(2025, 1, 9).unwrap()].into();
    let mut half_days = BTreeSet::new();
    for year in 2020..=2028 {
        holidays.extend(kept(year, 1, 1));
        holidays.insert(nth(year, 1, Weekday::Monday, 3));
        holidays.insert(nth(year, 2, Weekday::Monday, 3));
        holidays.insert(good_friday(year));
        holidays.insert(nth(year, 5, Weekday::Monday, -1));
        holidays.extend(kept(year, 6, 19).filter(|_| year >= 2022));
        holidays.extend(kept(year, 7, 4));
        holidays.insert(nth(year, 9, Weekday::Monday, 1));
        holidays.insert(nth(year, 11, Weekday::Thursday, 4));
        holidays.extend(kept(year, 12, 25));
        half_days.insert(nth(year, 11, Weekday::Thursday, 4).tomorrow().unwrap());
        for eve in [Date::new(year, 7, 3).unwrap(), Date::new(year, 12, 24).unwrap()] {
            if eve.weekday().to_monday_zero_offset() < 4 {
                half_days.insert(eve);
            }
        }
    }
    assert_eq!(nyse.holidays, holidays);
    let early: BTreeMap<Date, Time> =
        half_days.into_iter().map(|date| (date, Time::constant(13, 0, 0, 0))).collect();
    assert_eq!(nyse.half_days, early);
    assert_eq!(&known()["nasdaq"], nyse);
    assert_eq!(nyse.known_until_ms(), Some(ms("2029-01-01T00:00:00Z")));
}

#[test]
fn every_text_of_the_table_is_read() {
    let table: toml::Table = KNOWN.parse().unwrap();
    for (name, entry) in &table {
        let entry = entry.get("based_on").and_then(toml::Value::as_str).map_or(entry, |base| &table[base]);
        let count = |key: &str| entry[key].as_array().unwrap().len();
        let read = &known()[name];
        assert_eq!(read.sessions.len(), count("sessions"), "{name}");
        assert_eq!(read.holidays.len(), count("holidays"), "{name}");
        assert_eq!(read.half_days.len(), count("half_days"), "{name}");
        assert!(TimeZoneDatabase::bundled().get(&read.zone).is_ok(), "{name}");
    }
}
