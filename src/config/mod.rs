//! Settings, one struct per concern, from a TOML file and the environment; the environment wins.
//!
//! The promise: what is returned can be used as it is. An unknown key, an illegal value or values that
//! contradict each other are errors here, all of them at once, with their place. There is no setting that
//! nothing reads, and none that changes while a process runs.
//!
//! A key `section.name` is the variable `TICKGATE_SECTION__NAME`. Lists are TOML arrays or one text with
//! commas. Variables with other shapes (`TICKGATE_LOG`, `TICKGATE_CONFIG`) aren't settings.

mod calendar;
mod error;
mod finnhub;
mod freshness;
mod ingest;
mod journal;
mod kafka;
mod legal;
mod process;
mod reader;
mod record;
mod rules;
mod secret;
mod serve;
mod simulate;
mod sink;
mod source;
mod symbols;
mod topics;

use std::{env, path::Path};

pub use self::{
    calendar::CalendarConfig,
    error::{ConfigError, Problem},
    finnhub::{FeedMode, FinnhubConfig},
    freshness::{ClassConfig, FreshnessConfig},
    ingest::{IngestConfig, LeaseKind},
    journal::{JournalConfig, JournalKind},
    kafka::{KafkaConfig, Properties},
    process::{GroupProtocol, ProcessConfig, Replicas},
    reader::Setting,
    record::RecordConfig,
    rules::{RulesConfig, Treatment},
    secret::Secret,
    serve::{Access, HistoryKind, ServeConfig},
    simulate::SimulateConfig,
    sink::{CassandraConfig, Consistency, Replication, SinkConfig, TableKind, TlsConfig},
    source::Source,
    symbols::expand_symbols,
    topics::{OUTPUT_ROOM_BYTES, TopicsConfig},
};
use self::{reader::Reader, source::collect};

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[journal]`: where topics live.
    pub journal: JournalConfig,
    /// `[kafka]`: how to reach the brokers.
    pub kafka: KafkaConfig,
    /// `[topics]`: names and shape of the topics.
    pub topics: TopicsConfig,
    /// `[process]`: the gate.
    pub process: ProcessConfig,
    /// `[freshness]`: when a symbol counts as silent.
    pub freshness: FreshnessConfig,
    /// `[rules]`: thresholds, and what suspect records come to.
    pub rules: RulesConfig,
    /// `[finnhub]`: the feed.
    pub finnhub: FinnhubConfig,
    /// `[ingest]`: the feed's way into staging.
    pub ingest: IngestConfig,
    /// `[record]`: making recordings of the feed.
    pub record: RecordConfig,
    /// `[simulate]`: the stand-in for the feed.
    pub simulate: SimulateConfig,
    /// `[sink]`: the way from `stock_data` into the table.
    pub sink: SinkConfig,
    /// `[serve]`: the page and its API.
    pub serve: ServeConfig,
    settings: Vec<Setting>,
}

impl Config {
    /// Reads the file, if one is named, and lays `environment` over it.
    pub fn load<I>(path: Option<&Path>, environment: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator<Item = (String, String)>,
    {
        let environment = environment.into_iter().collect::<Vec<_>>();
        let variables = environment.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let mut reader = Reader::new(collect(path, environment)?);
        let journal = JournalConfig::read(&mut reader.section("journal"));
        let kafka = KafkaConfig::read(&mut reader.section("kafka"));
        let topics = TopicsConfig::read(&mut reader.section("topics"));
        let process = ProcessConfig::read(&mut reader.section("process"));
        let ingest = IngestConfig::read(&mut reader.section("ingest"));
        let sink = SinkConfig::read(&mut reader.section("sink"), &topics, &process.group);
        let mut config = Self {
            freshness: FreshnessConfig::read(&mut reader.section("freshness")),
            rules: RulesConfig::read(&mut reader.section("rules")),
            finnhub: FinnhubConfig::read(&mut reader.section("finnhub")),
            record: RecordConfig::read(&mut reader.section("record")),
            simulate: SimulateConfig::read(&mut reader.section("simulate")),
            serve: ServeConfig::read(&mut reader.section("serve"), &process, &ingest, &sink),
            ingest,
            sink,
            journal,
            kafka,
            topics,
            process,
            settings: Vec::new(),
        };
        config.settings = reader.finish(&variables)?;
        Ok(config)
    }

    /// This process's variables; bytes that aren't UTF-8 are replaced, so that they are refused as values.
    pub fn environment() -> Vec<(String, String)> {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect()
    }

    /// Every setting in force and its source, section by section; secrets are hidden.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The name of the topic that backs the store.
    pub fn changelog(&self) -> String {
        format!("{}-last_seen-changelog", self.process.group)
    }

    /// The consumer group that decides which ingester holds the feed.
    pub fn lease_group(&self) -> String {
        format!("{}-ingest", self.process.group)
    }

    /// The name of that group's topic.
    pub fn lease_topic(&self) -> String {
        format!("{}-ingest-lease", self.process.group)
    }

    /// Stands for all settings that change verdicts or events. It is kept in checkpoint rows: equal
    /// settings have equal fingerprints in every version of tickgate, however they were written down.
    pub fn fingerprint(&self) -> u64 {
        let mut fields = self.freshness.fingerprint_fields();
        fields.extend(self.rules.fingerprint_fields());
        fields.sort_unstable();
        let text = fields.iter().map(|(name, value)| format!("{name}={value};")).collect::<Vec<_>>().concat();
        crate::model::fnv1a(text.as_bytes())
    }
}

#[cfg(test)]
mod tests;
