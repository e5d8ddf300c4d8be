//! `tickgate state positions`

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::Serialize;

use super::source::Source;
use super::{At, Exit, Failure, reach, table};
use crate::config::Config;
use crate::journal::kafka::owners::Owners;
use crate::journal::kafka::{TopicEnds, client};
use crate::model::Partition;
use crate::query::PartitionState;

/// The positions are worth showing without brokers, so these are not waited for as long as they may be.
const BROKERS_WITHIN: Duration = Duration::from_secs(10);

/// Arguments of `tickgate state positions`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As JSON, an object a partition
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

/// A partition's state beside its topics.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    state: PartitionState,
    /// Below it the changelog is replicated; what is not in the state yet may be markers alone.
    changelog_end: Option<i64>,
    changelog_lag: Option<i64>,
    input_end: Option<i64>,
    input_lag: Option<i64>,
}

type Ends = BTreeMap<Partition, TopicEnds>;

pub(super) fn run(args: &Args, config: &Config, timeout: Duration) -> Result<Exit, Failure> {
    let source = Source::open(&args.at, config, timeout)?;
    let states = source.partitions()?;
    let partitions: Vec<Partition> = states.iter().map(|state| state.partition).collect();
    let (changelog, staging) = match ends(config, &partitions, timeout.min(BROKERS_WITHIN)) {
        Ok(ends) => ends,
        Err(failure) => {
            eprintln!("tickgate: the topics' ends are left out: {failure}");
            Default::default()
        }
    };
    let lines: Vec<Line> = states.into_iter().map(|state| Line::new(state, &changelog, &staging)).collect();
    let mut out = io::stdout().lock();
    if args.json {
        lines.iter().try_for_each(|line| table::line(line, &mut out)).map_err(Failure::breach)?;
    } else {
        let head = [
            "PARTITION",
            "SOURCE",
            "CHANGELOG",
            "END",
            "LAG",
            "INPUT",
            "END",
            "LAG",
            "EPOCH",
            "LAST CURRENT",
        ];
        let rows: Vec<_> = lines.iter().map(Line::cells).collect();
        table::table(&head, &rows, &mut out).map_err(Failure::breach)?;
    }
    Ok(Exit::Whole)
}

/// Of the changelog and of staging.
fn ends(config: &Config, partitions: &[Partition], within: Duration) -> Result<(Ends, Ends), Failure> {
    reach(&config.kafka, within)?;
    let base = client::base_config(&config.kafka, "state");
    let owners = Owners::new(base, &config.process.group).map_err(Failure::settings)?;
    let of = |topic: &str| owners.ends(topic, partitions).map_err(Failure::unreachable);
    Ok((of(&config.changelog())?, of(&config.topics.staging)?))
}

impl Line {
    fn new(state: PartitionState, changelog: &Ends, staging: &Ends) -> Self {
        let end = |ends: &Ends| ends.get(&state.partition).map(|ends| ends.high_watermark);
        let (changelog_end, input_end) = (end(changelog), end(staging));
        Self {
            changelog_lag: changelog_end.map(|end| end - state.changelog_next),
            input_lag: input_end.zip(state.next_offset).map(|(end, next)| end - next),
            changelog_end,
            input_end,
            state,
        }
    }

    fn cells(&self) -> Vec<String> {
        let text = |number: Option<i64>| table::text(number);
        let age = Duration::from_secs(self.state.age_ms.unsigned_abs() / 1_000);
        vec![
            self.state.partition.to_string(),
            table::source_name(self.state.source).to_owned(),
            self.state.changelog_next.to_string(),
            text(self.changelog_end),
            text(self.changelog_lag),
            text(self.state.next_offset),
            text(self.input_end),
            text(self.input_lag),
            table::text(self.state.epoch),
            format!("{} ago", humantime::format_duration(age)),
        ]
    }
}
