//! What came of the records that did not pass, and what was marked: counts by rule and minute, the newest
//! rejections with their evidence, the newest events. Pure: times are arguments, and everything has a bound.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::model::{Event, EventTime, Kind, Offset, Partition, Rejection, Rule, WallTime};

/// Minutes that are counted one by one: a day of them.
const MINUTES_MAX: usize = 24 * 60;
/// Rejections and events that are kept, the newest.
const KEPT_MAX: usize = 500;
/// What is shown of a key and of a value, in bytes.
const KEY_BYTES: usize = 300;
const VALUE_BYTES: usize = 2_048;
const MINUTE_MS: i64 = 60_000;

/// A record of `bad_data`.
#[derive(Debug, Clone, Copy)]
pub struct BadRecord<'a> {
    /// Its partition.
    pub partition: Partition,
    /// Its offset.
    pub offset: Offset,
    /// Its Kafka time, in ms since 1970.
    pub time_ms: i64,
    /// What `tg-kind` says; `None` where that is no kind that this version knows.
    pub kind: Option<Kind>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// `tg-rejection`.
    pub rejection: Option<&'a [u8]>,
}

/// A rejection as it is shown: what was there beside what should have been.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rejected {
    /// Its partition in `bad_data`.
    pub partition: Partition,
    /// Its offset there.
    pub offset: Offset,
    /// Its Kafka time.
    pub time: WallTime,
    /// The record's key as a text.
    pub symbol: String,
    /// Why.
    pub rules: Vec<BrokenRule>,
    /// Where it was on staging.
    pub source: Option<SourcePlace>,
    /// The beginning of the record's value as a text; none where it had none.
    pub value: Option<String>,
    /// The size of the value in bytes.
    pub value_bytes: usize,
}

/// One rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BrokenRule {
    /// Its name.
    pub rule: &'static str,
    /// The field it is about.
    pub field: String,
    /// What was there.
    pub found: String,
    /// What should have been there.
    pub expected: String,
}

/// A place on staging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourcePlace {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: Partition,
    /// The offset.
    pub offset: Offset,
}

/// An event as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// `stale`, `recovered`, `feed_silent` or `feed_recovered`.
    pub kind: &'static str,
    /// Its Kafka time.
    pub time: WallTime,
    /// What it said.
    #[serde(flatten)]
    pub said: serde_json::Map<String, serde_json::Value>,
}

/// How often something happened in one minute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Minute {
    /// Where it begins, in seconds since 1970.
    pub time: i64,
    /// Broken rules and marks, by name; what did not happen is left out.
    pub rules: BTreeMap<&'static str, u32>,
    /// Records of `bad_data`, by kind; what did not happen is left out.
    pub kinds: BTreeMap<&'static str, u32>,
}

/// A class whose feed is silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilentFeed {
    /// The class.
    pub class: String,
    /// The last event time of any of its symbols, where it is known.
    #[serde(default)]
    pub last_seen: Option<EventTime>,
    /// When it was noticed.
    pub detected_at: WallTime,
}

/// Everything that is counted.
#[derive(Debug, Clone, Default)]
pub struct Quality {
    version: u64,
    rules: BTreeMap<&'static str, u64>,
    kinds: BTreeMap<&'static str, u64>,
    minutes: BTreeMap<i64, Minute>,
    rejected: VecDeque<Rejected>,
    events: VecDeque<Told>,
    silent_feeds: BTreeMap<String, SilentFeed>,
}

impl Quality {
    /// Takes in a record of `bad_data`; the event that it is, if it is one.
    pub fn bad(&mut self, record: &BadRecord<'_>) -> Option<Event> {
        self.version += 1;
        let kind = record.kind.map_or("unknown", Kind::name);
        *self.kinds.entry(kind).or_default() += 1;
        *self.minute(record.time_ms).kinds.entry(kind).or_default() += 1;
        match record.kind? {
            Kind::Rejected => {
                let rejected = Rejected::read(record);
                for rule in &rejected.rules {
                    self.count_rule(rule.rule, record.time_ms);
                }
                keep(&mut self.rejected, rejected);
                None
            }
            kind @ (Kind::Stale | Kind::Recovered | Kind::FeedSilent | Kind::FeedRecovered) => {
                let value = record.value.unwrap_or_default();
                if let Ok(said) = serde_json::from_slice(value) {
                    keep(&mut self.events, Told { kind: kind.name(), time: WallTime(record.time_ms), said });
                }
                if let Ok(feed) = serde_json::from_slice::<SilentFeed>(value) {
                    match kind {
                        Kind::FeedSilent => drop(self.silent_feeds.insert(feed.class.clone(), feed)),
                        Kind::FeedRecovered => drop(self.silent_feeds.remove(&feed.class)),
                        _ => {}
                    }
                }
                Event::from_json(kind, value)?.ok()
            }
            Kind::Removed | Kind::NotATrade | Kind::Unsendable => None,
        }
    }

    /// Takes in a mark of a record of `stock_data`; `time_ms` is its Kafka time. Names of no rule are left out.
    pub fn mark(&mut self, name: &str, time_ms: i64) {
        if let Some(rule) = Rule::from_name(name) {
            self.version += 1;
            self.count_rule(rule.name(), time_ms);
        }
    }

    /// Grows with everything that is taken in.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Broken rules and marks, by name.
    pub fn rules(&self) -> &BTreeMap<&'static str, u64> {
        &self.rules
    }

    /// Records of `bad_data`, by kind.
    pub fn kinds(&self) -> &BTreeMap<&'static str, u64> {
        &self.kinds
    }

    /// The minutes in which anything happened, oldest first.
    pub fn minutes(&self) -> impl Iterator<Item = &Minute> {
        self.minutes.values()
    }

    /// The newest rejections, newest first.
    pub fn rejected(&self) -> impl Iterator<Item = &Rejected> {
        self.rejected.iter()
    }

    /// The newest events, newest first.
    pub fn events(&self) -> impl Iterator<Item = &Told> {
        self.events.iter()
    }

    /// Classes whose feed is silent.
    pub fn silent_feeds(&self) -> impl Iterator<Item = &SilentFeed> {
        self.silent_feeds.values()
    }

    fn count_rule(&mut self, rule: &'static str, time_ms: i64) {
        *self.rules.entry(rule).or_default() += 1;
        *self.minute(time_ms).rules.entry(rule).or_default() += 1;
    }

    fn minute(&mut self, time_ms: i64) -> &mut Minute {
        let time = time_ms.div_euclid(MINUTE_MS) * (MINUTE_MS / 1_000);
        if !self.minutes.contains_key(&time) && self.minutes.len() >= MINUTES_MAX {
            self.minutes.pop_first();
        }
        let none = || Minute { time, rules: BTreeMap::new(), kinds: BTreeMap::new() };
        self.minutes.entry(time).or_insert_with(none)
    }
}

impl Rejected {
    fn read(record: &BadRecord<'_>) -> Self {
        let evidence = Rejection::from_header(record.rejection.unwrap_or_default()).ok();
        let source = evidence.as_ref().map(|evidence| SourcePlace {
            topic: evidence.topic.clone(),
            partition: evidence.source.partition,
            offset: evidence.source.offset,
        });
        let broken = evidence.map(|evidence| evidence.rejection.broken).unwrap_or_default();
        let rules = broken.into_iter().map(|one| BrokenRule {
            rule: one.rule.name(),
            field: one.field.into_owned(),
            found: one.found,
            expected: one.expected.into_owned(),
        });
        Self {
            partition: record.partition,
            offset: record.offset,
            time: WallTime(record.time_ms),
            symbol: text(record.key.unwrap_or_default(), KEY_BYTES),
            rules: rules.collect(),
            source,
            value: record.value.map(|value| text(value, VALUE_BYTES)),
            value_bytes: record.value.map_or(0, <[u8]>::len),
        }
    }
}

fn keep<T>(kept: &mut VecDeque<T>, one: T) {
    kept.push_front(one);
    kept.truncate(KEPT_MAX);
}

/// The beginning of some bytes, as a text.
fn text(bytes: &[u8], bytes_max: usize) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(bytes_max)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rejection::Broken;
    use crate::model::{Level, Source};

    fn record(kind: Kind, value: &[u8], time_ms: i64) -> BadRecord<'_> {
        let (partition, offset, key) = (3, 7, Some(&b"AAPL"[..]));
        BadRecord { partition, offset, time_ms, kind: Some(kind), key, value: Some(value), rejection: None }
    }

    #[test]
    fn a_rejection_is_shown_beside_what_was_expected() {
        let broken = Broken::new(Rule::PriceNotPositive, "last_price", "-1", "a number above 0");
        let source = Source { partition: 3, offset: 99 };
        let header = Rejection { broken: vec![broken] }.to_header("staging", source);
        let value = [&b"{\"last_price\":-1}"[..], &[0xff; 3_000]].concat();
        let mut quality = Quality::default();
        let bad = BadRecord { rejection: Some(&header), ..record(Kind::Rejected, &value, 61_000) };
        assert_eq!(quality.bad(&bad), None);
        let shown = quality.rejected().next().unwrap();
        assert_eq!((shown.symbol.as_str(), shown.value_bytes, shown.partition), ("AAPL", 3_017, 3));
        assert_eq!(
            (shown.rules[0].found.as_str(), shown.rules[0].expected.as_str()),
            ("-1", "a number above 0")
        );
        assert_eq!(shown.source.as_ref().unwrap().offset, 99);
        assert!(shown.value.as_ref().unwrap().starts_with("{\"last_price\":-1}"));
        assert_eq!(quality.rules()["price_not_positive"], 1);
        let minute = quality.minutes().next().unwrap();
        assert_eq!((minute.time, minute.kinds["rejected"]), (60, 1));
    }

    #[test]
    fn a_record_without_evidence_is_shown_all_the_same() {
        let mut quality = Quality::default();
        let odd = BadRecord { key: None, value: None, ..record(Kind::Rejected, b"", 0) };
        quality.bad(&odd);
        quality.bad(&BadRecord { kind: None, ..odd });
        let shown = quality.rejected().next().unwrap();
        assert_eq!((shown.symbol.as_str(), &shown.value, shown.rules.len()), ("", &None, 0));
        assert_eq!((quality.kinds()["unknown"], quality.kinds()["rejected"]), (1, 1));
    }

    #[test]
    fn events_lead_to_their_symbol_and_feeds_come_back() {
        let stale = concat!(
            r#"{"symbol":"AAPL","class":"default","last_seen":"2026-11-22T14:00:00.123Z","level":"error","#,
            r#""threshold_ms":1,"calendar":"24x7","detected_at":"2026-11-22T18:00:05.000Z","noticed_by":"clock"}"#
        );
        let mut quality = Quality::default();
        let event = quality.bad(&record(Kind::Stale, stale.as_bytes(), 0)).unwrap();
        assert_eq!(event.freshness().unwrap().level, Level::Error);
        assert_eq!(quality.events().next().unwrap().said["symbol"], "AAPL");
        assert_eq!(quality.bad(&record(Kind::Stale, b"{", 0)), None);

        let silent = br#"{"class":"crypto","detected_at":"2026-11-22T18:00:05.000Z"}"#;
        quality.bad(&record(Kind::FeedSilent, silent, 0));
        assert_eq!(quality.silent_feeds().next().unwrap().class, "crypto");
        quality.bad(&record(Kind::FeedRecovered, silent, 0));
        assert_eq!(quality.silent_feeds().count(), 0);
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut quality = Quality::default();
        for n in 0..5_000 {
            quality.bad(&record(Kind::Rejected, b"", n * MINUTE_MS));
        }
        quality.mark("late", 0);
        quality.mark("no rule", 0);
        assert_eq!((quality.rejected().count(), quality.minutes().count()), (KEPT_MAX, MINUTES_MAX));
        assert_eq!((quality.kinds()["rejected"], quality.rules()["late"]), (5_000, 1));
    }
}
