//! The suspect marks that a symbol's history decides, against that history folded from the inputs.
//!
//! Only the end shows which inputs were unsendable and so moved nothing, so the marks are judged last. Where
//! retention has taken a part of the history, a symbol's marks are unjudged until the inputs hold a removal of
//! it; but what is late beside the rest of the history is late anyway. After a reset, which has inputs judged
//! twice or never, none are judged.

use std::collections::HashMap;

use super::check::Scope;
use super::expected::{Calls, Expected, Inputs, NameId, Seen};
use super::report::{Breach, BreachKind, Count, Findings, Topic, Unjudged};
use super::rows::Rows;
use crate::core::rules::{History, Suspects};
use crate::model::{Offset, Rule};

/// A symbol on the way through the inputs.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    history: Option<History>,
    /// All that counts for it is among the inputs.
    exact: bool,
}

/// Compares the marks of all outputs below the cut.
pub(super) fn judge(
    scope: &Scope,
    staging_start: Offset,
    rows: &Rows,
    inputs: &Inputs,
    findings: &mut Findings,
) {
    // Without a checkpoint nobody can tell; that there is none is a breach of its own.
    let Some((_, checkpoint)) = &rows.checkpoint else { return };
    let below_cut = || inputs.iter().take_while(|input| input.offset < scope.cut);
    if checkpoint.epoch > 0 {
        let marked = |input: &&Expected| matches!(input.seen, Seen::Output { marks: Some(_), .. });
        let accepted = |input: &&Expected| matches!(input.calls, Calls::Accepted { .. });
        findings.skip(Unjudged::SuspectByState, below_cut().filter(accepted).filter(marked).count() as u64);
        return;
    }
    let complete = staging_start == 0;
    let mut symbols: HashMap<NameId, Symbol> = HashMap::new();
    for input in below_cut() {
        if matches!(input.seen, Seen::Unsendable { .. }) {
            continue;
        }
        match input.calls {
            Calls::Accepted { symbol, event_time, mantissa, scale, suspects } => {
                let price = inputs.price(mantissa, scale);
                let state = symbols.entry(symbol).or_insert(Symbol { history: None, exact: complete });
                let by_history = state.history.map(|history| history.judge(event_time, price, &scope.rules));
                compare(scope, input, suspects.or(by_history.unwrap_or_default()), state.exact, findings);
                let after =
                    state.history.map_or(History::begin(event_time, price), |h| h.accept(event_time, price));
                state.history = Some(after);
            }
            Calls::Removed { symbol } => {
                symbols.insert(symbol, Symbol { history: None, exact: true });
            }
            Calls::Rejected { .. } => {}
        }
    }
}

fn compare(scope: &Scope, input: &Expected, called_for: Suspects, exact: bool, findings: &mut Findings) {
    // An output that is missing or says what no gate writes has been reported as that.
    let Seen::Output { marks: Some(found), .. } = input.seen else { return };
    let lacks_late = called_for.contains(Rule::Late) && !found.contains(Rule::Late);
    if !exact && !lacks_late {
        findings.skip(Unjudged::SuspectByState, 1);
        return;
    }
    findings.count(Count::MarksCompared, 1);
    if found.and(Suspects::BY_HISTORY) == called_for.and(Suspects::BY_HISTORY) {
        return;
    }
    findings.breach(Breach {
        kind: BreachKind::WrongSuspect,
        topic: Topic::StockData,
        partition: scope.partition,
        offset: None,
        input: Some(input.offset),
        found: format!("`{}`", found.to_header()),
        expected: format!("`{}`, from the symbol's history", called_for.to_header()),
    });
}
