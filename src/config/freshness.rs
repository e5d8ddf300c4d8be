//! `[freshness]`

use std::collections::BTreeMap;
use std::time::Duration;

use super::calendar::CalendarConfig;
use super::legal;
use super::reader::Section;
use super::symbols::expand_symbols;

const DAY: Duration = Duration::from_hours(24);
/// How long a threshold may be.
const LONGEST: Duration = Duration::from_hours(24 * 365);
/// `warn_after` where nothing is set and `error_after` is longer.
const WARN_AFTER: Duration = Duration::from_hours(3);
/// `feed_after` where nothing is set.
const FEED_AFTER: Duration = Duration::from_mins(10);
/// Looks are a second apart.
const FEED_SHORTEST: Duration = Duration::from_secs(1);
/// Always open.
const ALWAYS: &str = "24x7";
/// The class of symbols that no other one names.
const DEFAULT: &str = "default";

/// When a symbol counts as silent, and when a record comes from the future.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshnessConfig {
    /// `warn_after`: a silence longer than this is a `stale` event of level `warn`; `off`: there is no such level.
    /// Shorter than `error_after`. Default: `3h`, or none where `error_after` is not longer.
    pub warn_after: Option<Duration>,
    /// `error_after`: a silence longer than this is a `stale` event of level `error`. Default: `4h`.
    pub error_after: Duration,
    /// `calendar`: whose open time counts for symbols of no class: `24x7`, `nyse`, `nasdaq` or a
    /// `[freshness.calendars.<name>]`. Default: `24x7`.
    pub calendar: String,
    /// `feed_after`: a whole class without an accepted quote for longer is `feed_silent`; `off`: that is not judged.
    /// Default: `10m`.
    pub feed_after: Option<Duration>,
    /// `exempt`: symbols of no class are not watched. Default: `false`.
    pub exempt: bool,
    /// `future_skew`: an event time further than this after the record's Kafka time is `future_time`.
    /// Default: `5s`.
    pub future_skew: Duration,
    /// `grace`: notices by the clock wait this long after the threshold, for a record that is on its way.
    /// Default: `5s`.
    pub grace: Duration,
    /// `watchlist`: symbols that are watched from when they are first listed, whether they were ever seen or not; a
    /// number stands for so many made-up ones, as in `finnhub.symbols`. Default: `[]`.
    pub watchlist: Vec<String>,
    /// `[[freshness.class]]`: a symbol is in the first that names it.
    pub classes: Vec<ClassConfig>,
    /// `[freshness.calendars.<name>]`, and those that tickgate knows.
    pub calendars: BTreeMap<String, CalendarConfig>,
}

/// Symbols that are held to thresholds of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassConfig {
    /// `name`: what events call it.
    pub name: String,
    /// `symbols`: exact names, and globs in which `*` stands for any text and `?` for one character.
    pub symbols: Vec<String>,
    /// `warn_after`. Default: that of `[freshness]`, or none where `error_after` is not longer.
    pub warn_after: Option<Duration>,
    /// `error_after`. Default: that of `[freshness]`.
    pub error_after: Duration,
    /// `calendar`. Default: that of `[freshness]`.
    pub calendar: String,
    /// `feed_after`. Default: that of `[freshness]`.
    pub feed_after: Option<Duration>,
    /// `exempt`: its symbols are not watched. Default: `false`.
    pub exempt: bool,
}

impl FreshnessConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let error_after = section.duration("error_after", "4h", Duration::from_millis(1)..=LONGEST);
        let warn_after = warn_after(section, "warn_after", Some(WARN_AFTER), error_after);
        let future_skew = section.duration("future_skew", "5s", Duration::ZERO..=DAY);
        let grace = section.duration("grace", "5s", Duration::ZERO..=DAY);
        let calendars = CalendarConfig::read_all(section);
        let calendar = calendar(section, "calendar", ALWAYS, &calendars);
        let feed_after = section.duration_or_off("feed_after", Some(FEED_AFTER), FEED_SHORTEST..=LONGEST);
        let exempt = section.flag("exempt", false);
        let watchlist = section.list("watchlist", &[]);
        let mut freshness = Self {
            warn_after,
            error_after,
            calendar,
            feed_after,
            exempt,
            future_skew,
            grace,
            watchlist: expand_symbols(&watchlist),
            classes: Vec::new(),
            calendars,
        };
        for number in section.children("class") {
            let class = freshness.read_class(section, &number);
            freshness.classes.push(class);
        }
        freshness
    }

    fn read_class(&self, section: &mut Section<'_>, number: &str) -> ClassConfig {
        let key = |of: &str| format!("class.{number}.{of}");
        let is_new = |name: &str| name != DEFAULT && self.classes.iter().all(|class| class.name != name);
        let expected = "1 to 100 of a-z, A-Z, 0-9, `_` and `-`, not `default`, and no other class's";
        let name =
            section.legal_text(&key("name"), "", expected, |name| legal::is_id_part(name) && is_new(name));
        if name.is_empty() {
            section.reject_together(&key("name"), "none", expected);
        }
        let symbols = section.list(&key("symbols"), &[]);
        if symbols.is_empty() {
            section.reject_together(&key("symbols"), "none", "exact names and globs, such as `BINANCE:*`");
        }
        let shown = humantime::format_duration(self.error_after).to_string().replace(' ', "");
        let error_after = section.duration(&key("error_after"), &shown, Duration::from_millis(1)..=LONGEST);
        ClassConfig {
            name,
            symbols,
            warn_after: warn_after(section, &key("warn_after"), self.warn_after, error_after),
            error_after,
            calendar: calendar(section, &key("calendar"), &self.calendar, &self.calendars),
            feed_after: section.duration_or_off(&key("feed_after"), self.feed_after, FEED_SHORTEST..=LONGEST),
            exempt: section.flag(&key("exempt"), false),
        }
    }

    /// Every class, and the default one last, which names no symbols.
    pub fn all_classes(&self) -> Vec<ClassConfig> {
        let default = ClassConfig {
            name: DEFAULT.to_owned(),
            symbols: Vec::new(),
            warn_after: self.warn_after,
            error_after: self.error_after,
            calendar: self.calendar.clone(),
            feed_after: self.feed_after,
            exempt: self.exempt,
        };
        self.classes.iter().cloned().chain([default]).collect()
    }

    /// What of this changes verdicts or events, where it is not what holds by default. Grace doesn't: it only
    /// changes who notices first.
    pub(super) fn fingerprint_fields(&self) -> Vec<(String, String)> {
        let mut fields = vec![
            ("freshness.error_after_ms".to_owned(), self.error_after.as_millis().to_string()),
            ("freshness.future_skew_ms".to_owned(), self.future_skew.as_millis().to_string()),
        ];
        let ms =
            |after: Option<Duration>| after.map_or("off".to_owned(), |after| after.as_millis().to_string());
        if self.warn_after != Some(WARN_AFTER).filter(|warn_after| *warn_after < self.error_after) {
            fields.push(("freshness.warn_after_ms".to_owned(), ms(self.warn_after)));
        }
        if self.feed_after != Some(FEED_AFTER) {
            fields.push(("freshness.feed_after_ms".to_owned(), ms(self.feed_after)));
        }
        if self.exempt {
            fields.push(("freshness.exempt".to_owned(), "true".to_owned()));
        }
        if !self.watchlist.is_empty() {
            let mut listed = self.watchlist.clone();
            listed.sort_unstable();
            listed.dedup();
            fields.push(("freshness.watchlist".to_owned(), format!("{listed:?}")));
        }
        let mut calendars = vec![&self.calendar];
        for (number, class) in self.classes.iter().enumerate() {
            let said = format!(
                "{} {:?} {} {} {} {} {}",
                class.name,
                class.symbols,
                ms(class.warn_after),
                class.error_after.as_millis(),
                class.calendar,
                ms(class.feed_after),
                class.exempt
            );
            fields.push((format!("freshness.class.{number:05}"), said));
            calendars.push(&class.calendar);
        }
        calendars.sort_unstable();
        calendars.dedup();
        for name in calendars.into_iter().filter(|name| *name != ALWAYS) {
            let said = self.calendars.get(name).map(CalendarConfig::described).unwrap_or_default();
            fields.push((format!("freshness.calendar.{name}"), said));
        }
        if self.calendar != ALWAYS {
            fields.push(("freshness.calendar".to_owned(), self.calendar.clone()));
        }
        fields
    }
}

/// A `warn_after` that is below its `error_after`; what is inherited and is not below is none.
fn warn_after(
    section: &mut Section<'_>,
    name: &str,
    inherited: Option<Duration>,
    error_after: Duration,
) -> Option<Duration> {
    let inherited = inherited.filter(|warn_after| *warn_after < error_after);
    let warn_after = section.duration_or_off(name, inherited, Duration::from_millis(1)..=LONGEST);
    let is_below = warn_after.is_none_or(|warn_after| warn_after < error_after);
    if !is_below {
        let found = warn_after.map(humantime::format_duration).map(|warn_after| warn_after.to_string());
        let expected =
            format!("less than `error_after`, {}, or `off`", humantime::format_duration(error_after));
        section.reject_together(name, format!("`{}`", found.unwrap_or_default()), expected);
    }
    warn_after.filter(|_| is_below)
}

fn calendar(
    section: &mut Section<'_>,
    name: &str,
    inherited: &str,
    calendars: &BTreeMap<String, CalendarConfig>,
) -> String {
    let names = calendars.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let expected = format!("a calendar: `{ALWAYS}`, {names}");
    section.legal_text(name, inherited, &expected, |name| name == ALWAYS || calendars.contains_key(name))
}
