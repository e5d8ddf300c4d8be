//! The names of everything that can be wrong with a record, as they stand in `tg-rejection`, `tg-suspect`,
//! metrics and reports. What makes a record break a rule is `core::rules`' knowledge.

/// One named check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // `meaning` says it, and readers of the reports see the same words
pub enum Rule {
    NotUtf8,
    NotJson,
    NotAnObject,
    DuplicateField,
    MissingField,
    NullField,
    WrongType,
    NotFinite,
    TooPrecise,
    PriceNotPositive,
    NegativeVolume,
    BadTime,
    FutureTime,
    KeyMismatch,
    MissingKey,
    TooLarge,
    PriceJump,
    Late,
    RepeatedPrice,
    WrongPartition,
}

/// What breaking a rule does to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The record goes to `bad_data`.
    Reject,
    /// The record passes, marked with the rule's name.
    Suspect,
}

impl Rule {
    /// Every rule, in the order in which reports list them.
    pub const ALL: &'static [Self] = &[
        Self::NotUtf8,
        Self::NotJson,
        Self::NotAnObject,
        Self::DuplicateField,
        Self::MissingField,
        Self::NullField,
        Self::WrongType,
        Self::NotFinite,
        Self::TooPrecise,
        Self::PriceNotPositive,
        Self::NegativeVolume,
        Self::BadTime,
        Self::FutureTime,
        Self::KeyMismatch,
        Self::MissingKey,
        Self::TooLarge,
        Self::PriceJump,
        Self::Late,
        Self::RepeatedPrice,
        Self::WrongPartition,
    ];

    /// The name that users, topics and metrics see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::DuplicateField => "duplicate_field",
            Self::MissingField => "missing_field",
            Self::NullField => "null_field",
            Self::WrongType => "wrong_type",
            Self::NotFinite => "not_finite",
            Self::TooPrecise => "too_precise",
            Self::PriceNotPositive => "price_not_positive",
            Self::NegativeVolume => "negative_volume",
            Self::BadTime => "bad_time",
            Self::FutureTime => "future_time",
            Self::KeyMismatch => "key_mismatch",
            Self::MissingKey => "missing_key",
            Self::TooLarge => "too_large",
            Self::PriceJump => "price_jump",
            Self::Late => "late",
            Self::RepeatedPrice => "repeated_price",
            Self::WrongPartition => "wrong_partition",
        }
    }

    /// The rule of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.name() == name)
    }

    /// Whether a record that breaks the rule is turned away or only marked, where nothing is set.
    pub const fn severity(self) -> Severity {
        match self {
            Self::PriceJump | Self::Late | Self::RepeatedPrice | Self::WrongPartition => Severity::Suspect,
            _ => Severity::Reject,
        }
    }

    /// Whether a record that breaks the rule is turned away, or would be where that is set.
    pub fn may_reject(self) -> bool {
        self.severity() == Severity::Reject || self == Self::WrongPartition
    }

    /// Which parts of a record it is asked of; `field` of a rejection names one of them.
    pub const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::NotUtf8 => &["value", "key", "symbol", "timestamp"],
            Self::NotJson | Self::NotAnObject => &["value"],
            Self::DuplicateField | Self::MissingField | Self::NullField | Self::WrongType => {
                &["symbol", "last_price", "volume", "timestamp"]
            }
            Self::NotFinite | Self::TooPrecise => &["last_price", "volume"],
            Self::PriceNotPositive | Self::PriceJump | Self::RepeatedPrice => &["last_price"],
            Self::NegativeVolume => &["volume"],
            Self::BadTime | Self::FutureTime | Self::Late => &["timestamp"],
            Self::KeyMismatch | Self::MissingKey | Self::WrongPartition => &["key"],
            Self::TooLarge => &["value", "symbol", "key"],
        }
    }

    /// What it means for a record to break the rule, in one line.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NotUtf8 => "the value, a tombstone's key or the symbol is not valid Unicode",
            Self::NotJson => "the value is not JSON, or is nested too deeply to be read",
            Self::NotAnObject => "the value is JSON, but not an object",
            Self::DuplicateField => "a known field stands there more than once",
            Self::MissingField => "a known field is not there",
            Self::NullField => "a known field is null",
            Self::WrongType => "a known field is of another JSON type, or the symbol is empty",
            Self::NotFinite => "the number is too large to be represented",
            Self::TooPrecise => "the number has more than 28 digits",
            Self::PriceNotPositive => "the price is zero or below",
            Self::NegativeVolume => "the volume is below zero",
            Self::BadTime => "the time is not RFC 3339 with an offset",
            Self::FutureTime => "the time is later than the record's Kafka time and the allowed skew",
            Self::KeyMismatch => "the record's key is not its symbol",
            Self::MissingKey => "the record has no key",
            Self::TooLarge => "the value or the symbol is longer than allowed",
            Self::PriceJump => "the price is far from the symbol's last one",
            Self::Late => "the time is earlier than that of a quote that already passed",
            Self::RepeatedPrice => "the price has not moved for suspiciously long",
            Self::WrongPartition => "the record is not in the partition that its key belongs to",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_holds_every_rule_once_and_names_lead_back() {
        let names: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        assert_eq!(names.len(), 20);
        for rule in Rule::ALL {
            assert_eq!(Rule::from_name(rule.name()), Some(*rule));
            assert!(!rule.meaning().is_empty());
        }
        assert_eq!(Rule::from_name("Late"), None);
    }

    #[test]
    fn the_last_four_only_mark() {
        let suspect = Rule::ALL.iter().filter(|rule| rule.severity() == Severity::Suspect);
        let names: Vec<_> = suspect.map(|rule| rule.name()).collect();
        assert_eq!(names, ["price_jump", "late", "repeated_price", "wrong_partition"]);
    }
}
