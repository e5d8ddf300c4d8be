//! What can be wrong with settings. All of it ends in exit code 2.

use std::path::PathBuf;

use super::Source;

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The settings file can't be read.
    #[error("settings file `{}` can't be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: String,
    },
    /// The settings file isn't TOML.
    #[error("settings file is not TOML ({at}): {cause}")]
    NotToml {
        /// Where the parser stopped.
        at: Source,
        /// The parser's words.
        cause: String,
    },
    /// A value that is neither a text, a number, a boolean nor a list of those.
    #[error("`{key}` ({at}): expected a text, a number, a boolean or a list of those")]
    NotFlat {
        /// Its key.
        key: String,
        /// Where it was given.
        at: Source,
    },
    /// Keys or values that aren't right: all that were found.
    #[error("{}", listed(problems))]
    Wrong {
        /// What is wrong; never empty.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A key that doesn't exist.
    #[error("unknown setting `{key}` ({at}): did you mean `{nearest}`?")]
    Unknown {
        /// The key, or the variable's name.
        key: String,
        /// Where it was given.
        at: Source,
        /// The known one that is most like it.
        nearest: String,
    },
    /// A value that isn't legal, alone or beside others.
    #[error("`{key}` ({at}): expected {expected}, found {found}")]
    Value {
        /// Its key.
        key: String,
        /// Where it was given.
        at: Source,
        /// What was given.
        found: String,
        /// What is legal.
        expected: String,
    },
}

fn listed(problems: &[Problem]) -> String {
    let lines = problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    match lines.as_slice() {
        [only] => only.clone(),
        many => format!("{} settings are wrong:\n  {}", many.len(), many.join("\n  ")),
    }
}
