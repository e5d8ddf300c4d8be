//! A class that is judged as a whole is silent once for each silence, told in its home partition alone, and once over
//! when a quote has come; what is told is so. Whatever the workers and their replicas know, no silence is made up.

use std::collections::BTreeMap;

use tickgate::model::{Event, FeedSilence, partition_of};

use super::{Breach, hold};
use crate::journal::{Body, Journal, Topic, Txn, index};
use crate::looks::Looks;
use crate::reference::Reference;
use crate::tally::{Kind, Tally};
use crate::watch::Watch;

/// What was told of each class, in order.
#[derive(Debug, Default)]
pub struct Feeds(BTreeMap<String, Vec<Event>>);

impl Feeds {
    /// Takes up what a transaction that has just been committed tells.
    pub fn note(
        &mut self,
        txn: Txn,
        journal: &Journal,
        partitions: i32,
        tally: &mut Tally,
    ) -> Result<(), Breach> {
        for (topic, partition, at) in &journal.txns[txn].wrote {
            let log = journal.read(*topic, *partition).expect("a log was written");
            let Body::Feed(event) = &log.entries[index(*at)].body else { continue };
            let (about, is_over) = said(event);
            tally.note(if is_over { Kind::FeedRecovered } else { Kind::FeedSilent });
            hold(*topic == Topic::BadData, || format!("an event in {topic:?}"))?;
            let home = partition_of(about.class.as_bytes(), partitions);
            hold(*partition == home, || format!("{about:?} in partition {partition}, its home is {home}"))?;
            let told = self.0.entry(about.class.clone()).or_default();
            let fits = match told.last().map(said) {
                Some((before, false)) => is_over && before.last_seen == about.last_seen,
                Some((before, true)) => !is_over && before.last_seen < about.last_seen,
                None => !is_over,
            };
            hold(fits, || format!("{event:?} after {:?}", told.last()))?;
            told.push(event.clone());
        }
        Ok(())
    }

    /// When all is worked off and every threshold has passed.
    pub fn check_drained(
        &self,
        reference: &Reference,
        watch: &Watch,
        looks: &Looks,
        base_ms: i64,
    ) -> Result<(), Breach> {
        for (name, threshold_ms) in watch.feeds() {
            let quotes = quotes(reference, watch, name, base_ms);
            let told = self.0.get(name).map_or(&[][..], Vec::as_slice);
            for event in told {
                check_said(event, &quotes, watch, threshold_ms)
                    .and_then(|()| check_clock(event, &quotes, looks, base_ms))
                    .map_err(|Breach(what)| Breach(format!("{what}: {event:?}; quotes {quotes:?}")))?;
            }
            let last = quotes.iter().copied().max();
            let open = told.last().map(said).filter(|(_, is_over)| !is_over);
            let open = open.map(|(about, _)| about.last_seen.0);
            hold(open == last, || format!("`{name}` is silent since {last:?}, told was {told:?}"))?;
        }
        let strange = self.0.keys().find(|name| watch.feeds().iter().all(|(feed, _)| feed != name));
        hold(strange.is_none(), || format!("{strange:?} is not judged as a whole"))
    }
}

fn said(event: &Event) -> (&FeedSilence, bool) {
    match event {
        Event::FeedSilent(said) => (said, false),
        Event::FeedRecovered(said) => (said, true),
        other => panic!("{other:?} is about no class"),
    }
}

/// Kafka times of all quotes of a class that were accepted: when they were appended.
fn quotes(reference: &Reference, watch: &Watch, name: &str, base_ms: i64) -> Vec<i64> {
    let of_class = reference.accepted().iter().filter(|(symbol, _)| watch.of(symbol).name == name);
    of_class.map(|(_, at_ms)| base_ms + at_ms).collect()
}

fn check_said(event: &Event, quotes: &[i64], watch: &Watch, threshold_ms: i64) -> Result<(), Breach> {
    let (said, is_over) = said(event);
    let held = watch.named(&said.class);
    let found = (said.threshold_ms, said.calendar.as_str());
    hold(found == (threshold_ms, held.calendar()), || "it is held to something else".to_owned())?;
    let from = said.last_seen.0;
    hold(quotes.contains(&from), || "no quote has that time".to_owned())?;
    if is_over {
        let mut later = quotes.iter().filter(|time| **time > from);
        let ended = later.any(|time| held.open_ms(from, *time) == said.silence_ms);
        return hold(ended, || "no quote ended it then".to_owned());
    }
    let silence_ms = held.open_ms(from, said.detected_at.0);
    hold(said.silence_ms == silence_ms && silence_ms > threshold_ms, || format!("it was {silence_ms} ms"))
}

/// What was called silent was: no quote had been appended when the clock was read, whatever it showed.
fn check_clock(event: &Event, quotes: &[i64], looks: &Looks, base_ms: i64) -> Result<(), Breach> {
    let Event::FeedSilent(said) = event else { return Ok(()) };
    let newer = |at_ms| quotes.iter().any(|time| *time > said.last_seen.0 && *time < base_ms + at_ms);
    hold(looks.all(said.detected_at.0, newer) == Some(false), || {
        "a quote had come, or nobody had looked".to_owned()
    })
}
