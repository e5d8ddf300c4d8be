//! Classes of symbols: which one a symbol is in, and what its silences are held to.

use std::sync::Arc;

use hashbrown::HashMap;

use super::calendar::Calendar;
use crate::model::Level;

/// A class's place among all classes.
pub type ClassId = u16;

/// What the silences of its symbols are held to. Thresholds are milliseconds of open time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// What events call it.
    pub name: Arc<str>,
    /// Which time counts.
    pub calendar: Calendar,
    /// A longer silence is `stale` at level `warn`; `None`: there is no such level.
    pub warn_after_ms: Option<i64>,
    /// The same at level `error`.
    pub error_after_ms: Option<i64>,
    /// The whole class without an accepted quote for longer is `feed_silent`; `None`: that is not judged.
    pub feed_after_ms: Option<i64>,
}

impl Class {
    /// The class of symbols that no other one names.
    pub const DEFAULT: &str = "default";

    /// The threshold of a level, where the class has that level.
    pub fn threshold_ms(&self, level: Level) -> Option<i64> {
        match level {
            Level::Warn => self.warn_after_ms,
            Level::Error => self.error_after_ms,
        }
    }

    /// The levels that the class has, the lower one first, with their thresholds.
    pub fn levels(&self) -> impl Iterator<Item = (Level, i64)> {
        [Level::Warn, Level::Error].into_iter().filter_map(|level| Some((level, self.threshold_ms(level)?)))
    }

    /// The first threshold that a silence passes; `None` where none counts.
    pub fn shortest_ms(&self) -> Option<i64> {
        self.levels().map(|(_, threshold_ms)| threshold_ms).min()
    }
}

/// All classes. A symbol is in the first that names it.
#[derive(Debug, Clone)]
pub struct Classes {
    all: Vec<Class>,
    exact: HashMap<Box<str>, ClassId>,
    globs: Vec<(Box<str>, ClassId)>,
}

impl Classes {
    /// Classes in order, each with its symbols: exact names, and globs in which `*` stands for any text and `?` for
    /// one character. `default` has all others.
    pub fn new(classes: Vec<(Class, Vec<String>)>, default: Class) -> Self {
        let mut all = Vec::with_capacity(classes.len() + 1);
        let mut exact = HashMap::new();
        let mut globs = Vec::new();
        for (id, (class, symbols)) in (0..).zip(classes) {
            all.push(class);
            for symbol in symbols {
                let symbol = symbol.into_boxed_str();
                if symbol.contains(['*', '?']) {
                    globs.push((symbol, id));
                } else {
                    exact.entry(symbol).or_insert(id);
                }
            }
        }
        all.push(default);
        Self { all, exact, globs }
    }

    /// One class for all symbols, always open.
    pub fn of_one(warn_after_ms: Option<i64>, error_after_ms: Option<i64>) -> Self {
        let (name, calendar) = (Class::DEFAULT.into(), Calendar::always());
        Self::new(Vec::new(), Class { name, calendar, warn_after_ms, error_after_ms, feed_after_ms: None })
    }

    /// The class that a symbol is in.
    pub fn of(&self, symbol: &str) -> ClassId {
        let last = ClassId::try_from(self.all.len() - 1).unwrap_or(ClassId::MAX);
        let exact = self.exact.get(symbol).copied().unwrap_or(last);
        let mut earlier = self.globs.iter().take_while(|(_, id)| *id < exact);
        earlier.find(|(glob, _)| is_match(glob, symbol)).map_or(exact, |(_, id)| *id)
    }

    /// What the class is held to.
    pub fn get(&self, id: ClassId) -> &Class {
        &self.all[usize::from(id)]
    }

    /// The classes that are judged as a whole.
    pub fn feeds(&self) -> impl Iterator<Item = (ClassId, &Class)> {
        (0..).zip(&self.all).filter(|(_, class)| class.feed_after_ms.is_some())
    }

    /// The class that a symbol is in, itself.
    pub fn class_of(&self, symbol: &str) -> &Class {
        self.get(self.of(symbol))
    }
}

/// Whether a text is one that the glob stands for.
fn is_match(glob: &str, text: &str) -> bool {
    let (mut glob, mut text) = (glob, text);
    // What follows the last `*`, and where in the text that is tried.
    let mut star: Option<(&str, &str)> = None;
    loop {
        let mut rest = glob.chars();
        let mut text_rest = text.chars();
        match (rest.next(), text_rest.next()) {
            (Some('*'), _) => {
                glob = rest.as_str();
                star = Some((glob, text));
                continue;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                (glob, text) = (rest.as_str(), text_rest.as_str());
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        let Some((behind, tried)) = star else { return false };
        let mut next = tried.chars();
        if next.next().is_none() {
            return false;
        }
        (glob, text) = (behind, next.as_str());
        star = Some((glob, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn class(name: &str) -> Class {
        let calendar = Calendar::always();
        Class {
            name: name.into(),
            calendar,
            warn_after_ms: None,
            error_after_ms: Some(1),
            feed_after_ms: None,
        }
    }

    fn with(symbols: &[&str]) -> Vec<String> {
        symbols.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_first_class_that_names_a_symbol_has_it() {
        let classes = Classes::new(
            vec![
                (class("coins"), with(&["BINANCE:*", "COINBASE:*"])),
                (class("funds"), with(&["SPY", "BINANCE:BTCUSDT"])),
                (class("shorts"), with(&["S??", "AAPL"])),
                (class("again"), with(&["AAPL", "ZZZ"])),
            ],
            class("default"),
        );
        let rows = [
            ("BINANCE:BTCUSDT", "coins"),
            ("SPY", "funds"),
            ("SPX", "shorts"),
            ("SPXL", "default"),
            ("AAPL", "shorts"),
            ("ZZZ", "again"),
            ("", "default"),
        ];
        for (symbol, expected) in rows {
            assert_eq!(&*classes.class_of(symbol).name, expected, "{symbol}");
        }
    }

    #[test]
    fn globs_stand_for_texts() {
        let rows = [
            ("*", "", true),
            ("*", "anything", true),
            ("?", "", false),
            ("?", "ü", true),
            ("A*", "AAPL", true),
            ("*L", "AAPL", true),
            ("*AP*", "AAPL", true),
            ("A*B*C", "AxxBxxBxxC", true),
            ("A*B*C", "AxxBxxBxxD", false),
            ("IC MARKETS:?", "IC MARKETS:1", true),
            ("IC MARKETS:?", "IC MARKETS:10", false),
            ("a", "A", false),
        ];
        for (glob, text, expected) in rows {
            assert_eq!(is_match(glob, text), expected, "{glob} {text}");
        }
    }

    proptest! {
        /// Against the plain recursive definition.
        #[test]
        fn globs_are_what_they_mean(glob in "[ab*?]{0,7}", text in "[ab]{0,9}") {
            fn means(glob: &[u8], text: &[u8]) -> bool {
                match (glob, text) {
                    ([b'*', rest @ ..], _) => (0..=text.len()).any(|at| means(rest, &text[at..])),
                    ([b'?', rest @ ..], [_, after @ ..]) => means(rest, after),
                    ([wanted, rest @ ..], [found, after @ ..]) => wanted == found && means(rest, after),
                    ([], []) => true,
                    _ => false,
                }
            }
            prop_assert_eq!(is_match(&glob, &text), means(glob.as_bytes(), text.as_bytes()));
        }
    }
}
