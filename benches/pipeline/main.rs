//! How fast the gate is: `tickgate process` on a preloaded topic, beside a raw transactional pass-through.
//!
//! Both are processes of their own, measured from outside in the same way (see `measure`), and take turns in
//! one run: on a shared machine the figures drift, and their ratio says more than they do. One broker runs
//! beside them on the same machine, so it takes its part of the cores. What the outputs say is not checked here.

mod measure;
mod pass_through;
mod report;
mod topics;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use clap::Parser;
use measure::{Figures, Measured};
use tickgate_stack::Stack;
use topics::{Layout, Symbols};

/// Arguments after `cargo bench --bench pipeline --`.
#[derive(Debug, Clone, clap::Parser)]
struct Args {
    /// Records on staging
    #[arg(long, env = "BENCH_RECORDS", default_value_t = 3_000_000)]
    records: u64,
    /// Partitions of each topic
    #[arg(long, env = "BENCH_PARTITIONS", default_value_t = 85)]
    partitions: i32,
    /// Symbols that the records are of
    #[arg(long, env = "BENCH_SYMBOLS", default_value_t = 10_000)]
    symbols: u64,
    /// How often each of the two runs
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 2)]
    rounds: u32,
    /// Commit interval of both, in ms
    #[arg(long, env = "BENCH_COMMIT_INTERVAL_MS", default_value_t = 100)]
    commit_interval_ms: u64,
    /// Heap of the broker, as `-Xmx` takes it
    #[arg(long, env = "BENCH_BROKER_HEAP", default_value = "1g")]
    broker_heap: String,
    /// The binary that is measured
    #[arg(long, env = "BENCH_BINARY", default_value = env!("CARGO_BIN_EXE_tickgate"))]
    binary: PathBuf,
    /// Binaries of other versions, measured in turn with it
    #[arg(long, env = "BENCH_OTHER")]
    other: Vec<PathBuf>,
    /// Small and once: shows that it runs, not how fast
    #[arg(long)]
    quick: bool,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
    /// The pass-through itself, as the bench starts it
    #[arg(long, hide = true, num_args = 2, value_names = ["BROKERS", "GROUP"])]
    pass_through: Option<Vec<String>>,
}

fn main() -> anyhow::Result<()> {
    let mut args = Args::parse();
    if let Some([brokers, group]) = args.pass_through.as_deref() {
        return pass_through::run(brokers, group, args.commit_interval_ms);
    }
    if args.quick {
        args.records = args.records.min(100_000);
        args.partitions = args.partitions.min(12);
        args.rounds = 1;
    }
    bench(&args)
}

fn bench(args: &Args) -> anyhow::Result<()> {
    let stack = Stack::builder().heap(&args.broker_heap).full_jit().start()?;
    let brokers = stack.bootstrap();
    let broker_pid = stack.broker(1).pid().context("the broker is gone")?;
    let layout = Layout {
        records: args.records,
        partitions: args.partitions,
        symbols: Symbols::ByChance(args.symbols),
    };
    eprintln!("filling staging with {} records in {} partitions", args.records, args.partitions);
    let ends = topics::prepare(&brokers, &layout)?;
    let mut runs: Vec<(String, Figures)> = Vec::new();
    for round in 1..=args.rounds {
        for contender in contenders(args) {
            let group = format!("bench-{}-{round}", contender.name.replace(' ', "-"));
            topics::create_changelog(&brokers, &group, args.partitions)?;
            let state = tempfile::tempdir()?;
            let command = contender.command(args, &brokers, &group, state.path())?;
            let measured = Measured { brokers: &brokers, group: &group, ends: &ends, broker_pid };
            let figures = measured.run(command).with_context(|| format!("measuring {}", contender.name))?;
            eprintln!("round {round}, {}: {:.0} records/s", contender.name, figures.rate());
            runs.push((contender.name, figures));
        }
    }
    report::print(&runs);
    Ok(())
}

/// One of those that take turns.
struct Contender {
    name: String,
    /// `None` is the pass-through.
    binary: Option<PathBuf>,
}

fn contenders(args: &Args) -> Vec<Contender> {
    let gate = Contender { name: "process".to_owned(), binary: Some(args.binary.clone()) };
    let others = (1..).zip(&args.other).map(|(number, binary)| Contender {
        name: format!("process other {number}"),
        binary: Some(binary.clone()),
    });
    let pass_through = Contender { name: report::YARDSTICK.to_owned(), binary: None };
    std::iter::once(pass_through).chain(std::iter::once(gate)).chain(others).collect()
}

impl Contender {
    fn command(&self, args: &Args, brokers: &str, group: &str, state: &Path) -> anyhow::Result<Command> {
        let interval_ms = args.commit_interval_ms;
        let Some(binary) = &self.binary else {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["--pass-through", brokers, group]);
            command.arg("--commit-interval-ms").arg(interval_ms.to_string());
            return Ok(command);
        };
        let mut command = Command::new(binary);
        command
            .arg("process")
            .env("TICKGATE_KAFKA__BROKERS", brokers)
            .env("TICKGATE_TOPICS__PARTITIONS", args.partitions.to_string())
            .env("TICKGATE_TOPICS__REPLICATION", "1")
            .env("TICKGATE_PROCESS__GROUP", group)
            .env("TICKGATE_PROCESS__STATE_DIR", state)
            .env("TICKGATE_PROCESS__COMMIT_INTERVAL", format!("{interval_ms}ms"))
            .env("TICKGATE_PROCESS__HTTP", "127.0.0.1:0")
            .env("TICKGATE_LOG", "warn")
            .stdout(Stdio::null());
        Ok(command)
    }
}
