//! What judging an input again calls for, kept small: 3 million of them are held at once.

use std::collections::HashMap;
use std::sync::Arc;

use super::message::{Message, digest};
use crate::core::rules::{Suspects, Verdict};
use crate::model::{Offset, Price, Rejection};

/// One of the [`Names`].
pub(super) type NameId = u32;

/// No price has as many places.
const LONG: u8 = u8::MAX;

/// What an output must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Calls {
    /// In `stock_data`; `suspects` are those that the record alone decides. The price is `mantissa` at `scale`, or
    /// at [`LONG`] the one of [`Inputs::long_prices`] at that place: nearly all fit 64 bits.
    Accepted { symbol: NameId, event_time: i64, mantissa: i64, scale: u8, suspects: Suspects },
    /// In `bad_data`; `rules` names them, `header` stands for the JSON.
    Rejected { rules: NameId, header: u64 },
    /// In `bad_data`, without a value.
    Removed { symbol: NameId },
}

/// What has been found of an input's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// None yet.
    Nothing,
    /// One, of this epoch; `marks`: what it calls suspect, where that can be read.
    Output { epoch: u32, marks: Option<Suspects> },
    /// One that says the broker refused it for good, of this epoch.
    Unsendable { epoch: u32 },
}

/// An input, and what its one output must look like.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) offset: Offset,
    pub(super) kafka_time: Option<i64>,
    pub(super) key: u64,
    pub(super) value: u64,
    pub(super) headers: u64,
    pub(super) header_count: u32,
    pub(super) seen: Seen,
    pub(super) calls: Calls,
}

/// All inputs of one partition that were read, in their order.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    all: Vec<Expected>,
    names: Names,
    long_prices: Vec<Price>,
}

impl Inputs {
    /// Room for about `number` inputs.
    pub(super) fn with_capacity(number: usize) -> Self {
        Self { all: Vec::with_capacity(number), ..Self::default() }
    }

    /// Adds the next input; `rejection` is the header that a rejected one must have.
    pub(super) fn push(
        &mut self,
        message: &Message<'_>,
        verdict: &Verdict<'_>,
        rejection: impl FnOnce(&Rejection) -> Vec<u8>,
    ) {
        let calls = match verdict {
            Verdict::Accepted { quote, suspects } => {
                let (mantissa, scale) = self.keep(quote.price());
                Calls::Accepted {
                    symbol: self.names.id(&quote.symbol),
                    event_time: quote.event_time.0,
                    mantissa,
                    scale,
                    suspects: *suspects,
                }
            }
            Verdict::Rejected(broken) => Calls::Rejected {
                rules: self.names.id(&rules_of(broken)),
                header: digest(&rejection(broken)[..]),
            },
            Verdict::Removed { symbol } => Calls::Removed { symbol: self.names.id(symbol) },
        };
        self.all.push(Expected {
            offset: message.offset,
            kafka_time: message.kafka_time,
            key: digest(&message.key),
            value: digest(&message.value),
            headers: digest(&message.headers[..]),
            header_count: u32::try_from(message.headers.len()).expect("a record's size is below 4 GiB"),
            seen: Seen::Nothing,
            calls,
        });
    }

    /// A price as [`Calls::Accepted`] holds it.
    fn keep(&mut self, price: Price) -> (i64, u8) {
        if let Ok(mantissa) = i64::try_from(price.mantissa) {
            return (mantissa, price.scale);
        }
        self.long_prices.push(price);
        (i64::try_from(self.long_prices.len() - 1).expect("fewer prices than inputs"), LONG)
    }

    /// The price that `mantissa` and `scale` of a [`Calls::Accepted`] stand for.
    pub(super) fn price(&self, mantissa: i64, scale: u8) -> Price {
        let long = usize::try_from(mantissa).ok().filter(|_| scale == LONG);
        match long.and_then(|place| self.long_prices.get(place)) {
            Some(price) => *price,
            None => Price { mantissa: mantissa.into(), scale },
        }
    }

    /// The input at `offset`, if it was read.
    pub(super) fn find(&self, offset: Offset) -> Option<&Expected> {
        self.place(offset).and_then(|place| self.all.get(place))
    }

    /// The same, to note its output.
    pub(super) fn find_mut(&mut self, offset: Offset) -> Option<&mut Expected> {
        self.place(offset).and_then(|place| self.all.get_mut(place))
    }

    fn place(&self, offset: Offset) -> Option<usize> {
        self.all.binary_search_by_key(&offset, |input| input.offset).ok()
    }

    /// All of them, in their order.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Expected> {
        self.all.iter()
    }

    /// What a [`NameId`] stands for.
    pub(super) fn name(&self, id: NameId) -> &str {
        self.names.name(id)
    }

    /// The id of a name, if any input brought it.
    pub(super) fn known(&self, name: &str) -> Option<NameId> {
        self.names.ids.get(name).copied()
    }
}

/// Symbols and rule lists, each held once.
#[derive(Debug, Default)]
struct Names {
    ids: HashMap<Arc<str>, NameId>,
    names: Vec<Arc<str>>,
}

impl Names {
    fn id(&mut self, name: &str) -> NameId {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let id =
            NameId::try_from(self.names.len()).expect("a partition read at once has fewer inputs than 2^32");
        let name: Arc<str> = name.into();
        self.names.push(name.clone());
        self.ids.insert(name, id);
        id
    }

    fn name(&self, id: NameId) -> &str {
        &self.names[id as usize]
    }
}

/// The rules that a rejection names, as a person reads them.
pub(super) fn rules_of(rejection: &Rejection) -> String {
    let rules: Vec<_> =
        rejection.broken.iter().map(|broken| format!("{}({})", broken.rule.name(), broken.field)).collect();
    rules.join(", ")
}
