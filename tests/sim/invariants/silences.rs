//! Every silence that is longer than a threshold has exactly one `stale` of that level, and one `recovered` of the
//! highest if it ended; shorter ones have a `stale` only where the clock saw them as too long, and then a `recovered`
//! that says so. Only open time counts. No backlog is taken for a silence.

use std::collections::BTreeMap;
use std::sync::Arc;

use tickgate::model::{Freshness, Kind, Level, NoticedBy, Partition};

use super::{Breach, hold};
use crate::journal::{Body, Journal, Topic, Txn, index};
use crate::looks::Looks;
use crate::reference::{End, Reference, Span};
use crate::tally::{self, Tally};
use crate::watch::{Held, Watch};

#[derive(Debug, Default)]
struct Told {
    stale: Vec<Arc<Freshness>>,
    recovered: Vec<Arc<Freshness>>,
}

/// The committed events, by partition, symbol and last-seen.
#[derive(Debug, Default)]
pub struct Silences(BTreeMap<(Partition, String, i64), Told>);

impl Silences {
    /// Takes up what a transaction that has just been committed tells.
    pub fn note(&mut self, txn: Txn, journal: &Journal, tally: &mut Tally) -> Result<(), Breach> {
        for (topic, partition, at) in &journal.txns[txn].wrote {
            let log = journal.read(*topic, *partition).expect("a log was written");
            let Body::Event { kind, said } = &log.entries[index(*at)].body else { continue };
            hold(*topic == Topic::BadData, || format!("an event in {topic:?}"))?;
            let told = self.0.entry((*partition, said.symbol.clone(), said.last_seen.0)).or_default();
            tally.note(match (kind, said.level) {
                (Kind::Stale, Level::Warn) => tally::Kind::StaleWarn,
                (Kind::Stale, Level::Error) => tally::Kind::StaleError,
                (_, Level::Warn) => tally::Kind::RecoveredWarn,
                (_, Level::Error) => tally::Kind::RecoveredError,
            });
            if said.never_seen {
                tally.note(tally::Kind::NeverSeen);
            }
            if said.late_delivery {
                tally.note(tally::Kind::LateDelivery);
            }
            if said.calendar != "24x7" {
                tally.note(tally::Kind::OfSessions);
            }
            match kind {
                Kind::Stale => told.stale.push(said.clone()),
                Kind::Recovered => told.recovered.push(said.clone()),
                other => return Err(Breach(format!("{other:?} is no event of the gate"))),
            }
        }
        Ok(())
    }

    pub fn count(&self) -> usize {
        self.0.values().map(|told| told.stale.len() + told.recovered.len()).sum()
    }

    /// When all is worked off and the clock has passed every threshold.
    pub fn check(&self, reference: &Reference, watch: &Watch) -> Result<(), Breach> {
        let mut spans: BTreeMap<(Partition, String, i64), Vec<Span>> = BTreeMap::new();
        for (partition, symbol, of) in reference.spans() {
            for span in of {
                spans.entry((partition, symbol.to_string(), span.last_seen)).or_default().push(*span);
            }
        }
        for key in self.0.keys() {
            hold(spans.contains_key(key), || format!("{key:?}: an event, but no such last-seen"))?;
        }
        for (key, spans) in &spans {
            let nothing = Told::default();
            check_one(self.0.get(key).unwrap_or(&nothing), spans, watch.of(&key.1))
                .map_err(|Breach(what)| Breach(format!("{key:?}: {what}; spans {spans:?}")))?;
        }
        Ok(())
    }

    /// What the clock called a silence was one: nothing newer had been appended when it looked, whatever it showed.
    pub fn check_clock(&self, reference: &Reference, looks: &Looks) -> Result<(), Breach> {
        for ((partition, symbol, last_seen), told) in &self.0 {
            let newer = |at_ms| {
                let seen = reference.seen_before(*partition, symbol, at_ms);
                seen.is_some_and(|seen| seen.last_seen > *last_seen)
            };
            for said in told.stale.iter().filter(|said| said.noticed_by == NoticedBy::Clock) {
                hold(looks.all(said.detected_at.0, newer) == Some(false), || {
                    format!(
                        "`{symbol}` in partition {partition} was called silent since {last_seen}, and there was \
                         something newer, or nobody had looked: {said:?}"
                    )
                })?;
            }
        }
        Ok(())
    }
}

fn check_one(told: &Told, spans: &[Span], held: &Held) -> Result<(), Breach> {
    let last_seen = spans[0].last_seen;
    let open_ms = |span: &Span| match span.end {
        End::Moved(to) => Some(held.open_ms(last_seen, to)),
        _ => None,
    };
    let passed = |threshold_ms: i64| {
        spans.iter().filter(|span| open_ms(span).is_some_and(|open_ms| open_ms > threshold_ms)).count()
    };
    let open = spans.iter().filter(|span| span.end == End::Open).count();
    let levels = held.levels();
    hold(!levels.is_empty() || told.stale.is_empty() && told.recovered.is_empty(), || {
        "it is exempt".to_owned()
    })?;
    for (level, threshold_ms) in &levels {
        let stale = told.stale.iter().filter(|said| said.level == *level).count();
        let must = passed(*threshold_ms) + open;
        hold((must..=spans.len()).contains(&stale), || {
            format!("expected {must} to {} `stale` of {level:?}, found {stale}", spans.len())
        })?;
    }
    let silences = levels
        .first()
        .map_or(0, |(lowest, _)| told.stale.iter().filter(|said| said.level == *lowest).count());
    let recovered = told.recovered.len();
    let must = levels.first().map_or(0, |(_, threshold_ms)| passed(*threshold_ms));
    let moved = spans.iter().filter(|span| open_ms(span).is_some()).count();
    let may = moved.min(silences);
    hold((must..=may).contains(&recovered), || {
        format!("expected {must} to {may} `recovered`, found {recovered}")
    })?;
    if moved == spans.len() {
        hold(recovered == silences, || format!("{silences} were `stale`, {recovered} `recovered`"))?;
    }
    if let ([_], [said]) = (spans, told.recovered.as_slice()) {
        let highest = told.stale.iter().map(|said| said.level).max();
        hold(highest == Some(said.level), || format!("{highest:?} was the highest: {said:?}"))?;
    }
    told.stale.iter().try_for_each(|said| check_said(said, spans, held, false))?;
    told.recovered.iter().try_for_each(|said| check_said(said, spans, held, true))
}

/// That an event says what is so.
fn check_said(said: &Freshness, spans: &[Span], held: &Held, is_over: bool) -> Result<(), Breach> {
    let found = (said.class.as_str(), said.calendar.as_str(), said.threshold_ms);
    let expected = (held.name, held.calendar(), held.threshold_ms(said.level));
    hold(found == expected, || format!("expected {expected:?}: {said:?}"))?;
    let (silence_ms, threshold_ms) =
        (said.silence_ms.unwrap_or_default(), said.threshold_ms.unwrap_or_default());
    let is_long = silence_ms > threshold_ms;
    hold(if is_over { said.late_delivery != is_long } else { is_long }, || format!("{said:?}"))?;
    let is_true = match said.noticed_by {
        NoticedBy::Clock => silence_ms == held.open_ms(said.last_seen.0, said.detected_at.0),
        NoticedBy::NextRecord => spans
            .iter()
            .any(|span| matches!(span.end, End::Moved(to) if silence_ms == held.open_ms(span.last_seen, to))),
    };
    hold(is_true, || format!("the silence was not as long: {said:?}"))
}
