//! What can be asked, as a query string says it.

use data_encoding::HEXLOWER;

use super::answer::Refused;
use super::row::level;
use crate::model::{Level, Partition, SymbolRow};

/// Rows of a page where none are asked for.
const LIMIT: usize = 100;
/// Rows of a page at most; who asks for more gets these.
const LIMIT_MAX: usize = 10_000;
/// How much of what was found wrong is shown.
const SHOWN_CHARS: usize = 64;

/// Which symbols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// This one alone, however many partitions have a row of it; there are no further pages.
    pub symbol: Option<String>,
    /// Names that begin so.
    pub prefix: String,
    /// With a silence that has been reported at this level, and no higher one.
    pub level: Option<Level>,
    /// Of this partition alone.
    pub partition: Option<Partition>,
    /// Of the partitions alone that the instance owns.
    pub is_owned: bool,
    /// How many rows at most: 1 to 10000.
    pub limit: usize,
    /// Behind this place.
    pub after: Option<Cursor>,
}

/// Which of a partition's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawQuestion {
    /// How many rows at most: 1 to 10000.
    pub limit: usize,
    /// Behind this key.
    pub after: Option<Vec<u8>>,
}

/// A row that has been told; paging goes on behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Its partition.
    pub partition: Partition,
    /// Its symbol.
    pub symbol: String,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            symbol: None,
            prefix: String::new(),
            level: None,
            partition: None,
            is_owned: false,
            limit: LIMIT,
            after: None,
        }
    }
}

impl Question {
    /// Asks for one symbol.
    pub fn of(symbol: &str) -> Self {
        Self { symbol: Some(symbol.to_owned()), ..Self::default() }
    }

    /// Reads `symbol`, `level`, `prefix`, `partition`, `source`, `limit` and `cursor`.
    pub fn read(pairs: &[(String, String)]) -> Result<Self, Refused> {
        let mut question = Self::default();
        for (name, value) in distinct(pairs)? {
            match name {
                "symbol" => question.symbol = Some(value.to_owned()),
                "prefix" => value.clone_into(&mut question.prefix),
                "level" => question.level = Some(level_of(value)?),
                "partition" => question.partition = Some(partition(value)?),
                "source" => question.is_owned = is_owner("source", value)?,
                "limit" => question.limit = limit(value)?,
                "cursor" => question.after = Some(Cursor::read(value)?),
                _ => {
                    let known = "`symbol`, `level`, `prefix`, `partition`, `source`, `consistency`, `limit` or \
                                 `cursor`";
                    return Err(unknown(name, known));
                }
            }
        }
        Ok(question)
    }

    /// Whether a row is among what is asked for; partition and place are not looked at.
    pub(super) fn calls_for(&self, name: &str, row: &SymbolRow) -> bool {
        name.starts_with(&self.prefix) && self.level.is_none_or(|wanted| level(row) == Some(wanted))
    }

    /// What `read` reads.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![("limit", self.limit.to_string())];
        pairs.extend(self.symbol.iter().map(|symbol| ("symbol", symbol.clone())));
        if !self.prefix.is_empty() {
            pairs.push(("prefix", self.prefix.clone()));
        }
        let level = self.level.map(|level| match level {
            Level::Warn => "warn".to_owned(),
            Level::Error => "error".to_owned(),
        });
        pairs.extend(level.map(|level| ("level", level)));
        pairs.extend(self.partition.map(|partition| ("partition", partition.to_string())));
        if self.is_owned {
            pairs.push(("source", "owner".to_owned()));
        }
        pairs.extend(self.after.as_ref().map(|after| ("cursor", after.to_text())));
        pairs
    }
}

impl RawQuestion {
    /// Reads `limit` and `after`, a key in hex.
    pub fn read(pairs: &[(String, String)]) -> Result<Self, Refused> {
        let mut question = Self { limit: LIMIT_MAX, after: None };
        for (name, value) in distinct(pairs)? {
            match name {
                "limit" => question.limit = limit(value)?,
                "after" => {
                    let key = HEXLOWER.decode(value.as_bytes());
                    let bad = |_| Refused::question("`after` is no key", "a row's key in hex", shown(value));
                    question.after = Some(key.map_err(bad)?);
                }
                _ => return Err(unknown(name, "`limit` or `after`")),
            }
        }
        Ok(question)
    }

    /// What `read` reads.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![("limit", self.limit.to_string())];
        pairs.extend(self.after.as_ref().map(|after| ("after", HEXLOWER.encode(after))));
        pairs
    }
}

impl Cursor {
    /// For a query string; what is in it is nobody's business.
    pub fn to_text(&self) -> String {
        let partition = u16::try_from(self.partition).unwrap_or(u16::MAX);
        HEXLOWER.encode(&[&partition.to_be_bytes(), self.symbol.as_bytes()].concat())
    }

    /// Reads what `to_text` wrote.
    pub fn read(text: &str) -> Result<Self, Refused> {
        let read = || {
            let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
            let (partition, symbol) = bytes.split_first_chunk()?;
            let symbol = String::from_utf8(symbol.to_vec()).ok()?;
            Some(Self { partition: u16::from_be_bytes(*partition).into(), symbol })
        };
        let bad = || Refused::question("`cursor` is none", "the `next` of an earlier answer", shown(text));
        read().ok_or_else(bad)
    }
}

/// A partition's number.
pub(super) fn partition(text: &str) -> Result<Partition, Refused> {
    let number = text.parse::<u16>().map(Partition::from);
    number.map_err(|_| Refused::question("`partition` is none", "a number from 0 to 65535", shown(text)))
}

/// Whether a parameter says `owner`, and not `any`.
pub(super) fn is_owner(name: &str, text: &str) -> Result<bool, Refused> {
    match text {
        "owner" => Ok(true),
        "any" => Ok(false),
        _ => Err(Refused::question(&format!("`{name}` is none"), "`any` or `owner`", shown(text))),
    }
}

/// A level's name.
pub(crate) fn level_of(text: &str) -> Result<Level, Refused> {
    match text {
        "warn" => Ok(Level::Warn),
        "error" => Ok(Level::Error),
        _ => Err(Refused::question("`level` is none", "`warn` or `error`", shown(text))),
    }
}

/// How many of a page.
pub(crate) fn limit(text: &str) -> Result<usize, Refused> {
    let number = text.parse::<u64>().ok().filter(|number| *number > 0);
    let bad = || Refused::question("`limit` is none", format!("a number from 1 to {LIMIT_MAX}"), shown(text));
    Ok(usize::try_from(number.ok_or_else(bad)?).unwrap_or(LIMIT_MAX).min(LIMIT_MAX))
}

/// Names and values, none of which may come twice.
pub(crate) fn distinct(pairs: &[(String, String)]) -> Result<impl Iterator<Item = (&str, &str)>, Refused> {
    for (at, (name, value)) in pairs.iter().enumerate() {
        if pairs[..at].iter().any(|(other, _)| other == name) {
            let found = format!("{} once more, as {}", shown(name), shown(value));
            return Err(Refused::question("a parameter comes twice", "each parameter at most once", found));
        }
    }
    Ok(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// The answer to a parameter that is none; `known` are those that are.
pub(crate) fn unknown(name: &str, known: &str) -> Refused {
    Refused::question("there is no such parameter", known, shown(name))
}

/// A text that anyone may have made up, quoted and cut.
pub(crate) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    let rest = if text.chars().nth(SHOWN_CHARS).is_some() { "…" } else { "" };
    format!("`{cut}{rest}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn owned(of: Vec<(&'static str, String)>) -> Vec<(String, String)> {
        of.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    proptest! {
        #[test]
        fn a_question_comes_back(
            symbol in any::<Option<String>>(),
            prefix in any::<String>(),
            level in proptest::option::of(prop_oneof![Just(Level::Warn), Just(Level::Error)]),
            partition in proptest::option::of(0..=65_535_i32),
            is_owned: bool,
            limit in 1..=LIMIT_MAX,
            after in proptest::option::of((0..=65_535_i32, any::<String>())),
        ) {
            let after = after.map(|(partition, symbol)| Cursor { partition, symbol });
            let question = Question { symbol, prefix, level, partition, is_owned, limit, after };
            prop_assert_eq!(Question::read(&owned(question.pairs())), Ok(question));
        }

        #[test]
        fn a_raw_question_comes_back(limit in 1..=LIMIT_MAX, after in any::<Option<Vec<u8>>>()) {
            let question = RawQuestion { limit, after };
            prop_assert_eq!(RawQuestion::read(&owned(question.pairs())), Ok(question));
        }

        #[test]
        fn any_text_is_read_or_refused(name in ".{0,9}", value in any::<String>()) {
            for name in [name.as_str(), "level", "partition", "source", "limit", "cursor", "after"] {
                let _ = Question::read(&pairs(&[(name, &value)]));
                let _ = RawQuestion::read(&pairs(&[(name, &value)]));
            }
        }
    }

    #[test]
    fn refusals_say_what_was_expected_and_found() {
        let rows = [
            (vec![("level", "fatal")], "`level` is none: expected `warn` or `error`, found `fatal`"),
            (vec![("limit", "0")], "`limit` is none: expected a number from 1 to 10000, found `0`"),
            (vec![("limit", "-1")], "found `-1`"),
            (vec![("partition", "65536")], "expected a number from 0 to 65535, found `65536`"),
            (vec![("source", "mine")], "`source` is none: expected `any` or `owner`, found `mine`"),
            (vec![("cursor", "AAPL")], "expected the `next` of an earlier answer, found `AAPL`"),
            (vec![("cursor", "00")], "found `00`"),
            (vec![("cursor", "0000ff")], "found `0000ff`"),
            (vec![("symbol\n", "x")], "found `symbol\\n`"),
            (vec![("limit", "1"), ("limit", "2")], "expected each parameter at most once"),
        ];
        for (asked, words) in rows {
            let refused = Question::read(&pairs(&asked)).unwrap_err();
            assert_eq!(refused.status, 400);
            assert!(refused.to_string().contains(words), "{refused}");
        }
        let long = Question::read(&pairs(&[("level", &"x".repeat(100_000))])).unwrap_err();
        assert!(long.to_string().len() < 200, "{long}");
        assert!(RawQuestion::read(&pairs(&[("after", "xyz")])).is_err());
    }

    #[test]
    fn a_limit_is_capped() {
        let limit = |text: &str| Question::read(&pairs(&[("limit", text)])).unwrap().limit;
        assert_eq!(limit("7"), 7);
        assert_eq!(limit("18446744073709551615"), LIMIT_MAX);
        assert_eq!(Question::read(&[]).unwrap().limit, LIMIT);
    }
}
