//! How fast the gate is: `tickgate process` on a preloaded topic, beside a raw transactional pass-through,
//! and beside Kafka Streams where that is asked for.
//!
//! All are processes of their own, measured from outside in the same way (see `measure`), and take turns in
//! one run: on a shared machine the figures drift, and their ratio says more than they do. One broker runs
//! beside them on the same machine, so it takes its part of the cores. What the outputs say is not checked here.

#[path = "../job/mod.rs"]
mod job;
mod measure;
mod pass_through;
#[path = "../peer/mod.rs"]
mod peer;
mod report;
mod staging;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Parser;
use job::{offsets::Offsets, topics};
use measure::{Figures, Measured};
use peer::Peer;
use staging::Layout;
use tickgate_stack::process::Process;
use tickgate_stack::{Guard, Program, Stack};

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
    /// How often each of them runs
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 2)]
    rounds: u32,
    /// Commit interval of all, in ms
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
    /// Kafka Streams on the same job, in turn with it; needs a JDK
    #[arg(long, env = "BENCH_PEER")]
    peer: bool,
    /// Heap of Kafka Streams, as `-Xmx` takes it
    #[arg(long, env = "BENCH_PEER_HEAP", default_value = "1g")]
    peer_heap: String,
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
    // What runs in the folder ends with this process, however that ends.
    let folder = tempfile::Builder::new().prefix("tickgate-bench.").tempdir()?;
    let _guard = Guard::over(folder.path(), true)?;
    let contenders = contenders(args, folder.path())?;
    let stack = Stack::builder().heap(&args.broker_heap).full_jit().start()?;
    let brokers = stack.bootstrap();
    let broker = stack.broker(1).pid().and_then(Process::find).context("the broker is gone")?;
    let layout = Layout { records: args.records, partitions: args.partitions, symbols: args.symbols };
    eprintln!("filling staging with {} records in {} partitions", args.records, args.partitions);
    let ends = staging::prepare(&brokers, &layout)?;
    let mut runs: Vec<(String, Figures)> = Vec::new();
    for round in 1..=args.rounds {
        for contender in &contenders {
            let group = format!("bench-{}-{round}", contender.name.replace(' ', "-"));
            topics::create_changelog(&brokers, &group, args.partitions)?;
            let program = Program::new(folder.path().join(&group))?;
            let command = contender.command(args, &brokers, &group, &program.dir().join("state"))?;
            let offsets = Offsets::new(&brokers, &group, args.partitions)?;
            let measured = Measured { offsets, ends: &ends, broker };
            let figures =
                measured.run(&program, command).with_context(|| format!("measuring {}", contender.name))?;
            eprintln!("round {round}, {}: {:.0} records/s", contender.name, figures.rate());
            runs.push((contender.name.clone(), figures));
        }
    }
    report::print(&runs);
    Ok(())
}

/// One of those that take turns.
struct Contender {
    name: String,
    program: What,
}

enum What {
    PassThrough,
    Process(PathBuf),
    Peer(Peer),
}

fn contenders(args: &Args, folder: &Path) -> anyhow::Result<Vec<Contender>> {
    let contender = |name: &str, program| Contender { name: name.to_owned(), program };
    let mut contenders = vec![
        contender(report::YARDSTICK, What::PassThrough),
        contender("process", What::Process(args.binary.clone())),
    ];
    for (number, binary) in (1..).zip(&args.other) {
        contenders.push(contender(&format!("process other {number}"), What::Process(binary.clone())));
    }
    if args.peer {
        let classes = folder.join("classes");
        std::fs::create_dir(&classes)?;
        contenders.push(contender("Kafka Streams", What::Peer(Peer::build(&classes)?)));
    }
    Ok(contenders)
}

impl Contender {
    fn command(&self, args: &Args, brokers: &str, group: &str, state: &Path) -> anyhow::Result<Command> {
        let interval_ms = args.commit_interval_ms;
        match &self.program {
            What::PassThrough => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--pass-through", brokers, group]);
                command.arg("--commit-interval-ms").arg(interval_ms.to_string());
                Ok(command)
            }
            What::Process(binary) => {
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
                    .env("TICKGATE_LOG", "warn");
                Ok(command)
            }
            What::Peer(peer) => peer.command(&peer::Instance {
                brokers,
                application: group,
                state,
                commit_interval_ms: interval_ms,
                standbys: 0,
                static_name: None,
                heap: &args.peer_heap,
            }),
        }
    }
}
