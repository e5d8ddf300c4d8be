//! The suspect rules that one record broke, and the header `tg-suspect` that names them.

use crate::model::{Rule, Severity};

/// A set of suspect rules, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Suspects(u8);

impl Suspects {
    /// Every suspect rule.
    pub const ALL: Self = Self(15);
    /// Those that a symbol's history decides.
    pub const BY_HISTORY: Self = Self(7);

    /// Whether nothing is suspect.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds `rule`. One that rejects is not added: it belongs into a rejection.
    pub fn insert(&mut self, rule: Rule) {
        self.0 |= bit(rule);
    }

    /// Whether `rule` is in it.
    pub fn contains(self, rule: Rule) -> bool {
        self.0 & bit(rule) != 0
    }

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All but `rule`.
    #[must_use]
    pub fn without(self, rule: Rule) -> Self {
        Self(self.0 & !bit(rule))
    }

    /// Its rules, in the order of [`Rule::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Rule> {
        Rule::ALL.iter().copied().filter(move |rule| self.contains(*rule))
    }

    /// The header's value: the names, comma-separated.
    pub fn to_header(self) -> String {
        self.iter().map(Rule::name).collect::<Vec<_>>().join(",")
    }

    /// Reads the header back; `None` when a name is no suspect rule's.
    pub fn from_header(bytes: &[u8]) -> Option<Self> {
        let mut suspects = Self::default();
        for name in std::str::from_utf8(bytes).ok()?.split(',').filter(|name| !name.is_empty()) {
            let rule = Rule::from_name(name).filter(|rule| rule.severity() == Severity::Suspect)?;
            suspects.insert(rule);
        }
        Some(suspects)
    }
}

const fn bit(rule: Rule) -> u8 {
    match rule {
        Rule::PriceJump => 1,
        Rule::Late => 2,
        Rule::RepeatedPrice => 4,
        Rule::WrongPartition => 8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_every_set_read_back() {
        for bits in 0..16 {
            let suspects = Suspects(bits);
            assert_eq!(Suspects::from_header(suspects.to_header().as_bytes()), Some(suspects));
        }
        assert_eq!(Suspects(15).to_header(), "price_jump,late,repeated_price,wrong_partition");
    }

    #[test]
    fn every_suspect_rule_has_a_bit_of_its_own_and_no_other_rule_has_one() {
        let mut all = Suspects::default();
        for rule in Rule::ALL {
            let before = all;
            all.insert(*rule);
            assert_eq!(all != before, rule.severity() == Severity::Suspect, "{}", rule.name());
        }
        assert_eq!(all, Suspects::ALL);
        assert_eq!(Suspects::ALL.without(Rule::WrongPartition), Suspects::BY_HISTORY);
    }

    #[test]
    fn strange_headers_are_refused() {
        assert_eq!(Suspects::from_header(b"not_json"), None);
        assert_eq!(Suspects::from_header(b"late;price_jump"), None);
        assert_eq!(Suspects::from_header(&[0xff]), None);
        assert_eq!(Suspects::from_header(b""), Some(Suspects::default()));
    }
}
