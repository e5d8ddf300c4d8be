//! Every silence that is longer than the threshold has exactly one `stale`, and one `recovered` if it ended;
//! shorter ones have a `stale` only where the clock saw them as too long, and then a `recovered` that says so.
//! No backlog is taken for a silence.

use std::collections::BTreeMap;
use std::sync::Arc;

use tickgate::model::{Freshness, Kind, NoticedBy, Partition};

use super::{Breach, hold};
use crate::journal::{Body, Journal, Topic, Txn, index};
use crate::reference::{End, Reference, Span};

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
    pub fn note(&mut self, txn: Txn, journal: &Journal) -> Result<(), Breach> {
        for (topic, partition, at) in &journal.txns[txn].wrote {
            let log = journal.read(*topic, *partition).expect("a log was written");
            let Body::Event { kind, said } = &log.entries[index(*at)].body else { continue };
            hold(*topic == Topic::BadData, || format!("an event in {topic:?}"))?;
            let told = self.0.entry((*partition, said.symbol.clone(), said.last_seen.0)).or_default();
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

    /// `drained`: all is worked off and the clock has passed every threshold.
    pub fn check(&self, reference: &Reference, threshold_ms: i64, drained: bool) -> Result<(), Breach> {
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
            check_one(self.0.get(key).unwrap_or(&nothing), spans, threshold_ms, drained)
                .map_err(|Breach(what)| Breach(format!("{key:?}: {what}; spans {spans:?}")))?;
        }
        Ok(())
    }

    /// What the clock called a silence was one: nothing newer had been appended when it looked. Only where no
    /// wall clock was ever wrong.
    pub fn check_clock(&self, reference: &Reference, base_ms: i64) -> Result<(), Breach> {
        for ((partition, symbol, last_seen), told) in &self.0 {
            for said in told.stale.iter().filter(|said| said.noticed_by == NoticedBy::Clock) {
                let looked_ms = said.detected_at.0 - base_ms;
                let seen = reference.seen_before(*partition, symbol, looked_ms).map(|seen| seen.last_seen);
                let newer = seen.is_some_and(|seen| seen > *last_seen);
                hold(!newer, || {
                    format!(
                        "`{symbol}` in partition {partition} was called silent since {last_seen}, seen {seen:?}"
                    )
                })?;
            }
        }
        Ok(())
    }
}

fn check_one(told: &Told, spans: &[Span], threshold_ms: i64, drained: bool) -> Result<(), Breach> {
    let (stale, recovered) = (told.stale.len(), told.recovered.len());
    let silent = |span: &&Span| matches!(span.end, End::Moved(to) if to - span.last_seen > threshold_ms);
    let moved = |span: &&Span| matches!(span.end, End::Moved(_));
    let open = |span: &&Span| span.end == End::Open;
    let must =
        spans.iter().filter(silent).count() + if drained { spans.iter().filter(open).count() } else { 0 };
    hold((must..=spans.len()).contains(&stale), || {
        format!("expected {must} to {} `stale`, found {stale}", spans.len())
    })?;
    let must = spans.iter().filter(silent).count();
    let may = spans.iter().filter(moved).count().min(stale);
    hold((must..=may).contains(&recovered), || {
        format!("expected {must} to {may} `recovered`, found {recovered}")
    })?;
    if spans.iter().all(|span| moved(&span)) {
        hold(recovered == stale, || format!("{stale} `stale`, {recovered} `recovered`"))?;
    }
    for said in &told.recovered {
        let silence_ms = said.silence_ms.unwrap_or_default();
        hold(said.late_delivery == (silence_ms <= threshold_ms), || format!("{said:?}"))?;
    }
    for said in &told.stale {
        hold(said.silence_ms.is_some_and(|silence_ms| silence_ms > threshold_ms), || format!("{said:?}"))?;
    }
    Ok(())
}
