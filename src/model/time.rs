//! Two kinds of time that must never be mixed: when a trade happened, and what the clock on the wall says.
//! Both are milliseconds since 1970 inside and RFC 3339 in UTC outside. Nothing here reads a clock.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// When a trade happened: milliseconds since 1970-01-01T00:00:00Z, rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(pub i64);

/// What the clock on the wall says: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub i64);

/// The record time of an output whose input has this one (ms since 1970; none is none). It is the same, but for
/// 0: the Kafka library takes that for "now", so the next millisecond stands for it.
pub fn output_time(kafka_time: Option<i64>) -> Option<i64> {
    kafka_time.map(|ms| if ms == 0 { 1 } else { ms })
}

/// 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z: what four digits of a year can say.
const FIRST_MS: i64 = -62_167_219_200_000;
const LAST_MS: i64 = 253_402_300_799_999;

impl EventTime {
    /// The time `ms` milliseconds after 1970; `None` when its year is outside 0 to 9999 in UTC.
    pub fn from_millis(ms: i64) -> Option<Self> {
        (FIRST_MS..=LAST_MS).contains(&ms).then_some(Self(ms))
    }

    /// Reads RFC 3339 strictly: an offset, a `T`, no second 60, a year from 0 to 9999 in UTC. Digits below
    /// the millisecond are rounded down.
    pub fn parse(text: &str) -> Option<Self> {
        millis_from_rfc3339(text).map(Self)
    }
}

impl WallTime {
    /// What the system's clock says now. Not for the core, which is told the time.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// As [`EventTime::parse`].
    pub fn parse(text: &str) -> Option<Self> {
        millis_from_rfc3339(text).map(Self)
    }
}

/// `2026-11-22T14:00:00.123Z`. A time beyond the years 0 to 9999 shows as the nearest one within.
impl fmt::Display for EventTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_rfc3339(self.0, out)
    }
}

/// As [`EventTime`].
impl fmt::Display for WallTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_rfc3339(self.0, out)
    }
}

impl Serialize for EventTime {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventTime {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        millis_of(from).map(Self)
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        millis_of(from).map(Self)
    }
}

fn millis_of<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
    millis_from_rfc3339(&text)
        .ok_or_else(|| D::Error::custom(format!("`{text}` is not RFC 3339 with an offset")))
}

fn millis_from_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    // The crate takes any byte for the `T`, and a leap second where one may be.
    let strict = matches!(bytes.get(10), Some(b'T' | b't')) && bytes.get(17..19) != Some(b"60");
    if !strict {
        return None;
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let ms = time.unix_timestamp() * 1_000 + i64::from(time.millisecond());
    (FIRST_MS..=LAST_MS).contains(&ms).then_some(ms)
}

fn write_rfc3339(ms: i64, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let ms = ms.clamp(FIRST_MS, LAST_MS);
    let time = OffsetDateTime::from_unix_timestamp(ms.div_euclid(1_000)).map_err(|_| fmt::Error)?;
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    let (month, ms) = (u8::from(month), ms.rem_euclid(1_000));
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_the_rfc_allows() {
        let rows = [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00.001z", 1),
            ("1970-01-01T00:00:00.0019999999999Z", 1),
            ("1970-01-01T02:00:00+02:00", 0),
            ("1970-01-01T00:00:00-00:00", 0),
            ("1969-12-31T23:59:59.9999Z", -1),
            ("2026-11-22T14:00:00.123Z", 1_795_356_000_123),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
            ("0000-01-01T00:00:00Z", FIRST_MS),
            ("9999-12-31T23:59:59.999Z", LAST_MS),
        ];
        for (text, ms) in rows {
            assert_eq!(EventTime::parse(text), Some(EventTime(ms)), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        let rows = [
            "",
            "now",
            "1700000000123",
            "2026-11-22",
            "2026-11-22T14:00:00",
            "2026-11-22 14:00:00Z",
            "2026-11-22_14:00:00Z",
            "2026-11-22T14:00Z",
            "2026-11-22T14:00:00.Z",
            "2026-11-22T14:00:00,1Z",
            "2026-11-22T14:00:00+0100",
            "2026-11-22T14:00:00+01",
            "2026-11-22T14:00:00+24:00",
            "2026-11-22T14:00:00Z ",
            " 2026-11-22T14:00:00Z",
            "2026-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2016-12-31T23:59:60Z",
            "2016-12-31T15:59:60-08:00",
            "12026-11-22T14:00:00Z",
            "-001-11-22T14:00:00Z",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "２０２６-11-22T14:00:00Z",
        ];
        for text in rows {
            assert_eq!(EventTime::parse(text), None, "{text}");
        }
    }

    #[test]
    fn shows_the_nearest_time_it_can() {
        assert_eq!(EventTime(i64::MIN).to_string(), "0000-01-01T00:00:00.000Z");
        assert_eq!(WallTime(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(EventTime::from_millis(LAST_MS + 1), None);
        assert_eq!(EventTime::from_millis(FIRST_MS), Some(EventTime(FIRST_MS)));
    }

    proptest! {
        #[test]
        fn shown_times_read_back(ms in FIRST_MS..=LAST_MS) {
            let text = EventTime(ms).to_string();
            prop_assert_eq!(EventTime::parse(&text), Some(EventTime(ms)));
            let json = serde_json::to_string(&WallTime(ms)).unwrap();
            prop_assert_eq!(serde_json::from_str::<WallTime>(&json).unwrap(), WallTime(ms));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = EventTime::parse(&text);
        }
    }
}
