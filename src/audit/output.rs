//! One output against the input that it stands for.

use super::expected::{Calls, Expected, Inputs, Seen};
use super::message::{Header, Message, digest, last, shown, shown_headers};
use super::report::{BreachKind, Topic, Unjudged};
use crate::core::rules::Suspects;
use crate::model::time::output_time;
use crate::model::{Rejection, Rule, Source, headers};

/// What an output is, by its topic and its `tg-kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// In `stock_data`.
    Accepted,
    /// In `bad_data`, of these kinds.
    Rejected,
    Removed,
    Unsendable,
}

impl Found {
    /// Where it was found.
    pub(super) fn topic(self) -> Topic {
        match self {
            Self::Accepted => Topic::StockData,
            _ => Topic::BadData,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Accepted => "accepted, in stock_data",
            Self::Rejected => "rejected, in bad_data",
            Self::Removed => "removed, in bad_data",
            Self::Unsendable => "unsendable, in bad_data",
        }
    }

    fn called_for(calls: &Calls) -> Self {
        match calls {
            Calls::Accepted { .. } => Self::Accepted,
            Calls::Rejected { .. } => Self::Rejected,
            Calls::Removed { .. } => Self::Removed,
        }
    }
}

/// What is wrong with an output, what was found and what was expected.
pub(super) type Fault = (BreachKind, String, String);

/// What comparing an output came to.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) faults: Vec<Fault>,
    pub(super) unjudged: Vec<Unjudged>,
}

impl Faults {
    fn add(&mut self, kind: BreachKind, found: impl Into<String>, expected: impl Into<String>) {
        self.faults.push((kind, found.into(), expected.into()));
    }
}

/// Our headers: those after the input's.
fn ours<'m, 'a>(message: &'m Message<'a>, expected: &Expected) -> &'m [Header<'a>] {
    message.headers.get(expected.header_count as usize..).unwrap_or_default()
}

/// The epoch that the output was made in.
pub(super) fn epoch(message: &Message<'_>, found: Found, expected: &Expected) -> u32 {
    let ours = if found == Found::Unsendable { &message.headers } else { ours(message, expected) };
    last(ours, headers::EPOCH).and_then(headers::epoch_of).unwrap_or(0)
}

/// Notes that the input has this output; what to say if it already had one.
pub(super) fn note(expected: &mut Expected, message: &Message<'_>, found: Found, epoch: u32) -> Faults {
    let mut faults = Faults::default();
    let before = match expected.seen {
        Seen::Nothing => None,
        Seen::Output { epoch, .. } | Seen::Unsendable { epoch } => Some(epoch),
    };
    match before {
        Some(before) if before == epoch => {
            faults.add(
                BreachKind::DoubledOutput,
                format!("one more output, {}", found.describe()),
                "one alone",
            );
        }
        Some(_) => faults.unjudged.push(Unjudged::RemadeAfterReset),
        None => {}
    }
    // The newest epoch stands: what an older one made was meant to be replaced.
    if before.is_none_or(|before| epoch > before) {
        expected.seen = match found {
            Found::Unsendable => Seen::Unsendable { epoch },
            _ => Seen::Output { epoch, marks: marks(ours(message, expected)) },
        };
    }
    faults
}

/// Compares an output with what its input calls for.
pub(super) fn compare(
    message: &Message<'_>,
    found: Found,
    source: Source,
    staging: &str,
    expected: &Expected,
    inputs: &Inputs,
) -> Faults {
    let mut faults = Faults::default();
    if found == Found::Unsendable {
        faults.unjudged.push(Unjudged::UnsendableBytes);
        // It stands in place of the input and carries nothing of it.
        judge_own(&message.headers, found, &mut faults);
        return faults;
    }
    let called_for = Found::called_for(&expected.calls);
    if found != called_for {
        let mut wanted = called_for.describe().to_owned();
        if let Calls::Rejected { rules, .. } = expected.calls {
            wanted = format!("{wanted}: {}", inputs.name(rules));
        }
        faults.add(BreachKind::Misrouted, found.describe(), wanted);
    }
    if digest(&message.key) != expected.key {
        faults.add(BreachKind::AlteredKey, shown(message.key), "the input's key");
    }
    if digest(&message.value) != expected.value {
        faults.add(BreachKind::AlteredValue, shown(message.value), "the input's value");
    }
    let called_for_time = output_time(expected.kafka_time);
    if message.kafka_time != called_for_time {
        let shown = |time: Option<i64>| time.map_or("none".to_owned(), |time| format!("{time} ms"));
        faults.add(BreachKind::AlteredTime, shown(message.kafka_time), shown(called_for_time));
    }
    let theirs = message.headers.get(..expected.header_count as usize);
    if theirs.is_none_or(|theirs| digest(theirs) != expected.headers) {
        let wanted = format!("the input's {} headers, unaltered, then ours", expected.header_count);
        faults.add(BreachKind::AlteredHeaders, shown_headers(&message.headers), wanted);
        return faults;
    }
    let ours = ours(message, expected);
    judge_own(ours, found, &mut faults);
    if found == called_for {
        match expected.calls {
            Calls::Accepted { suspects, .. } => judge_suspects(ours, suspects, &mut faults),
            Calls::Rejected { rules, header } => {
                judge_rejection(ours, header, inputs.name(rules), source, staging, &mut faults);
            }
            Calls::Removed { .. } => {}
        }
    }
    faults
}

/// Our headers must be those that this kind of output has, each once.
fn judge_own(ours: &[Header<'_>], found: Found, faults: &mut Faults) {
    let (must, may): (&[&str], &[&str]) = match found {
        Found::Accepted => (&[headers::SRC], &[headers::EPOCH, headers::SUSPECT]),
        Found::Rejected => (&[headers::SRC, headers::KIND, headers::REJECTION], &[headers::EPOCH]),
        Found::Removed | Found::Unsendable => (&[headers::SRC, headers::KIND], &[headers::EPOCH]),
    };
    let times = |name: &str| ours.iter().filter(|(found, _)| *found == name).count();
    let whole = must.iter().all(|name| times(name) == 1)
        && may.iter().all(|name| times(name) <= 1)
        && ours.iter().all(|(name, _)| must.contains(name) || may.contains(name));
    if !whole {
        let mut wanted = format!("after the input's: {}", must.join(", "));
        if !may.is_empty() {
            wanted = format!("{wanted}, perhaps {}", may.join(", "));
        }
        faults.add(BreachKind::AlteredHeaders, shown_headers(ours), wanted);
    }
}

/// What our headers call suspect; `None` where no gate can have written that.
fn marks(ours: &[Header<'_>]) -> Option<Suspects> {
    Suspects::from_header(last(ours, headers::SUSPECT).unwrap_or_default())
}

/// What the record alone decides; the rest needs the symbol's history (`suspects.rs`).
fn judge_suspects(ours: &[Header<'_>], called_for: Suspects, faults: &mut Faults) {
    let header = last(ours, headers::SUSPECT);
    let Some(found) = marks(ours) else {
        faults.add(BreachKind::WrongSuspect, shown(header), "names of suspect rules");
        return;
    };
    if found.contains(Rule::WrongPartition) != called_for.contains(Rule::WrongPartition) {
        let wanted = format!("`{}` and what follows from state", called_for.to_header());
        faults.add(BreachKind::WrongSuspect, shown(header), wanted);
    }
}

fn judge_rejection(
    ours: &[Header<'_>],
    called_for: u64,
    rules: &str,
    source: Source,
    staging: &str,
    faults: &mut Faults,
) {
    let header = last(ours, headers::REJECTION).unwrap_or_default();
    if digest(header) == called_for {
        return;
    }
    match Rejection::from_header(header) {
        Ok(found)
            if found.source == source
                && found.topic == staging
                && found.truncated == 0
                && super::expected::rules_of(&found.rejection) == rules =>
        {
            faults.unjudged.push(Unjudged::RejectionWording);
        }
        Ok(found) => {
            let said = super::expected::rules_of(&found.rejection);
            let place = format!("{}/{}@{}", found.topic, found.source.partition, found.source.offset);
            let wanted = format!("{rules}, from {staging}/{}@{}", source.partition, source.offset);
            faults.add(BreachKind::WrongRejection, format!("{said}, from {place}"), wanted);
        }
        Err(error) => faults.add(BreachKind::WrongRejection, error.to_string(), rules),
    }
}
