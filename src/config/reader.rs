//! Takes typed values out of what was given, and remembers every key it was asked for: so the known keys,
//! their defaults and their sources are known without a second list, and what nobody asked for is unknown.

use std::{fmt::Display, fs, net::SocketAddr, ops::RangeInclusive, str::FromStr, time::Duration};

use super::{
    ConfigError, Problem, Secret, Source,
    source::{AllGiven, Given, Value, variable_of},
};

/// A key in force, for `tickgate config show`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Section, dot, name.
    pub key: String,
    /// The value as TOML; `"***"` for a secret.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

/// Reads settings and gathers what is wrong with them.
#[derive(Debug)]
pub(super) struct Reader {
    given: AllGiven,
    settings: Vec<Setting>,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(given: AllGiven) -> Self {
        Self { given, settings: Vec::new(), problems: Vec::new() }
    }

    pub(super) fn section(&mut self, name: &'static str) -> Section<'_> {
        Section { reader: self, name }
    }

    /// Every setting in force, in the order it was asked for; an error lists all problems at once.
    pub(super) fn finish(mut self, variables: &[String]) -> Result<Vec<Setting>, ConfigError> {
        let unknown = std::mem::take(&mut self.given);
        for (key, Given { source, .. }) in unknown {
            let nearest = self.nearest(&key, &source);
            self.problems.push(Problem::Unknown { key, at: source, nearest });
        }
        self.find_misspelt_variables(variables);
        if self.problems.is_empty() {
            return Ok(self.settings);
        }
        Err(ConfigError::Wrong { problems: self.problems })
    }

    /// The known key most like `key`, written as its source would write it.
    fn nearest(&self, key: &str, source: &Source) -> String {
        let likeness = |known: &str| {
            // A right name in the wrong section is nearer than a letter changed in another word.
            let name = |key: &str| key.split_once('.').map_or(key, |(_, name)| name).to_owned();
            strsim::jaro_winkler(known, key).max(strsim::jaro_winkler(&name(known), &name(key)) - 0.01)
        };
        let nearest = self
            .settings
            .iter()
            .map(|setting| setting.key.as_str())
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
            .unwrap_or_default();
        match source {
            Source::Environment { .. } => variable_of(nearest),
            Source::File { .. } | Source::Default => nearest.to_owned(),
        }
    }

    /// `TICKGATE_KAFKA_BROKERS` (one underscore) would silently do nothing. Other variables with our
    /// prefix are none of ours: Kubernetes sets `TICKGATE_PORT` for a service of that name.
    fn find_misspelt_variables(&mut self, variables: &[String]) {
        for variable in variables.iter().filter(|name| name.starts_with("TICKGATE_") && !name.contains("__"))
        {
            let meant = self.settings.iter().map(|setting| variable_of(&setting.key));
            if let Some(nearest) = meant.into_iter().find(|known| known.replace("__", "_") == *variable) {
                let at = Source::Environment { variable: variable.clone() };
                self.problems.push(Problem::Unknown { key: variable.clone(), at, nearest });
            }
        }
    }
}

/// One section of the settings.
#[derive(Debug)]
pub(super) struct Section<'a> {
    reader: &'a mut Reader,
    name: &'static str,
}

impl Section<'_> {
    /// A text that `is_legal` accepts; `expected` says which those are.
    pub(super) fn legal_text(
        &mut self,
        name: &str,
        default: &str,
        expected: &str,
        is_legal: impl Fn(&str) -> bool,
    ) -> String {
        let parse = |text: &str| if is_legal(text) { Ok(text.to_owned()) } else { Err(String::new()) };
        self.parsed(name, default.to_owned(), expected, parse, |text| quoted(text))
    }

    /// An address with one of these schemes and without a query, which is hidden where there is one: people put
    /// secrets there.
    pub(super) fn url(&mut self, name: &str, default: &str, schemes: &[&str]) -> String {
        let Some(given) = self.take(name) else {
            self.show(name, quoted(default), Source::Default);
            return default.to_owned();
        };
        let text = self.one(name, &given);
        let (shown, has_query) = match text.split_once('?') {
            Some((before, _)) => (format!("{before}?***"), true),
            None => (text.clone(), false),
        };
        if has_query || !schemes.iter().any(|scheme| text.starts_with(scheme)) {
            let expected =
                format!("an address that begins with `{}`, without a query", schemes.join("` or `"));
            self.reject(name, &given.source, format!("`{shown}`"), expected);
        }
        self.show(name, quoted(&shown), given.source);
        text
    }

    /// A duration such as `100ms`, `4h` or `3d` within `allowed`.
    pub(super) fn duration(
        &mut self,
        name: &str,
        default: &str,
        allowed: RangeInclusive<Duration>,
    ) -> Duration {
        let default = humantime::parse_duration(default).expect("a default in this room is a legal duration");
        let format = |duration: Duration| humantime::format_duration(duration).to_string().replace(' ', "");
        let expected = format!(
            "a duration such as `100ms`, `4h` or `3d`, from {} to {}",
            format(*allowed.start()),
            format(*allowed.end())
        );
        let parse = |text: &str| match humantime::parse_duration(text) {
            Ok(duration) if allowed.contains(&duration) => Ok(duration),
            Ok(_) => Err(String::new()),
            Err(cause) => Err(cause.to_string()),
        };
        self.parsed(name, default, &expected, parse, |duration| quoted(&format(*duration)))
    }

    /// The same, or `off`.
    pub(super) fn duration_or_off(
        &mut self,
        name: &str,
        default: Option<Duration>,
        allowed: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let format = |duration: Duration| humantime::format_duration(duration).to_string().replace(' ', "");
        let expected = format!(
            "`off` or a duration such as `100ms`, `4h` or `3d`, from {} to {}",
            format(*allowed.start()),
            format(*allowed.end())
        );
        let parse = |text: &str| match humantime::parse_duration(text) {
            _ if text == "off" => Ok(None),
            Ok(duration) if allowed.contains(&duration) => Ok(Some(duration)),
            Ok(_) => Err(String::new()),
            Err(cause) => Err(cause.to_string()),
        };
        self.parsed(name, default, &expected, parse, |duration| {
            quoted(&duration.map_or("off".to_owned(), format))
        })
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, name: &str, default: bool) -> bool {
        let parse = |text: &str| text.parse::<bool>().map_err(|_| String::new());
        self.parsed(name, default, "`true` or `false`", parse, ToString::to_string)
    }

    /// A number within `allowed`.
    pub(super) fn number<T>(&mut self, name: &str, default: T, allowed: RangeInclusive<T>) -> T
    where
        T: Copy + PartialOrd + Display + FromStr,
    {
        let expected = format!("a number from {} to {}", allowed.start(), allowed.end());
        let parse = |text: &str| match text.replace('_', "").parse::<T>() {
            Ok(number) if allowed.contains(&number) => Ok(number),
            _ => Err(String::new()),
        };
        self.parsed(name, default, &expected, parse, ToString::to_string)
    }

    /// An address to listen on; port 0 takes a free one.
    pub(super) fn address(&mut self, name: &str, default: &str) -> SocketAddr {
        let default = default.parse().expect("a default in this room is a legal address");
        let parse = |text: &str| text.parse().map_err(|_| String::new());
        let expected = "an IP address and a port, such as `127.0.0.1:9464`";
        self.parsed(name, default, expected, parse, |address: &SocketAddr| quoted(&address.to_string()))
    }

    /// A list: a TOML array, or one text with commas.
    pub(super) fn list(&mut self, name: &str, default: &[&str]) -> Vec<String> {
        let (items, source) = match self.take(name) {
            None => (default.iter().map(ToString::to_string).collect(), Source::Default),
            Some(Given { value: Value::Many(items), source }) => (items, source),
            Some(Given { value: Value::One(text), source }) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                (items.map(ToOwned::to_owned).collect::<Vec<_>>(), source)
            }
        };
        let shown = items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", ");
        self.show(name, format!("[{shown}]"), source);
        items
    }

    /// A list whose items `parse` can read; `expected` says which those are.
    pub(super) fn parsed_list<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for item in self.list(name, &[]) {
            match parse(&item) {
                Some(value) => values.push(value),
                None => self.reject_together(name, format!("`{item}`"), expected),
            }
        }
        values
    }

    /// The next part of every key below `<section>.<name>.`, numbers in their order.
    pub(super) fn children(&self, name: &str) -> Vec<String> {
        let prefix = format!("{}.{name}.", self.name);
        let below = self.reader.given.keys().filter_map(|key| key.strip_prefix(&prefix)?.split('.').next());
        let mut children: Vec<String> = below.map(ToOwned::to_owned).collect();
        children.sort_by_key(|child| (child.parse::<u64>().unwrap_or(u64::MAX), child.clone()));
        children.dedup();
        children
    }

    /// A secret, given itself or as the path of a file that holds it (`<name>_file`); `None` when neither.
    pub(super) fn secret(&mut self, name: &str) -> Option<Secret> {
        let file_name = format!("{name}_file");
        // An empty one is none, so that what `config show` prints can be read back.
        let is_filled = |given: &Given| given.value != Value::One(String::new());
        let (itself, file) = (self.take(name).filter(is_filled), self.take(&file_name).filter(is_filled));
        if let (Some(_), Some(file)) = (&itself, &file) {
            self.reject(name, &file.source, "a secret and its file", "one of the two");
        }
        let hidden = |given: &Option<Given>| given.as_ref().map_or("\"\"", |_| "\"***\"").to_owned();
        self.show(name, hidden(&itself), source_of(itself.as_ref()));
        let path = file.as_ref().map(|file| self.one(&file_name, file));
        self.show(&file_name, quoted(path.as_deref().unwrap_or_default()), source_of(file.as_ref()));
        let text = match (itself, file, path) {
            (Some(itself), _, _) => self.one(name, &itself),
            (None, Some(file), Some(path)) => self.secret_in(&file_name, &path, &file.source)?,
            _ => return None,
        };
        Some(Secret::new(text)).filter(|secret| !secret.reveal().is_empty())
    }

    /// Everything below `<section>.<name>.`, by what follows; names that `is_secret` holds for are hidden and
    /// may be given as `<key>.file`.
    pub(super) fn table(&mut self, name: &str, is_secret: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let prefix = format!("{}.{name}.", self.name);
        let keys =
            self.reader.given.keys().filter(|key| key.starts_with(&prefix)).cloned().collect::<Vec<_>>();
        let mut entries = Vec::new();
        for key in keys {
            let property = key[prefix.len()..].to_owned();
            let name = format!("{name}.{property}");
            let Some(given) = self.take(&name) else { continue };
            let text = self.one(&name, &given);
            let shown = if is_secret(&property) { "\"***\"".to_owned() } else { quoted(&text) };
            self.show(&name, shown, given.source.clone());
            match property.strip_suffix(".file").filter(|of| is_secret(of)) {
                Some(of) => {
                    let secret = self.secret_in(&name, &text, &given.source);
                    entries.extend(secret.map(|secret| (of.to_owned(), secret)));
                }
                None => entries.push((property, text)),
            }
        }
        entries
    }

    /// Notes that the values of some keys can't be had together.
    pub(super) fn reject_together(&mut self, name: &str, found: impl Display, expected: impl Display) {
        let key = self.key(name);
        let source = self.reader.settings.iter().find(|setting| setting.key == key);
        let source = source.map_or(Source::Default, |setting| setting.source.clone());
        self.reject(name, &source, found, expected);
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        default: T,
        expected: &str,
        parse: impl Fn(&str) -> Result<T, String>,
        shown: impl Fn(&T) -> String,
    ) -> T {
        let Some(given) = self.take(name) else {
            self.show(name, shown(&default), Source::Default);
            return default;
        };
        let text = self.one(name, &given);
        let value = match parse(&text) {
            Ok(value) => value,
            Err(why) => {
                let found = if why.is_empty() { format!("`{text}`") } else { format!("`{text}` ({why})") };
                self.reject(name, &given.source, found, expected);
                default
            }
        };
        self.show(name, shown(&value), given.source);
        value
    }

    fn one(&mut self, name: &str, given: &Given) -> String {
        match &given.value {
            Value::One(text) => text.clone(),
            Value::Many(items) => {
                self.reject(name, &given.source, format!("a list of {}", items.len()), "a single value");
                String::new()
            }
        }
    }

    fn secret_in(&mut self, name: &str, path: &str, source: &Source) -> Option<String> {
        match fs::read_to_string(path) {
            Ok(text) => Some(text.trim_end().to_owned()),
            Err(cause) => {
                self.reject(
                    name,
                    source,
                    format!("`{path}` ({cause})"),
                    "a readable file that holds the secret",
                );
                None
            }
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    fn take(&mut self, name: &str) -> Option<Given> {
        let key = self.key(name);
        self.reader.given.remove(&key)
    }

    fn show(&mut self, name: &str, value: String, source: Source) {
        let key = self.key(name);
        self.reader.settings.push(Setting { key, value, source });
    }

    fn reject(&mut self, name: &str, source: &Source, found: impl Display, expected: impl Display) {
        let (key, at) = (self.key(name), source.clone());
        let (found, expected) = (found.to_string(), expected.to_string());
        self.reader.problems.push(Problem::Value { key, at, found, expected });
    }
}

fn source_of(given: Option<&Given>) -> Source {
    given.map_or(Source::Default, |given| given.source.clone())
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
