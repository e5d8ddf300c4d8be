//! How long it takes to come back: `tickgate process` killed, stopped and emptied under a steady feed, beside Kafka
//! Streams on the same topics, broker and machine.
//!
//! Both are processes of their own with groups, changelogs and state directories of their own, are looked at from
//! outside in the same way (see `observe`) and take turns in one run. What the outputs say is not checked here.

mod bare;
mod breakdown;
mod contender;
mod feed;
#[path = "../job/mod.rs"]
mod job;
mod latency;
mod memory;
mod observe;
#[path = "../peer/mod.rs"]
mod peer;
mod recover;
mod report;
mod restore;
mod settle;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use contender::{Contender, Who};
use feed::Keys;
use peer::Peer;
use report::Report;
use tempfile::TempDir;
use tickgate_stack::{Guard, Stack};

/// Arguments after `cargo bench --bench recovery --`.
#[derive(Debug, Clone, clap::Parser)]
struct Args {
    /// Keys that the state holds
    #[arg(long, env = "BENCH_KEYS", default_value_t = 1_200_000)]
    keys: u32,
    /// Keys that the state holds where memory is measured
    #[arg(long, env = "BENCH_MEMORY_KEYS", default_value_t = 2_000_000)]
    memory_keys: u32,
    /// Partitions of each topic
    #[arg(long, env = "BENCH_PARTITIONS", default_value_t = 85)]
    partitions: i32,
    /// How often each scenario is run for each of the two; the memory is measured once
    #[arg(long, env = "BENCH_RUNS", default_value_t = 5)]
    runs: u32,
    /// Records/s that are appended meanwhile, evenly over the partitions
    #[arg(long, env = "BENCH_RATE", default_value_t = 4_000)]
    rate: u32,
    /// The scenarios that are run; all when none is named
    #[arg(long, env = "BENCH_ONLY", value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Leaves Kafka Streams out, and with it the need for a JDK
    #[arg(long, env = "BENCH_WITHOUT_PEER")]
    without_peer: bool,
    /// Commit interval of both, in ms
    #[arg(long, env = "BENCH_COMMIT_INTERVAL_MS", default_value_t = 100)]
    commit_interval_ms: u64,
    /// Workers of each instance of tickgate; Kafka Streams has two threads
    #[arg(long, env = "BENCH_WORKERS", default_value_t = 1)]
    workers: u32,
    /// Heap of the broker, as `-Xmx` takes it
    #[arg(long, env = "BENCH_BROKER_HEAP", default_value = "1g")]
    broker_heap: String,
    /// Heap of each instance of Kafka Streams, as `-Xmx` takes it
    #[arg(long, env = "BENCH_PEER_HEAP", default_value = "1g")]
    peer_heap: String,
    /// The binary that is measured
    #[arg(long, env = "BENCH_BINARY", default_value = env!("CARGO_BIN_EXE_tickgate"))]
    binary: PathBuf,
    /// Small and once: shows that it runs, not how fast
    #[arg(long)]
    quick: bool,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
    /// The bare reader itself, as the bench starts it
    #[arg(long, hide = true, num_args = 2, value_names = ["BROKERS", "TOPIC"])]
    bare: Option<Vec<String>>,
}

/// What happens to the instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Scenario {
    /// `kill -9` of the only instance, started again at once; static membership.
    KillRestart,
    /// The same without static membership.
    KillRestartDynamic,
    /// `kill -9` of one of two instances.
    KillOneOfTwo,
    /// SIGTERM to one of two instances.
    CleanStopOneOfTwo,
    /// A second instance starts beside one that works; nobody is lost.
    JoinOne,
    /// The only instance is stopped and started with an empty state directory.
    RestoreFromNothing,
    /// Nothing: how long records take from staging to a reader.
    Latency,
    /// One instance from the first record on, through a steady feed and two restarts.
    Memory,
}

fn main() -> anyhow::Result<()> {
    let mut args = Args::parse();
    if let Some([brokers, topic]) = args.bare.as_deref() {
        return bare::run(brokers, topic, args.partitions);
    }
    if args.quick {
        args.keys = args.keys.min(20_000);
        args.memory_keys = args.memory_keys.min(40_000);
        args.partitions = args.partitions.min(12);
        args.rate = args.rate.min(1_000);
        args.runs = 1;
    }
    let mut report = Report::default();
    let done = Bench::prepare(args).and_then(|bench| bench.run(&mut report));
    // What was measured before a failure is worth having.
    report.print();
    done
}

/// What all runs have in common.
struct Bench {
    args: Args,
    contenders: Vec<Contender>,
    keys: Arc<Keys>,
    stack: Stack,
    // Last: programs in the folder are ended before it goes. Should this process die, the guard does both.
    _guard: Guard,
    folder: TempDir,
}

impl Bench {
    /// A broker with a filled staging, and everybody caught up and stopped.
    fn prepare(args: Args) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tickgate-bench.").tempdir()?;
        let guard = Guard::over(folder.path(), true)?;
        let mut all = vec![Who::Tickgate];
        if !args.without_peer {
            let classes = folder.path().join("classes");
            std::fs::create_dir(&classes)?;
            all.push(Who::Streams(Peer::build(&classes)?));
        }
        let stack = Stack::builder().heap(&args.broker_heap).full_jit().start()?;
        let brokers = stack.bootstrap();
        job::topics::create(&brokers, &["stock_data", "bad_data"], args.partitions)?;
        let keys = Arc::new(Keys::new(args.keys, args.partitions));
        let contenders =
            all.into_iter().map(|who| Contender::new(who, "state", folder.path(), &brokers, &args));
        let contenders = contenders.collect::<anyhow::Result<Vec<_>>>()?;
        let bench = Self { args, contenders, keys, stack, _guard: guard, folder };
        eprintln!("filling staging with {} keys in {} partitions", bench.args.keys, bench.args.partitions);
        bench.keys.fill(&bench.stack.bootstrap(), 0)?;
        if bench.scenarios().any(|scenario| scenario != Scenario::Memory) {
            for contender in &bench.contenders {
                bench.fill_state(contender)?;
            }
        }
        Ok(bench)
    }

    fn run(&self, report: &mut Report) -> anyhow::Result<()> {
        for scenario in self.scenarios() {
            if scenario == Scenario::Memory {
                self.measure_memory(report)?;
                continue;
            }
            for run in 1..=self.args.runs {
                for contender in &self.contenders {
                    let figures = match scenario {
                        Scenario::RestoreFromNothing => restore::run(self, contender),
                        Scenario::Latency => latency::run(self, contender),
                        scenario => recover::run(self, contender, scenario),
                    };
                    let name = contender.name();
                    let figures = figures.with_context(|| format!("{scenario}, {name}, run {run}"))?;
                    eprintln!("{scenario}, run {run}, {name}: {figures}");
                    report.add(scenario, name, figures);
                }
            }
        }
        Ok(())
    }

    fn measure_memory(&self, report: &mut Report) -> anyhow::Result<()> {
        let keys = Arc::new(Keys::new(self.args.memory_keys, self.args.partitions));
        keys.fill(&self.stack.bootstrap(), self.args.keys)?;
        for contender in &self.contenders {
            let contender =
                contender.anew("memory", self.folder.path(), &self.stack.bootstrap(), &self.args)?;
            let figures = memory::run(self, &contender, &keys)
                .with_context(|| format!("{}, {}", Scenario::Memory, contender.name()))?;
            eprintln!("{}, {}: {figures}", Scenario::Memory, contender.name());
            report.add(Scenario::Memory, contender.name(), figures);
        }
        Ok(())
    }

    fn scenarios(&self) -> impl Iterator<Item = Scenario> {
        let only = &self.args.only;
        Scenario::value_variants().iter().copied().filter(|one| only.is_empty() || only.contains(one))
    }
}

impl std::fmt::Display for Scenario {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value().expect("no scenario is hidden");
        to.write_str(value.get_name())
    }
}
