//! What was given, and where: the settings file and the environment, brought to one form.
//!
//! It knows nothing of which keys exist or what they mean; that is [`super::reader`]'s.

use std::{collections::BTreeMap, fmt, fs, path::Path, path::PathBuf};

use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// Variables that name a setting begin with this, then `SECTION__KEY`.
const PREFIX: &str = "TICKGATE_";
/// Stands between the parts of a key in a variable's name.
const SEPARATOR: &str = "__";

/// Where a value in force came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody gave one.
    Default,
    /// The settings file.
    File {
        /// The file's path as it was given.
        path: PathBuf,
        /// Line of the value, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { variable } => write!(f, "{variable}"),
        }
    }
}

/// A value as it was given: scalars are their text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// A string, number or boolean.
    One(String),
    /// A list of those.
    Many(Vec<String>),
}

/// A value and its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) value: Value,
    pub(super) source: Source,
}

/// All that was given, by dotted key (`kafka.brokers`).
pub(super) type AllGiven = BTreeMap<String, Given>;

/// The file's values, with those of the environment over them.
pub(super) fn collect<I>(path: Option<&Path>, environment: I) -> Result<AllGiven, ConfigError>
where
    I: IntoIterator<Item = (String, String)>,
{
    let mut all = AllGiven::new();
    if let Some(path) = path {
        read_file(path, &mut all)?;
    }
    for (variable, text) in environment {
        if let Some(key) = key_of(&variable) {
            let source = Source::Environment { variable };
            all.insert(key, Given { value: Value::One(text), source });
        }
    }
    Ok(all)
}

/// The name of the variable that sets `key`.
pub(super) fn variable_of(key: &str) -> String {
    let section_and_key = match key.split_once('.') {
        Some(("kafka", rest)) => match rest.strip_prefix("properties.") {
            Some(property) => format!("kafka{SEPARATOR}properties{SEPARATOR}{}", property.replace('.', "_")),
            None => format!("kafka{SEPARATOR}{rest}"),
        },
        _ => key.replace('.', SEPARATOR),
    };
    format!("{PREFIX}{}", section_and_key.to_uppercase())
}

/// The key that a variable sets; `None` for variables that aren't settings.
///
/// librdkafka's properties have dots and no underscores, so in `TICKGATE_KAFKA__PROPERTIES__SASL_MECHANISM`
/// each `_` stands for a dot: `sasl.mechanism`.
fn key_of(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(PREFIX)?.to_lowercase();
    let (section, key) = name.split_once(SEPARATOR)?;
    match key.split_once(SEPARATOR) {
        Some(("properties", property)) if section == "kafka" => {
            Some(format!("kafka.properties.{}", property.replace('_', ".")))
        }
        _ => Some(format!("{section}.{}", key.replace(SEPARATOR, "."))),
    }
}

fn read_file(path: &Path, all: &mut AllGiven) -> Result<(), ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause: cause.to_string() })?;
    let file = File { path, text: &text };
    let table = DeTable::parse(&text).map_err(|error| {
        // The error's own text quotes the line, which may hold a secret.
        let at = file.at(error.span().map_or(0, |span| span.start));
        ConfigError::NotToml { at, cause: error.message().to_owned() }
    })?;
    flatten(table.get_ref(), "", &file, all)
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn at(&self, position: usize) -> Source {
        let before = self.text.get(..position).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        Source::File { path: self.path.to_owned(), line }
    }
}

fn flatten(
    table: &DeTable<'_>,
    prefix: &str,
    file: &File<'_>,
    all: &mut AllGiven,
) -> Result<(), ConfigError> {
    for (name, spanned) in table {
        let name = name.get_ref();
        let key = if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") };
        let source = file.at(spanned.span().start);
        let value = match spanned.get_ref() {
            DeValue::Table(inner) => {
                flatten(inner, &key, file, all)?;
                continue;
            }
            DeValue::Array(items)
                if !items.is_empty() && items.iter().all(|item| item.get_ref().is_table()) =>
            {
                // As if they were tables with numbers for names.
                for (number, item) in items.iter().enumerate() {
                    let DeValue::Table(inner) = item.get_ref() else { continue };
                    flatten(inner, &format!("{key}.{number}"), file, all)?;
                }
                continue;
            }
            DeValue::Array(items) => {
                let texts = items.iter().map(|item| scalar(item.get_ref())).collect::<Option<Vec<_>>>();
                Value::Many(
                    texts.ok_or_else(|| ConfigError::NotFlat { key: key.clone(), at: source.clone() })?,
                )
            }
            other => Value::One(
                scalar(other).ok_or_else(|| ConfigError::NotFlat { key: key.clone(), at: source.clone() })?,
            ),
        };
        all.insert(key, Given { value, source });
    }
    Ok(())
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(datetime) => Some(datetime.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_name_keys_and_back() {
        for key in ["kafka.brokers", "process.round_max_records", "kafka.properties.sasl.mechanism"] {
            assert_eq!(key_of(&variable_of(key)).as_deref(), Some(key));
        }
        assert_eq!(
            variable_of("kafka.properties.ssl.ca.location"),
            "TICKGATE_KAFKA__PROPERTIES__SSL_CA_LOCATION"
        );
    }

    #[test]
    fn other_variables_are_left_alone() {
        for variable in ["PATH", "TICKGATE_LOG", "TICKGATE_PORT_9092_TCP", "KAFKA__BROKERS"] {
            assert_eq!(key_of(variable), None, "{variable}");
        }
    }
}
