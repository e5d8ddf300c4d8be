//! What the instances of `process`, `ingest` and `sink` say of themselves, put together. Pure: answers and times are
//! arguments. One that does not answer stays, with what it was last known to be.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::samples::Samples;
use crate::model::{Offset, Partition, WallTime};

/// Rates and quantiles are over the answers of so many milliseconds.
const WINDOW_MS: i64 = 20_000;

/// What one instance answered.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// `/metrics`.
    pub samples: Samples,
    /// `/v1/instance`; `process` alone has it.
    pub instance: Option<Instance>,
    /// `/v1/partitions`, likewise.
    pub stores: Option<Stores>,
    /// What `/readyz` waits for; none when it is ready.
    pub awaited: Option<String>,
}

impl Answer {
    /// The partitions whose state is there their owner's.
    pub fn owned(&self) -> impl Iterator<Item = Partition> {
        let all = self.stores.iter().flat_map(|stores| &stores.partitions);
        all.filter(|at| at.source == "owner").map(|at| at.partition)
    }
}

/// `/v1/instance`, as far as it is shown.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs)] // they are the page's own
pub struct Instance {
    #[serde(rename = "instance")]
    pub name: String,
    #[serde(default)]
    pub workers: BTreeMap<u32, Worker>,
}

/// A worker of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs)]
pub struct Worker {
    #[serde(default)]
    pub transactional_id: String,
    #[serde(default)]
    pub partitions: BTreeMap<Partition, Working>,
}

/// A partition that it works on.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs)]
pub struct Working {
    #[serde(default)]
    pub phase: String,
    pub next_offset: Option<Offset>,
    pub end_offset: Option<Offset>,
}

/// `/v1/partitions`, as far as it is shown.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs)]
pub struct Stores {
    #[serde(default)]
    pub partitions: Vec<Stored>,
}

/// The state of a partition that an instance has.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Stored {
    pub partition: Partition,
    pub source: String,
    pub changelog_next: Offset,
    pub age_ms: i64,
}

/// An instance as it is shown. What it does not have is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)] // the OpenAPI description says what they are
pub struct InstanceRow {
    pub address: String,
    pub role: &'static str,
    pub name: String,
    pub version: Option<String>,
    pub is_up: bool,
    pub is_ready: bool,
    pub waits_for: Option<String>,
    pub error: Option<String>,
    pub answered_at: Option<WallTime>,
    pub partitions: Vec<Partition>,
    pub numbers: BTreeMap<&'static str, f64>,
}

/// A partition of staging as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)] // the OpenAPI description says what they are
pub struct PartitionRow {
    pub partition: Partition,
    pub owner: Option<String>,
    pub worker: Option<u32>,
    pub transactional_id: Option<String>,
    pub phase: String,
    pub next_offset: Option<Offset>,
    pub end_offset: Option<Offset>,
    pub lag: Option<Offset>,
    pub copies: usize,
    pub oldest_copy_ms: Option<i64>,
}

/// All instances, by their addresses.
#[derive(Debug, Clone, Default)]
pub struct Pipeline {
    version: u64,
    instances: BTreeMap<String, Known>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    last: Option<Answer>,
    answered_ms: Option<i64>,
    error: Option<String>,
    before: VecDeque<(i64, Samples)>,
}

/// How a number of an instance comes from its metrics.
enum Number {
    Sum(&'static str),
    Rate(&'static str),
    Median(&'static str),
    Tail(&'static str),
}

const NUMBERS: [(&str, Number); 26] = [
    ("records_per_second", Number::Rate("tickgate_records_total")),
    ("rounds_per_second", Number::Rate("tickgate_rounds_total{outcome=\"committed\"}")),
    ("rounds_failed", Number::Sum("tickgate_rounds_total{outcome=\"aborted\"}")),
    ("latency_p50_seconds", Number::Median("tickgate_append_to_commit_seconds")),
    ("latency_p99_seconds", Number::Tail("tickgate_append_to_commit_seconds")),
    ("lag_records", Number::Sum("tickgate_lag_records")),
    ("lag_seconds", Number::Sum("tickgate_lag_seconds")),
    ("restoring_partitions", Number::Sum("tickgate_partitions_restoring")),
    ("restore_remaining_rows", Number::Sum("tickgate_restore_remaining_rows")),
    ("restored_rows", Number::Sum("tickgate_restored_rows_total")),
    ("replica_partitions", Number::Sum("tickgate_replica_partitions")),
    ("replica_lag_records", Number::Sum("tickgate_replica_lag_records")),
    ("rebalances", Number::Sum("tickgate_rebalances_total")),
    ("fenced", Number::Sum("tickgate_fenced_total")),
    ("symbols", Number::Sum("tickgate_symbols")),
    ("store_bytes", Number::Sum("tickgate_store_bytes")),
    ("memory_bytes", Number::Sum("process_resident_memory_bytes")),
    ("sink_rows_per_second", Number::Rate("tickgate_sink_rows_total")),
    ("sink_lag_records", Number::Sum("tickgate_sink_lag_records")),
    ("sink_in_flight_writes", Number::Sum("tickgate_sink_in_flight_writes")),
    ("sink_refused", Number::Sum("tickgate_sink_refused_total")),
    ("sink_held", Number::Sum("tickgate_sink_held")),
    ("sink_write_p99_seconds", Number::Tail("tickgate_sink_write_seconds")),
    ("ingest_trades_per_second", Number::Rate("tickgate_ingest_trades_total")),
    ("ingest_connected", Number::Sum("tickgate_ingest_connected")),
    ("ingest_in_flight_records", Number::Sum("tickgate_ingest_in_flight_records")),
];

impl Pipeline {
    /// Takes in what an instance answered, or why it did not.
    pub fn told(&mut self, address: &str, now_ms: i64, answer: Result<Answer, String>) {
        self.version += 1;
        let known = self.instances.entry(address.to_owned()).or_default();
        match answer {
            Ok(answer) => {
                known.before.push_back((now_ms, answer.samples.clone()));
                while known.before.front().is_some_and(|(at, _)| now_ms - at > WINDOW_MS)
                    && known.before.len() > 2
                {
                    known.before.pop_front();
                }
                (known.last, known.answered_ms, known.error) = (Some(answer), Some(now_ms), None);
            }
            Err(error) => {
                known.error = Some(error);
                known.before.clear();
            }
        }
    }

    /// There is no such instance any more.
    pub fn forget(&mut self, address: &str) {
        if self.instances.remove(address).is_some() {
            self.version += 1;
        }
    }

    /// Grows with every answer.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The instances, by their addresses.
    pub fn instances(&self) -> Vec<InstanceRow> {
        self.instances.iter().map(|(address, known)| known.row(address)).collect()
    }

    /// The partitions of staging that anybody has told of, in their order.
    pub fn partitions(&self) -> Vec<PartitionRow> {
        let mut rows = BTreeMap::new();
        for known in self.instances.values().filter(|known| known.error.is_none()) {
            let Some(answer) = &known.last else { continue };
            for stored in answer.stores.iter().flat_map(|stores| &stores.partitions) {
                let row = rows.entry(stored.partition).or_insert_with(|| PartitionRow::of(stored.partition));
                row.copies += 1;
                row.oldest_copy_ms = row.oldest_copy_ms.max(Some(stored.age_ms));
            }
            for (instance, number, worker) in
                answer.instance.iter().flat_map(|told| told.workers.iter().map(move |(n, w)| (told, n, w)))
            {
                for (partition, working) in &worker.partitions {
                    let row = rows.entry(*partition).or_insert_with(|| PartitionRow::of(*partition));
                    row.owned_by(instance, *number, worker, working);
                }
            }
        }
        rows.into_values().collect()
    }

    /// Partitions of which somebody has a copy, and that nobody owns who answers.
    pub fn orphans(&self) -> Vec<Partition> {
        let rows = self.partitions().into_iter().filter(|row| row.owner.is_none());
        rows.map(|row| row.partition).collect()
    }
}

impl Known {
    fn row(&self, address: &str) -> InstanceRow {
        let samples = self.last.as_ref().map(|answer| &answer.samples);
        let instance = self.last.as_ref().and_then(|answer| answer.instance.as_ref());
        let is_up = self.error.is_none() && self.last.is_some();
        let waits_for = self.last.as_ref().and_then(|answer| answer.awaited.clone()).filter(|_| is_up);
        let partitions = instance.map(|told| {
            told.workers.values().flat_map(|worker| worker.partitions.keys().copied()).collect::<Vec<_>>()
        });
        InstanceRow {
            address: address.to_owned(),
            role: samples.map_or("unknown", role),
            name: instance.map_or_else(|| address.to_owned(), |told| told.name.clone()),
            version: samples.and_then(|samples| samples.label_of("tickgate_build_info", "version")),
            is_up,
            is_ready: is_up && waits_for.is_none(),
            waits_for,
            error: self.error.clone(),
            answered_at: self.answered_ms.map(WallTime),
            partitions: partitions.filter(|_| is_up).unwrap_or_default(),
            numbers: samples.filter(|_| is_up).map(|samples| self.numbers(samples)).unwrap_or_default(),
        }
    }

    fn numbers(&self, now: &Samples) -> BTreeMap<&'static str, f64> {
        let (oldest, newest) = (self.before.front(), self.before.back());
        let window = oldest.zip(newest).filter(|(oldest, newest)| newest.0 > oldest.0);
        let of = |number: &Number| match number {
            Number::Sum(metric) => now.get(metric).or_else(|| now.sum(metric)),
            Number::Rate(metric) => {
                let ((then_ms, then), (now_ms, now)) = window?;
                let value = |samples: &Samples| samples.get(metric).or_else(|| samples.sum(metric));
                #[allow(clippy::cast_precision_loss)] // some seconds
                let seconds = (now_ms - then_ms) as f64 / 1_000.0;
                // A process that has started anew counts from 0.
                Some(((value(now)? - value(then)?) / seconds).max(0.0))
            }
            Number::Median(metric) => now.quantile(metric, &window?.0.1, 0.5),
            Number::Tail(metric) => now.quantile(metric, &window?.0.1, 0.99),
        };
        NUMBERS.iter().filter_map(|(name, number)| Some((*name, of(number)?))).collect()
    }
}

impl PartitionRow {
    fn of(partition: Partition) -> Self {
        Self {
            partition,
            owner: None,
            worker: None,
            transactional_id: None,
            phase: "unowned".to_owned(),
            next_offset: None,
            end_offset: None,
            lag: None,
            copies: 0,
            oldest_copy_ms: None,
        }
    }

    fn owned_by(&mut self, instance: &Instance, number: u32, worker: &Worker, working: &Working) {
        self.owner = Some(instance.name.clone());
        self.worker = Some(number);
        self.transactional_id = Some(worker.transactional_id.clone());
        self.phase.clone_from(&working.phase);
        (self.next_offset, self.end_offset) = (working.next_offset, working.end_offset);
        self.lag = working.end_offset.zip(working.next_offset).map(|(end, next)| (end - next).max(0));
    }
}

/// What a process does, by what it counts.
fn role(samples: &Samples) -> &'static str {
    let has = |metric: &str| samples.sum(metric).is_some();
    match () {
        () if has("tickgate_rounds_total") => "process",
        () if has("tickgate_sink_rows_total") => "sink",
        () if has("tickgate_ingest_trades_total") => "ingest",
        () if has("tickgate_serve_records_total") => "serve",
        () => "unknown",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)] // small whole numbers are exact
    use super::*;

    fn answer(records: u32, name: &str, partition: Partition) -> Answer {
        let samples = Samples::parse(&format!(
            "tickgate_records_total{{result=\"accepted\"}} {records}\n\
             tickgate_rounds_total{{outcome=\"committed\"}} {}\ntickgate_rounds_total{{outcome=\"aborted\"}} 2\n\
             tickgate_lag_records 5\ntickgate_build_info{{for_tests=\"no\",version=\"0.1\"}} 1\n\
             tickgate_append_to_commit_seconds_bucket{{le=\"0.1\"}} {records}\n\
             tickgate_append_to_commit_seconds_bucket{{le=\"+Inf\"}} {records}\n",
            records / 100,
        ));
        let instance = format!(
            r#"{{"instance":"{name}","group":"g","workers":{{"0":{{"transactional_id":"g.{name}.0","partitions":
            {{"{partition}":{{"phase":"running","next_offset":10,"end_offset":14,"restored_rows":0}}}}}}}}}}"#
        );
        let stores = r#"{"group":"g","partitions":[
            {"partition":0,"source":"owner","changelog_next":7,"next_offset":10,"epoch":0,"age_ms":3},
            {"partition":1,"source":"replica","changelog_next":7,"next_offset":10,"epoch":0,"age_ms":9}]}"#;
        Answer {
            samples,
            instance: Some(serde_json::from_str(&instance).unwrap()),
            stores: Some(serde_json::from_str(stores).unwrap()),
            awaited: None,
        }
    }

    #[test]
    fn rates_and_quantiles_are_of_the_last_answers() {
        let mut pipeline = Pipeline::default();
        pipeline.told("a:1", 0, Ok(answer(1_000, "one", 0)));
        assert_eq!(pipeline.instances()[0].numbers.get("records_per_second"), None);
        pipeline.told("a:1", 10_000, Ok(answer(3_000, "one", 0)));
        let row = &pipeline.instances()[0];
        assert_eq!((row.role, row.name.as_str(), row.version.as_deref()), ("process", "one", Some("0.1")));
        assert_eq!((row.numbers["records_per_second"], row.numbers["rounds_per_second"]), (200.0, 2.0));
        assert_eq!((row.numbers["latency_p50_seconds"], row.numbers["lag_records"]), (0.05, 5.0));
        assert_eq!((row.numbers["rounds_failed"], row.is_ready), (2.0, true));
    }

    #[test]
    fn partitions_have_an_owner_and_copies() {
        let mut pipeline = Pipeline::default();
        pipeline.told("a:1", 0, Ok(answer(0, "one", 0)));
        pipeline.told("a:2", 0, Ok(answer(0, "two", 1)));
        let rows = pipeline.partitions();
        let owners: Vec<_> = rows.iter().map(|row| (row.owner.as_deref(), row.lag, row.copies)).collect();
        assert_eq!(owners, [(Some("one"), Some(4), 2), (Some("two"), Some(4), 2)]);
        assert_eq!(rows[1].oldest_copy_ms, Some(9));
    }

    #[test]
    fn one_that_is_gone_is_shown_and_owns_nothing() {
        let mut pipeline = Pipeline::default();
        pipeline.told("a:1", 5, Ok(answer(0, "one", 0)));
        pipeline.told("a:2", 5, Ok(answer(0, "two", 1)));
        pipeline.told("a:1", 9, Err("connection refused".to_owned()));
        let row = &pipeline.instances()[0];
        assert_eq!((row.is_up, row.role, row.name.as_str()), (false, "process", "one"));
        assert_eq!((row.error.as_deref(), row.answered_at), (Some("connection refused"), Some(WallTime(5))));
        assert!(row.partitions.is_empty() && row.numbers.is_empty());
        assert_eq!(pipeline.partitions()[0].owner, None);
        pipeline.told("a:3", 9, Err("no such host".to_owned()));
        assert_eq!(pipeline.instances()[2].role, "unknown");
    }

    #[test]
    fn one_that_waits_says_for_what() {
        let mut pipeline = Pipeline::default();
        let awaited = Some("brokers".to_owned());
        pipeline.told("a:1", 0, Ok(Answer { awaited, ..answer(0, "one", 0) }));
        let row = &pipeline.instances()[0];
        assert_eq!((row.is_up, row.is_ready, row.waits_for.as_deref()), (true, false, Some("brokers")));
    }
}
