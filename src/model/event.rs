//! What the gate itself has to say about a symbol's freshness: an event in `bad_data`. The kind of an event
//! stands in its header `tg-kind`, the rest is its JSON value.

use super::headers::Kind;
use super::{EventTime, WallTime};
use serde::{Deserialize, Serialize};

/// A symbol fell silent or is back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// The silence is longer than the level's threshold.
    Stale(Freshness),
    /// A quote ended a silence that had been reported.
    Recovered(Freshness),
    /// A whole class fell silent.
    FeedSilent(FeedSilence),
    /// A quote of the class ended that.
    FeedRecovered(FeedSilence),
}

/// What is known of the silence of a whole class. (class, `last_seen`) tells it from every other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FeedSilence {
    /// Which class.
    pub class: String,
    /// The Kafka time of its last accepted quote before the silence.
    pub last_seen: EventTime,
    /// The threshold that was passed, in milliseconds of open time.
    pub threshold_ms: i64,
    /// The calendar whose open time counts.
    pub calendar: String,
    /// When the gate saw it.
    pub detected_at: WallTime,
    /// What made the gate see it.
    pub noticed_by: NoticedBy,
    /// How long the silence was by then, in milliseconds of open time.
    pub silence_ms: i64,
}

/// What is known of one silence. (symbol, `last_seen`, level) tells it from every other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Freshness {
    /// Whose silence it is.
    pub symbol: String,
    /// The symbol's class, which decides calendar and thresholds.
    pub class: String,
    /// The last event time before the silence.
    pub last_seen: EventTime,
    /// How serious it is: of `recovered`, the highest level that was reported.
    pub level: Level,
    /// The level's threshold, in milliseconds of open time; none where the settings no longer have that level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_ms: Option<i64>,
    /// The calendar whose open time counts.
    pub calendar: String,
    /// When the gate saw it.
    pub detected_at: WallTime,
    /// What made the gate see it.
    pub noticed_by: NoticedBy,
    /// How long the silence was by then, in milliseconds of open time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_ms: Option<i64>,
    /// Event times showed later that there was no silence: the quotes had only been delivered late.
    #[serde(default, skip_serializing_if = "is_false")]
    pub late_delivery: bool,
    /// The symbol was on the watch list and had never been seen: `last_seen` is when it was listed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub never_seen: bool,
    /// The symbol's whole class was silent: see its `feed_silent`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub feed_silent: bool,
}

/// How serious a silence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // the name says it
pub enum Level {
    Warn,
    Error,
}

/// What made the gate see a silence or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticedBy {
    /// The task's clock passed the deadline.
    Clock,
    /// The symbol's next quote came first.
    NextRecord,
}

impl Event {
    /// The value of its `tg-kind` header.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Stale(_) => Kind::Stale,
            Self::Recovered(_) => Kind::Recovered,
            Self::FeedSilent(_) => Kind::FeedSilent,
            Self::FeedRecovered(_) => Kind::FeedRecovered,
        }
    }

    /// What it says of a symbol; `None` where it is about a class.
    pub fn freshness(&self) -> Option<&Freshness> {
        match self {
            Self::Stale(freshness) | Self::Recovered(freshness) => Some(freshness),
            Self::FeedSilent(_) | Self::FeedRecovered(_) => None,
        }
    }

    /// The same, marked if the symbol's whole class is silent.
    #[must_use]
    pub fn within_silent_feed(mut self, feed_silent: bool) -> Self {
        if let Self::Stale(freshness) | Self::Recovered(freshness) = &mut self {
            freshness.feed_silent = feed_silent;
        }
        self
    }

    /// The record's value.
    pub fn to_json(&self) -> Vec<u8> {
        let written = match self {
            Self::Stale(said) | Self::Recovered(said) => serde_json::to_vec(said),
            Self::FeedSilent(said) | Self::FeedRecovered(said) => serde_json::to_vec(said),
        };
        written.expect("texts and numbers can always be written as JSON")
    }

    /// Reads the value of an event back; `None` when no event has that kind.
    pub fn from_json(kind: Kind, json: &[u8]) -> Option<Result<Self, serde_json::Error>> {
        Some(match kind {
            Kind::Stale => serde_json::from_slice(json).map(Self::Stale),
            Kind::Recovered => serde_json::from_slice(json).map(Self::Recovered),
            Kind::FeedSilent => serde_json::from_slice(json).map(Self::FeedSilent),
            Kind::FeedRecovered => serde_json::from_slice(json).map(Self::FeedRecovered),
            _ => return None,
        })
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes references
fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn silence() -> Freshness {
        Freshness {
            symbol: "BINANCE:BTCUSDT".into(),
            class: "crypto".into(),
            last_seen: EventTime(1_795_356_000_123),
            level: Level::Error,
            threshold_ms: Some(14_400_000),
            calendar: "24x7".into(),
            detected_at: WallTime(1_795_370_405_000),
            noticed_by: NoticedBy::Clock,
            silence_ms: Some(14_404_877),
            late_delivery: false,
            never_seen: false,
            feed_silent: false,
        }
    }

    #[test]
    fn writes_the_contract() {
        let expected = concat!(
            r#"{"symbol":"BINANCE:BTCUSDT","class":"crypto","last_seen":"2026-11-22T14:00:00.123Z","#,
            r#""level":"error","threshold_ms":14400000,"calendar":"24x7","#,
            r#""detected_at":"2026-11-22T18:00:05.000Z","noticed_by":"clock","silence_ms":14404877}"#
        );
        assert_eq!(String::from_utf8(Event::Stale(silence()).to_json()).unwrap(), expected);
        let late = Freshness { late_delivery: true, noticed_by: NoticedBy::NextRecord, ..silence() };
        let json = String::from_utf8(Event::Recovered(late).to_json()).unwrap();
        assert!(json.contains(r#""noticed_by":"next_record","silence_ms":14404877,"late_delivery":true}"#));
    }

    #[test]
    fn other_kinds_are_no_events() {
        assert!(Event::from_json(Kind::Rejected, &Event::Stale(silence()).to_json()).is_none());
        assert!(Event::from_json(Kind::Stale, b"{}").is_some_and(|read| read.is_err()));
    }

    fn freshness() -> impl Strategy<Value = Freshness> {
        let texts = (any::<String>(), any::<String>(), any::<String>());
        let times = (TIMES, TIMES);
        let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
        (texts, times, any::<Option<i64>>(), any::<Option<i64>>(), flags).prop_map(
            |((symbol, class, calendar), (last_seen, detected_at), threshold_ms, silence_ms, flags)| {
                let (warns, by_clock, late_delivery, never_seen, feed_silent) = flags;
                Freshness {
                    symbol,
                    class,
                    last_seen: EventTime(last_seen),
                    level: if warns { Level::Warn } else { Level::Error },
                    threshold_ms,
                    calendar,
                    detected_at: WallTime(detected_at),
                    noticed_by: if by_clock { NoticedBy::Clock } else { NoticedBy::NextRecord },
                    silence_ms,
                    late_delivery,
                    never_seen,
                    feed_silent,
                }
            },
        )
    }

    fn feed() -> impl Strategy<Value = FeedSilence> {
        let texts = (any::<String>(), any::<String>());
        (texts, TIMES, TIMES, any::<i64>(), any::<i64>(), any::<bool>()).prop_map(
            |((class, calendar), last_seen, detected_at, threshold_ms, silence_ms, by_clock)| FeedSilence {
                class,
                last_seen: EventTime(last_seen),
                threshold_ms,
                calendar,
                detected_at: WallTime(detected_at),
                noticed_by: if by_clock { NoticedBy::Clock } else { NoticedBy::NextRecord },
                silence_ms,
            },
        )
    }

    const TIMES: std::ops::Range<i64> = 0..4_000_000_000_000;

    proptest! {
        #[test]
        fn events_read_back(said in freshness(), of_class in feed(), back in any::<bool>()) {
            let events = if back {
                [Event::Recovered(said), Event::FeedRecovered(of_class)]
            } else {
                [Event::Stale(said), Event::FeedSilent(of_class)]
            };
            for event in events {
                let read = Event::from_json(event.kind(), &event.to_json()).unwrap().unwrap();
                prop_assert_eq!(read, event);
            }
        }
    }
}
