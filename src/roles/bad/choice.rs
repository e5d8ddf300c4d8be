//! Which records of `bad_data` are meant.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;

use super::Entry;
use crate::model::{Kind, Offset, Partition, Rule, WallTime};

/// Filters; a record must pass all of them, and of a filter that is given several times any one.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Choice {
    /// Only rejections that broke this rule
    #[arg(long = "rule", value_name = "RULE", value_parser = rule)]
    rules: Vec<Rule>,
    /// Only of this symbol
    #[arg(long = "symbol", value_name = "SYMBOL")]
    symbols: Vec<String>,
    /// Only records whose time is this or later: RFC 3339, or so long ago as in `2h`. A rejection has the time of its
    /// record on staging
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Only records whose time is earlier
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,
    /// Only in this partition
    #[arg(long, value_name = "N")]
    partition: Option<Partition>,
    /// Only from this offset on
    #[arg(long, value_name = "N", requires = "partition")]
    pub(super) offset: Option<Offset>,
    /// Only the record at this place
    #[arg(long = "at", value_name = "PARTITION:OFFSET")]
    places: Vec<Place>,
}

/// A record's place on `bad_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) partition: Partition,
    pub(super) offset: Offset,
}

/// The times between which records are meant, in ms since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Window {
    /// The first.
    pub since: Option<i64>,
    /// The first that is no longer meant.
    pub until: Option<i64>,
}

/// A time as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    At(i64),
    Ago(Duration),
}

impl Choice {
    /// The times that are meant, now.
    pub fn window(&self) -> Window {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = |moment: Moment| match moment {
            Moment::At(ms) => ms,
            Moment::Ago(ago) => i64::try_from(now.saturating_sub(ago).as_millis()).unwrap_or(i64::MAX),
        };
        Window { since: self.since.map(ms), until: self.until.map(ms) }
    }

    /// Whether the record is meant.
    pub fn holds(&self, entry: &Entry, window: Window) -> bool {
        let place = Place { partition: entry.partition, offset: entry.offset };
        let time = entry.time_ms;
        (self.rules.is_empty() || self.rules.iter().any(|rule| entry.rules.contains(rule)))
            && (self.symbols.is_empty() || self.symbols.contains(&entry.symbol))
            && window.since.is_none_or(|since| time.is_some_and(|time| time >= since))
            && window.until.is_none_or(|until| time.is_some_and(|time| time < until))
            && self.offset.is_none_or(|from| entry.offset >= from)
            && (self.places.is_empty() || self.places.contains(&place))
    }

    /// Whether anything in the partition can be meant.
    pub(super) fn may_be_in(&self, partition: Partition) -> bool {
        self.partition.is_none_or(|only| only == partition)
            && (self.places.is_empty() || self.places.iter().any(|place| place.partition == partition))
    }

    /// That no partition is named that there isn't.
    pub(super) fn check(&self, partitions: Partition) -> anyhow::Result<()> {
        let named = self.partition.into_iter().chain(self.places.iter().map(|place| place.partition));
        match named.into_iter().find(|named| !(0..partitions).contains(named)) {
            Some(named) => Err(anyhow!("partition {named}: expected one from 0 to {}", partitions - 1)),
            None => Ok(()),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.split_once(':').and_then(|(partition, offset)| {
            Some(Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        });
        place
            .filter(|place| place.partition >= 0 && place.offset >= 0)
            .ok_or_else(|| "expected partition and offset, as in `3:1207`".to_owned())
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Some(time) = WallTime::parse(text) {
        return Ok(Moment::At(time.0));
    }
    humantime::parse_duration(text)
        .map(Moment::Ago)
        .map_err(|_| "expected RFC 3339 with an offset, or a duration ago, as in `2h`".to_owned())
}

fn rule(name: &str) -> Result<Rule, String> {
    Rule::from_name(name).ok_or_else(|| "no rule has this name; `tickgate rules list` shows all".to_owned())
}

/// The kind of that name.
pub(super) fn kind(name: &str) -> Result<Kind, String> {
    let all = || Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    Kind::from_name(name).ok_or_else(|| format!("expected one of {}", all()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            partition: 1,
            offset: 7,
            time_ms: Some(1_000),
            kind: Some(Kind::Rejected),
            symbol: "A".to_owned(),
            rules: vec![Rule::BadTime, Rule::WrongType],
            evidence: None,
            what: String::new(),
        }
    }

    #[test]
    fn every_filter_must_hold() {
        let all = Choice::default();
        let open = Window::default();
        assert!(all.holds(&entry(), open));
        let place = |offset| Place { partition: 1, offset };
        let holding = [
            Choice { rules: vec![Rule::NotJson, Rule::BadTime], ..all.clone() },
            Choice { symbols: vec!["B".into(), "A".into()], ..all.clone() },
            Choice { offset: Some(7), ..all.clone() },
            Choice { places: vec![place(6), place(7)], ..all.clone() },
        ];
        assert!(holding.iter().all(|choice| choice.holds(&entry(), open)));
        let other = [
            Choice { rules: vec![Rule::NotJson], ..all.clone() },
            Choice { symbols: vec!["B".into()], rules: vec![Rule::BadTime], ..all.clone() },
            Choice { offset: Some(8), ..all.clone() },
            Choice { places: vec![place(6)], ..all.clone() },
        ];
        assert!(!other.iter().any(|choice| choice.holds(&entry(), open)));
        let window = |since, until| Window { since: Some(since), until: Some(until) };
        assert!(all.holds(&entry(), window(1_000, 1_001)));
        assert!(!all.holds(&entry(), window(1_001, 2_000)));
        assert!(!all.holds(&entry(), window(0, 1_000)));
        assert!(!all.holds(&Entry { time_ms: None, ..entry() }, window(0, 2_000)));
    }

    #[test]
    fn times_and_places_are_read() {
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(Moment::At(1_000)));
        assert_eq!(moment("90m"), Ok(Moment::Ago(Duration::from_mins(90))));
        assert!(moment("yesterday").is_err());
        assert_eq!("3:12".parse(), Ok(Place { partition: 3, offset: 12 }));
        assert!(["3", "3:", "-1:2", "3:-1", "3:x"].iter().all(|text| text.parse::<Place>().is_err()));
    }
}
