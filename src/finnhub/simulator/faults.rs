//! What can be wrong with a simulated feed: single trades spoilt in every way a rule knows, symbols that
//! fall silent, connections that stall or drop. Faults are values; the market applies them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::walk::Tick;

/// A way to spoil one trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The element of the message is cut in its middle: not JSON.
    Malformed,
    /// The element is a number.
    NotAnObject,
    /// No `s`.
    MissingSymbol,
    /// `p` below 0.
    NegativePrice,
    /// `p` is 0.
    ZeroPrice,
    /// `p` is null.
    NullPrice,
    /// No `p`.
    MissingPrice,
    /// `p` as a string.
    StringPrice,
    /// `p` twice.
    DuplicatePrice,
    /// `p` beyond what a number can be.
    HugePrice,
    /// `p` with more than 28 digits.
    PrecisePrice,
    /// `v` below 0.
    NegativeVolume,
    /// `v` is null.
    NullVolume,
    /// No `v`.
    MissingVolume,
    /// `v` as a string.
    StringVolume,
    /// `t` is a word.
    BadTime,
    /// `t` is null.
    NullTime,
    /// No `t`.
    MissingTime,
    /// `t` an hour ahead.
    FutureTime,
}

/// An hour: far beyond any skew that a gate forgives.
const FUTURE_MS: i64 = 3_600_000;

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 19] = [
        Self::Malformed,
        Self::NotAnObject,
        Self::MissingSymbol,
        Self::NegativePrice,
        Self::ZeroPrice,
        Self::NullPrice,
        Self::MissingPrice,
        Self::StringPrice,
        Self::DuplicatePrice,
        Self::HugePrice,
        Self::PrecisePrice,
        Self::NegativeVolume,
        Self::NullVolume,
        Self::MissingVolume,
        Self::StringVolume,
        Self::BadTime,
        Self::NullTime,
        Self::MissingTime,
        Self::FutureTime,
    ];

    /// Its name in settings, metrics and on the control endpoint.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Whether a trade spoilt so can still be keyed by its symbol, and so reaches `staging`.
    pub fn has_symbol(self) -> bool {
        !matches!(self, Self::Malformed | Self::NotAnObject | Self::MissingSymbol)
    }
}

impl FromStr for FaultKind {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, UnknownFault> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| UnknownFault { name: name.to_owned() })
    }
}

/// A fault's name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a kind of fault, one of {known}, found `{name}`", known = names())]
pub struct UnknownFault {
    name: String,
}

fn names() -> String {
    FaultKind::ALL.map(|kind| format!("`{}`", kind.name())).join(", ")
}

/// How often trades are spoilt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spoil {
    /// Part of all trades, 0 to 1, spread evenly over every kind.
    pub bad: f64,
    /// Part of all trades per kind, on top of that.
    pub kinds: BTreeMap<FaultKind, f64>,
}

/// A part of the trades that is not between 0 and 1.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("expected parts of all trades that add up to 0 to 1, found `{found}`")]
pub struct NotAPart {
    found: f64,
}

impl Spoil {
    /// Checks that the parts are parts.
    pub fn check(&self) -> Result<(), NotAPart> {
        let parts = || std::iter::once(self.bad).chain(self.kinds.values().copied());
        match parts().find(|part| !(0.0..=1.0).contains(part)) {
            Some(found) => Err(NotAPart { found }),
            None if parts().sum::<f64>() > 1.0 => Err(NotAPart { found: parts().sum() }),
            None => Ok(()),
        }
    }

    /// Decides by chance whether, and how, the next trade is spoilt. Takes one draw whatever the parts
    /// are, so that the same seed spoils the same trades.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Option<FaultKind> {
        let mut draw = rng.random_range(0.0..1.0);
        if draw < self.bad {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            // a part of 19 kinds, 0 to 18
            let at = (draw / self.bad * FaultKind::ALL.len() as f64) as usize;
            return FaultKind::ALL.get(at).copied();
        }
        draw -= self.bad;
        for (kind, part) in &self.kinds {
            if draw < *part {
                return Some(*kind);
            }
            draw -= part;
        }
        None
    }
}

/// Writes a trade as an element of a message's `data`, spoilt by `fault`. `time` in ms since 1970.
pub fn write_trade(text: &mut String, symbol: &str, tick: &Tick, time: i64, fault: Option<FaultKind>) {
    use FaultKind as F;
    if fault == Some(F::NotAnObject) {
        text.push_str("42");
        return;
    }
    let (price, volume) = (tick.price_text(), tick.volume_text());
    let price = match fault {
        Some(F::MissingPrice) => None,
        Some(F::NegativePrice) => Some(format!("-{price}")),
        Some(F::ZeroPrice) => Some("0".to_owned()),
        Some(F::NullPrice) => Some("null".to_owned()),
        Some(F::StringPrice) => Some(format!("\"{price}\"")),
        Some(F::DuplicatePrice) => Some(format!("{price},\"p\":{price}")),
        Some(F::HugePrice) => Some("1e400".to_owned()),
        Some(F::PrecisePrice) => Some("189.1234567890123456789012345678901".to_owned()),
        _ => Some(price),
    };
    let volume = match fault {
        Some(F::MissingVolume) => None,
        Some(F::NegativeVolume) => Some("-100".to_owned()),
        Some(F::NullVolume) => Some("null".to_owned()),
        Some(F::StringVolume) => Some(format!("\"{volume}\"")),
        _ => Some(volume),
    };
    let moment = match fault {
        Some(F::MissingTime) => None,
        Some(F::BadTime) => Some("\"yesterday\"".to_owned()),
        Some(F::NullTime) => Some("null".to_owned()),
        Some(F::FutureTime) => Some((time + FUTURE_MS).to_string()),
        _ => Some(time.to_string()),
    };
    let symbol = (fault != Some(F::MissingSymbol)).then(|| serde_json::Value::from(symbol).to_string());
    let conditions = tick.conditions.map(str::to_owned);
    let start = text.len();
    let mut before = '{';
    for (name, value) in [("c", conditions), ("p", price), ("s", symbol), ("t", moment), ("v", volume)] {
        if let Some(value) = value {
            write!(text, "{before}\"{name}\":{value}").expect("a string takes every write");
            before = ',';
        }
    }
    if fault == Some(F::Malformed) {
        // Cut behind the price's colon: brackets stay even, what is between is not JSON.
        let at = text[start..].find("\"p\":").map_or(start + 1, |at| start + at + 4);
        text.truncate(at);
    }
    text.push('}');
}

/// A symbol that falls silent: its trades are made and not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Which symbol.
    pub symbol: String,
    /// From when on, counted from the market's start or from the request.
    pub from: Duration,
    /// For how long; `None` is for ever.
    pub lasts: Option<Duration>,
}

/// A silence that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a silence as `SYMBOL@FROM+FOR` or `SYMBOL@FROM`, like `SYM00001@30s+2m`, found `{found}`")]
pub struct NotASilence {
    found: String,
}

impl FromStr for Silence {
    type Err = NotASilence;

    fn from_str(text: &str) -> Result<Self, NotASilence> {
        let read = || {
            let (symbol, times) = text.rsplit_once('@')?;
            let (from, lasts) = match times.split_once('+') {
                Some((from, lasts)) => (from, Some(humantime::parse_duration(lasts).ok()?)),
                None => (times, None),
            };
            let from = humantime::parse_duration(from).ok()?;
            (!symbol.is_empty()).then(|| Self { symbol: symbol.to_owned(), from, lasts })
        };
        read().ok_or_else(|| NotASilence { found: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::walk::Walk;
    use super::*;
    use crate::finnhub::{Message, message::NotATradeReason};
    use rand::SeedableRng;

    fn tick() -> Tick {
        Walk::new(1, &["AAPL".to_owned()]).next_tick()
    }

    /// What staging would hold of a message with one spoilt trade between two good ones.
    fn spoilt(fault: FaultKind) -> Result<String, NotATradeReason> {
        let mut text = String::from(r#"{"type":"trade","data":["#);
        for fault in [None, Some(fault), None] {
            write_trade(&mut text, "AAPL", &tick(), 1_700_000_000_123, fault);
            text.push(',');
        }
        text.pop();
        text.push_str("]}");
        let Message::Trades(trades) = Message::read(text.as_bytes()) else { panic!("no trades in {text}") };
        let [Ok(first), second, Ok(_)] = trades.as_slice() else { panic!("expected three in {text}") };
        let good = String::from_utf8(first.staging_value()).unwrap();
        match second {
            Ok(trade) => {
                let value = String::from_utf8(trade.staging_value()).unwrap();
                assert_ne!(value, good, "{fault:?} changed nothing");
                Ok(value)
            }
            Err(bad) => Err(bad.reason),
        }
    }

    #[test]
    fn every_kind_spoils_its_trade_and_no_other() {
        for kind in FaultKind::ALL {
            assert_eq!(spoilt(kind).is_ok(), kind.has_symbol(), "{kind:?}");
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert_eq!(spoilt(FaultKind::Malformed), Err(NotATradeReason::NotJson));
        assert_eq!(spoilt(FaultKind::NotAnObject), Err(NotATradeReason::NotAnObject));
        assert_eq!(spoilt(FaultKind::MissingSymbol), Err(NotATradeReason::NoSymbol));
        assert!(spoilt(FaultKind::FutureTime).unwrap().contains("2023-11-14T23:13:20.123Z"));
        assert!("no_such".parse::<FaultKind>().is_err());
    }

    #[test]
    fn a_part_of_all_trades_is_spoilt_in_every_way() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let spoil = Spoil { bad: 0.05, kinds: BTreeMap::from([(FaultKind::BadTime, 0.1)]) };
        let mut counts = BTreeMap::new();
        for _ in 0..100_000 {
            *counts.entry(spoil.draw(&mut rng)).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), FaultKind::ALL.len() + 1);
        for (kind, count) in counts {
            let expected = match kind {
                None => 85_000,
                Some(FaultKind::BadTime) => 10_263,
                Some(_) => 263,
            };
            assert!(count.abs_diff(expected) < expected / 3, "{kind:?} came {count} times");
        }
    }

    #[test]
    fn parts_are_checked() {
        assert!(Spoil { bad: 0.5, ..Spoil::default() }.check().is_ok());
        for bad in [-0.1, 1.1, f64::NAN] {
            assert!(Spoil { bad, ..Spoil::default() }.check().is_err());
        }
        let kinds = BTreeMap::from([(FaultKind::BadTime, 0.6)]);
        assert!(Spoil { bad: 0.6, kinds }.check().is_err());
    }

    #[test]
    fn silences_are_read_whatever_the_symbol_holds() {
        let silence = |symbol: &str, from, lasts: Option<u64>| {
            Ok(Silence {
                symbol: symbol.to_owned(),
                from: Duration::from_secs(from),
                lasts: lasts.map(Duration::from_secs),
            })
        };
        assert_eq!("SYM00001@30s+2m".parse(), silence("SYM00001", 30, Some(120)));
        assert_eq!("IC MARKETS:1@0s".parse(), silence("IC MARKETS:1", 0, None));
        for text in ["", "A", "@1s", "A@", "A@soon", "A@1s+", "A@1s+soon"] {
            assert!(text.parse::<Silence>().is_err(), "{text}");
        }
    }
}
