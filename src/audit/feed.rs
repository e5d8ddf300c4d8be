//! The events of whole classes in one partition of `bad_data`, against each other and against the class rows. Only a
//! class's home partition has any. That a class fell silent is judged over all partitions, so it is not proved here.

use std::collections::{BTreeMap, BTreeSet};

use super::expected::{Calls, Inputs, Seen};
use super::last_seen::History;
use super::message::Message;
use super::report::{Breach, BreachKind, Count, Findings, Topic, Unjudged};
use super::rows::Rows;
use crate::model::{Event, EventTime, FeedSilence, Kind, Offset, Partition};

/// All of them, in their order.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    told: BTreeSet<(String, EventTime)>,
    /// The silence that goes on.
    open: BTreeMap<String, EventTime>,
    /// Ends whose silence was not told: breaches only where none can have been retired.
    unmatched: Vec<(Offset, String)>,
}

impl Feeds {
    /// Takes in a `feed_silent`.
    pub(super) fn silent(&mut self, partition: Partition, message: &Message<'_>, findings: &mut Findings) {
        findings.count(Count::FeedSilent, 1);
        let Some(said) = read(Kind::FeedSilent, partition, message, findings) else { return };
        let offset = message.offset;
        if said.silence_ms <= said.threshold_ms {
            let found = format!("{} after {} ms", shown(&said), said.silence_ms);
            let expected = format!("a silence longer than its threshold, {} ms", said.threshold_ms);
            findings.breach(breach(BreachKind::FalseEvent, partition, offset, found, expected));
        }
        let is_new = self.told.insert((said.class.clone(), said.last_seen));
        let goes_on = self.open.insert(said.class.clone(), said.last_seen).is_some();
        if !is_new || goes_on {
            let (found, expected) =
                (shown(&said), "one for each silence, and its end before the next".to_owned());
            findings.breach(breach(BreachKind::DuplicateEvent, partition, offset, found, expected));
        }
    }

    /// Takes in a `feed_recovered`.
    pub(super) fn recovered(&mut self, partition: Partition, message: &Message<'_>, findings: &mut Findings) {
        findings.count(Count::FeedRecovered, 1);
        let Some(said) = read(Kind::FeedRecovered, partition, message, findings) else { return };
        if self.open.remove(&said.class) != Some(said.last_seen) {
            self.unmatched.push((message.offset, format!("the end of {}", shown(&said))));
        }
    }

    /// Judges what only the end shows: ends without a silence, and class rows.
    pub(super) fn judge(self, history: History, inputs: &Inputs, rows: &Rows, findings: &mut Findings) {
        let partition = history.partition;
        for (offset, found) in self.unmatched {
            if history.events_retired {
                findings.skip(Unjudged::EventHistoryRetired, 1);
                continue;
            }
            let expected = "its feed_silent before it, in this partition".to_owned();
            findings.breach(breach(BreachKind::UnmatchedRecovered, partition, offset, found, expected));
        }
        let accepted: BTreeSet<i64> = inputs
            .iter()
            .take_while(|input| input.offset < history.until)
            .filter(|input| !matches!(input.seen, Seen::Unsendable { .. }))
            .filter_map(|input| match input.calls {
                Calls::Accepted { event_time, .. } => Some(input.kafka_time.unwrap_or(event_time)),
                _ => None,
            })
            .collect();
        for (class, (offset, row)) in &rows.classes {
            let told = row.silent_from.map(|from| (class.clone(), EventTime(from)));
            if told.is_some_and(|told| !self.told.contains(&told)) {
                if history.events_retired {
                    findings.skip(Unjudged::EventHistoryRetired, 1);
                } else {
                    let found = format!("a row that calls the class `{class}` silent");
                    let expected = "its feed_silent in this partition of bad_data".to_owned();
                    let lost = breach(BreachKind::LostEvent, partition, *offset, found, expected);
                    findings.breach(Breach { topic: Topic::Changelog, ..lost });
                }
            }
            let Some(last) = row.last_accepted else { continue };
            if accepted.contains(&last) {
                findings.count(Count::ClassesCompared, 1);
            } else if !history.complete {
                findings.skip(Unjudged::HistoryRetired, 1);
            } else {
                let found = format!("a row of the class `{class}` that stands at {}", EventTime(last));
                let expected = "the Kafka time of an accepted input".to_owned();
                let wrong = breach(BreachKind::WrongLastSeen, partition, *offset, found, expected);
                findings.breach(Breach { topic: Topic::Changelog, ..wrong });
            }
        }
    }
}

fn shown(said: &FeedSilence) -> String {
    format!("feed_silent (`{}`, {})", said.class, said.last_seen)
}

fn read(
    kind: Kind,
    partition: Partition,
    message: &Message<'_>,
    findings: &mut Findings,
) -> Option<FeedSilence> {
    let problem = match Event::from_json(kind, message.value.unwrap_or_default()) {
        Some(Ok(Event::FeedSilent(said) | Event::FeedRecovered(said))) => return Some(said),
        Some(Err(error)) => error.to_string(),
        _ => "no event of a class has this kind".to_owned(),
    };
    let found = format!("{}: {problem}", kind.name());
    let expected = "the JSON of an event".to_owned();
    findings.breach(breach(BreachKind::UnreadableEvent, partition, message.offset, found, expected));
    None
}

fn breach(kind: BreachKind, partition: Partition, offset: Offset, found: String, expected: String) -> Breach {
    Breach { kind, topic: Topic::BadData, partition, offset: Some(offset), input: None, found, expected }
}
