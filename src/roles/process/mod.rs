//! `tickgate process`: the gate. Opens the store, waits for Kafka, runs the workers, stops in order.

mod batch;
mod clock;
mod counting;
#[cfg(feature = "fault-points")]
mod fault_point;
mod feeds;
mod lag;
mod naming;
mod opening;
mod outputs;
mod perform;
mod remembered;
mod replica;
mod restore;
mod stored;
mod tokens;
mod worker;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use nix::sys::statvfs::statvfs;
use tickgate_state::{Store, StoreError};

use super::caught_up::stopped;
use super::classes::{classes, tell_of_ending_calendars};
use super::{Exit, Failure, Shutdown};
use crate::config::{Config, JournalKind, TopicsConfig, Treatment};
use crate::core::processor::Progress;
use crate::core::rules::{RuleSettings, Suspects};
use crate::core::settings::{PAGE_SYMBOLS, SCAN_ROWS_MAX};
use crate::core::{Now, Settings, Stop};
use crate::journal::kafka::client;
use crate::model::{Offset, WallTime};
use crate::query;
use crate::telemetry::health::{self, Pages, Readiness};
use crate::telemetry::instance::InstanceView;
use crate::telemetry::metrics::{GateMetrics, Metrics};
use crate::telemetry::rarely::{REMINDER_EVERY, Rarely};
use batch::Batch;
use clock::Clock;
use remembered::Remembered;
use replica::Replica;
use tokens::Tokens;
use worker::Worker;

/// How long a stop may take before whatever still waits is left to the successor.
const STOP_WITHIN: Duration = Duration::from_secs(4);
/// A partition without a round for so long gets one without records, so that no store of it counts as forgotten.
const RENEW_AFTER: Duration = Duration::from_hours(12);
/// Bounds by time what a crash makes the next start replay.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

/// Arguments of `tickgate process`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Go on where staging no longer holds the next records; the lost range is logged
    #[arg(long)]
    accept_loss: bool,
    /// Ends with 0 once the group, whoever is in it, has committed all that is there now; stopped before, with 1
    #[arg(long)]
    until_caught_up: bool,
}

/// What the workers of an instance share.
struct Shared {
    config: Config,
    settings: Settings,
    changelog: String,
    instance: String,
    started_ms: i64,
    clock: Clock,
    store: Arc<Store>,
    tokens: Arc<Tokens>,
    metrics: GateMetrics,
    readiness: Readiness,
    remembered: Remembered,
    view: InstanceView,
    shutdown: Shutdown,
    /// When the stop was asked for, on the monotonic clock; 0 before.
    stop_asked_ms: AtomicI64,
    progress: Mutex<Vec<Progress>>,
    /// What each worker's restore has yet to read.
    restoring: Mutex<BTreeMap<u32, Offset>>,
    #[cfg(feature = "fault-points")]
    fault_point: fault_point::FaultPoint,
}

/// Runs until it is told to stop, or may not go on.
pub fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    if config.journal.kind != JournalKind::Kafka {
        return Err(Failure::settings(anyhow!("`journal.kind` must be `kafka` for `tickgate process`")));
    }
    #[cfg(feature = "fault-points")]
    let fault_point = fault_point::FaultPoint::from_environment().map_err(Failure::settings)?;
    let shutdown = Shutdown::on_signals().map_err(Failure::breach)?;
    tell_of_ending_calendars(config, WallTime::now().0);
    let (store, state_dir) = opening::open(config, &shutdown)?;
    let store = Arc::new(store);
    let instance =
        config.process.instance_id.clone().unwrap_or_else(|| remembered::instance_name(&state_dir));
    let mut config = config.clone();
    config.process.state_dir = state_dir;
    let metrics = Metrics::new();
    let shared = Arc::new(Shared {
        settings: settings(&config, args),
        changelog: config.changelog(),
        started_ms: WallTime::now().0,
        clock: Clock::start(),
        tokens: Tokens::of(Arc::clone(&store)),
        store,
        metrics: metrics.gate(),
        readiness: Readiness::default(),
        remembered: Remembered::read(&config.process.state_dir),
        view: InstanceView::new(instance.clone(), config.process.group.clone(), config.fingerprint()),
        instance,
        shutdown,
        stop_asked_ms: AtomicI64::new(0),
        progress: Mutex::new(vec![Progress::default(); usize::try_from(config.process.workers).unwrap_or(1)]),
        restoring: Mutex::default(),
        config: config.clone(),
        #[cfg(feature = "fault-points")]
        fault_point,
    });
    let pages = Pages { metrics, readiness: shared.readiness.clone(), instance: Some(shared.view.clone()) };
    shared.readiness.awaits("process", "brokers");
    let tell = config.process.state_dir.join("http");
    let peers = query::Peers::new(config.process.peers.clone(), config.topics.partitions);
    let queries = query::routes(query::Asked::new(Arc::clone(&shared.store), shared.view.clone(), peers));
    health::serve_with(config.process.http, Some(&tell), pages, queries).map_err(Failure::settings)?;
    if !wait_for_kafka(&shared)? {
        return stopped(args.until_caught_up);
    }
    let batch = if args.until_caught_up { Some(Batch::begin(&shared)?) } else { None };
    // Told before they start: between the two, nobody would seem to be waited for.
    for index in 0..shared.config.process.workers {
        shared.readiness.awaits(&worker::name(index), "its start");
    }
    shared.readiness.met("process");
    let stops = run_workers(&shared)?;
    finish(&shared, stops)?;
    stopped(batch.is_some_and(|batch| !batch.is_over()))
}

/// One worker that ends, by a defect too, takes its instance with it: half an instance helps nobody.
struct TakesAll(Shutdown);

impl Drop for TakesAll {
    fn drop(&mut self) {
        self.0.request();
    }
}

/// The workers' threads, and the store's housekeeping while they run.
fn run_workers(shared: &Arc<Shared>) -> Result<Vec<Stop>, Failure> {
    Remembered::start_fencing(shared).map_err(Failure::breach)?;
    let mut threads = Vec::new();
    for index in 0..shared.config.process.workers {
        let worker = Worker::new(Arc::clone(shared), index);
        let takes_all = TakesAll(shared.shutdown.clone());
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let _takes_all = takes_all;
            worker.run()
        });
        threads.push(thread.map_err(Failure::breach)?);
    }
    let replica = Replica::start(shared).map_err(Failure::breach)?;
    shared.show_store();
    while !shared.shutdown.wait(FLUSH_EVERY) {
        if let Err(error) = shared.store.flush_soon() {
            tracing::error!(%error, "the store could not be flushed");
        }
        shared.show_store();
        shared.metrics.lag.pass_time(shared.now().wall.0);
    }
    // From here on what waits has only so long.
    shared.may_wait();
    let defect = |_| Failure::breach(anyhow!("a worker ended by a defect; its panic is above"));
    let mut stops = Vec::new();
    for thread in threads {
        stops.push(thread.join().map_err(defect)?);
    }
    if let Some(replica) = replica {
        stops.extend(replica.join().map_err(defect)?);
    }
    Ok(stops)
}

fn finish(shared: &Shared, stops: Vec<Stop>) -> Result<(), Failure> {
    let flushed = shared.store.flush();
    let mut in_order = true;
    for stop in stops {
        match stop {
            Stop::Clean => {}
            Stop::Interrupted => in_order = false,
            Stop::Refused(refusal) => return Err(Failure::breach(refusal)),
            Stop::Replaced => {
                return Err(Failure::settings(anyhow!(
                    "another process has joined the group `{}` as the instance `{}` and has its partitions now; \
                     nothing is lost. Every instance needs a `process.instance_id` of its own, or none",
                    shared.config.process.group,
                    shared.instance
                )));
            }
            Stop::Store(reason) => {
                return Err(Failure::unreachable(anyhow!(
                    "the store in `{}` failed: {reason}; nothing is lost, a restart goes on once it can be used",
                    shared.config.process.state_dir.display()
                )));
            }
        }
    }
    flushed.map_err(Failure::unreachable)?;
    if in_order {
        shared.remembered.forget_own();
        tracing::info!("stopped in order");
    } else {
        tracing::warn!(
            "stopped before the brokers had answered; the next owner reads the open round's input again"
        );
    }
    Ok(())
}

/// Waits until brokers answer and all topics are there; whether to go on.
fn wait_for_kafka(shared: &Shared) -> Result<bool, Failure> {
    let lines = Rarely::every(REMINDER_EVERY);
    let answered = client::wait_for_brokers(&shared.config.kafka, |error| {
        if let Some(held_back) = lines.admit(Instant::now()) {
            tracing::warn!(held_back, %error, "waiting for a broker");
        }
        shared.readiness.awaits("process", error.to_string());
        !shared.shutdown.wait(Duration::from_secs(1))
    });
    if shared.shutdown.is_requested() {
        return Ok(false);
    }
    answered.map_err(Failure::settings)?;
    let topics = &shared.config.topics;
    let names = [&topics.staging, &topics.stock_data, &topics.bad_data, &shared.changelog];
    loop {
        match client::partition_counts(&shared.config.kafka, &names) {
            Ok(counts) => {
                let Some((topic, _)) = names.iter().zip(&counts).find(|(_, count)| count.is_none()) else {
                    return check_partitions(topics, &names, &counts).map(|()| true);
                };
                let awaited = format!("topic `{topic}`: `tickgate topics apply` creates it");
                tracing::warn!("waiting for {awaited}");
                shared.readiness.awaits("process", awaited);
            }
            Err(error) => tracing::warn!(%error, "waiting for a broker"),
        }
        if shared.shutdown.wait(Duration::from_secs(1)) {
            return Ok(false);
        }
    }
}

/// The settings say where a symbol belongs: with another number of partitions in Kafka, some of them would be watched by
/// nobody. Outputs may have more.
fn check_partitions(
    topics: &TopicsConfig,
    names: &[&String],
    counts: &[Option<usize>],
) -> Result<(), Failure> {
    let wanted = usize::try_from(topics.partitions).unwrap_or_default();
    let is_output = |name: &String| *name == topics.stock_data || *name == topics.bad_data;
    for (name, found) in names.iter().zip(counts).filter_map(|(name, count)| Some((name, (*count)?))) {
        if found < wanted || found > wanted && !is_output(name) {
            return Err(Failure::settings(anyhow!(
                "`topics.partitions`: expected {found}, the number that topic `{name}` has, found {wanted}; set what is \
                 there, or let `tickgate topics apply` change the topic"
            )));
        }
    }
    Ok(())
}

fn settings(config: &Config, args: &Args) -> Settings {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Settings {
        staging: config.topics.staging.clone(),
        commit_interval_ms: ms(config.process.commit_interval),
        round_max_records: count(config.process.round_max_records),
        classes: Arc::new(classes(config)),
        watchlist: Arc::new(config.freshness.watchlist.iter().map(|symbol| symbol.as_str().into()).collect()),
        grace_ms: ms(config.freshness.grace),
        renew_after_ms: ms(RENEW_AFTER),
        hot_symbols: count(config.process.hot_symbols) / count(config.process.workers).max(1),
        page_symbols: PAGE_SYMBOLS,
        scan_rows_max: SCAN_ROWS_MAX,
        accept_loss: args.accept_loss,
        rules: rule_settings(config),
        fingerprint: config.fingerprint(),
    }
}

/// What the rules need of the settings; the audit judges by the same.
pub fn rule_settings(config: &Config) -> RuleSettings {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let bytes = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let rules = &config.rules;
    let off = rules.treatments().into_iter().filter(|(_, treatment)| *treatment == Treatment::Off);
    RuleSettings {
        future_skew_ms: ms(config.freshness.future_skew),
        partitions: config.topics.partitions,
        max_value_bytes: bytes(rules.max_value_bytes),
        max_symbol_bytes: bytes(rules.max_symbol_bytes),
        price_jump_permille: rules.price_jump_permille,
        repeated_price_after_ms: ms(rules.repeated_price_after),
        suspects: off.fold(Suspects::ALL, |suspects, (rule, _)| suspects.without(rule)),
        rejects_wrong_partition: rules.wrong_partition == Treatment::Reject,
    }
}

impl Shared {
    fn now(&self) -> Now {
        self.clock.now()
    }

    /// Whether something that takes time may go on: always, until a stop has been asked for long enough.
    fn may_wait(&self) -> bool {
        if !self.shutdown.is_requested() {
            return true;
        }
        let now_ms = self.now().monotonic_ms.max(1);
        let asked_ms =
            match self.stop_asked_ms.compare_exchange(0, now_ms, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => now_ms,
                Err(asked_ms) => asked_ms,
            };
        now_ms - asked_ms < i64::try_from(STOP_WITHIN.as_millis()).unwrap_or(i64::MAX)
    }

    /// Notes a worker's progress in the instance's gauges.
    fn progress(&self, worker: u32, progress: &Progress) {
        let mut all = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = usize::try_from(worker).ok().and_then(|worker| all.get_mut(worker)) {
            own.clone_from(progress);
        }
        let sum =
            |of: fn(&Progress) -> usize| i64::try_from(all.iter().map(of).sum::<usize>()).unwrap_or(i64::MAX);
        self.metrics.symbols.set(sum(|progress| progress.watched_symbols));
        let stale = |level| self.metrics.stale_symbols.with_label_values(&[level]);
        self.metrics.silent_feeds.set(sum(|progress| progress.silent_feeds));
        stale("warn").set(sum(|progress| progress.warn_symbols));
        stale("error").set(sum(|progress| progress.error_symbols));
    }

    /// Notes how many rows a worker's restore has yet to read.
    fn restoring(&self, worker: u32, left: Offset) {
        let mut all = self.restoring.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(worker, left);
        self.metrics.restore_left.set(all.values().sum());
    }

    /// What went wrong with the store, which is marked if it cannot be trusted any more.
    fn store_failed(&self, error: &StoreError) -> String {
        if error.is_corruption() {
            self.store.mark_damaged(&error.to_string());
        }
        error.to_string()
    }

    fn partitions_changed(&self) {
        let view = self.view.snapshot();
        let owned = || view.workers.values().flat_map(|worker| worker.partitions.values());
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.partitions_assigned.set(count(owned().count()));
        let restoring = owned().filter(|partition| partition.phase == "restoring");
        self.metrics.partitions_restoring.set(count(restoring.count()));
    }

    /// Size of the store, and room on its disk.
    fn show_store(&self) {
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        if let Ok(stats) = self.store.stats() {
            self.metrics.store_size.set(count(stats.bytes));
            self.metrics.store_keys.set(count(stats.keys_estimate));
        }
        if let Ok(disk) = statvfs(&self.config.process.state_dir) {
            self.metrics.disk_free.set(count(disk.blocks_available().saturating_mul(disk.fragment_size())));
            self.metrics.disk_size.set(count(disk.blocks().saturating_mul(disk.fragment_size())));
        }
    }
}
