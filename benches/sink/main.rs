//! How fast the sink is: `tickgate sink` on a filled `stock_data`, beside the driver's own bare insert loop.
//!
//! Both write the same rows, with the same statements and as many at a time, to a new keyspace of the same
//! Cassandra; both are processes of their own, timed from start to end, and take turns in one run: on a shared
//! machine the figures drift, and their ratio says more than they do. Afterwards each row must be there. A
//! broker, which only the sink needs, and Cassandra run beside them on the same machine.

mod bare;
mod keyspace;
mod measure;
mod report;
mod rows;
mod topic;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;
use clap::Parser;
use keyspace::Keyspace;
use measure::Figures;
use rows::Rows;
use tickgate_stack::{Cassandra, Guard, Program, Stack};
use tokio::runtime::Runtime;

/// Arguments after `cargo bench --bench sink --`.
#[derive(Debug, Clone, clap::Parser)]
struct Args {
    /// Records on `stock_data`, and so rows
    #[arg(long, env = "BENCH_RECORDS", default_value_t = 300_000)]
    records: u64,
    /// Partitions of `stock_data`
    #[arg(long, env = "BENCH_PARTITIONS", default_value_t = 12)]
    partitions: i32,
    /// Symbols that the records are of
    #[arg(long, env = "BENCH_SYMBOLS", default_value_t = 1_000)]
    symbols: u64,
    /// How often each of them runs
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 3)]
    rounds: u32,
    /// Writes that are not answered yet
    #[arg(long, env = "BENCH_IN_FLIGHT", default_value_t = 256)]
    in_flight: usize,
    /// Heap of Cassandra, as `-Xmx` takes it
    #[arg(long, env = "BENCH_CASSANDRA_HEAP", default_value = "1g")]
    cassandra_heap: String,
    /// The binary that is measured
    #[arg(long, env = "BENCH_BINARY", default_value = env!("CARGO_BIN_EXE_tickgate"))]
    binary: PathBuf,
    /// Small and once: shows that it runs, not how fast
    #[arg(long)]
    quick: bool,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
    /// The insert loop itself, as the bench starts it; with `true` it writes `latest` too
    #[arg(long, hide = true, num_args = 3, value_names = ["CONTACT_POINT", "KEYSPACE", "LATEST_TOO"])]
    bare: Option<Vec<String>>,
}

/// One of those that take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Sink,
    /// The loop that writes `stock` alone.
    Bare,
    /// The loop that writes each row to `stock` and to `latest`.
    BareWithLatest,
}

const TURNS: [Contender; 3] = [Contender::Bare, Contender::Sink, Contender::BareWithLatest];

fn main() -> anyhow::Result<()> {
    let mut args = Args::parse();
    let runtime = Runtime::new()?;
    if let Some([contact_point, keyspace, latest_too]) = args.bare.as_deref() {
        let inserts = bare::Inserts { contact_point, keyspace, in_flight: args.in_flight };
        return runtime.block_on(inserts.run(args.rows(), latest_too == "true"));
    }
    if args.quick {
        args.records = args.records.min(20_000);
        args.rounds = 1;
    }
    bench(&args, &runtime)
}

fn bench(args: &Args, runtime: &Runtime) -> anyhow::Result<()> {
    // What runs in the folder ends with this process, however that ends.
    let folder = tempfile::Builder::new().prefix("tickgate-bench.").tempdir()?;
    let _guard = Guard::over(folder.path(), true)?;
    let stack = Stack::builder().heap("512m").full_jit().start()?;
    let cassandra = Cassandra::builder().heap(&args.cassandra_heap).full_jit().start()?;
    let bench = Bench {
        args,
        folder: folder.path(),
        brokers: stack.bootstrap(),
        contact_point: cassandra.contact_point(),
    };
    eprintln!("filling stock_data with {} records in {} partitions", args.records, args.partitions);
    bench.finished(bench.tickgate("unused").args(["topics", "apply"]))?;
    topic::fill(&bench.brokers, args.rows())?;
    // The node compiles what it runs often: nobody should go first.
    bench.run(runtime, Contender::BareWithLatest, "warming_up")?;
    let mut runs: Vec<(Contender, Figures)> = Vec::new();
    for round in 1..=args.rounds {
        for (turn, contender) in (1..).zip(TURNS) {
            let figures = bench
                .run(runtime, contender, &format!("bench_{round}_{turn}"))
                .with_context(|| format!("measuring {}", contender.name()))?;
            eprintln!("round {round}, {}: {:.0} rows/s", contender.name(), figures.rate(args.records));
            runs.push((contender, figures));
        }
    }
    report::print(&runs, args.records);
    Ok(())
}

impl Args {
    fn rows(&self) -> Rows {
        Rows { count: self.records, symbols: self.symbols, partitions: self.partitions }
    }
}

impl Contender {
    fn name(self) -> &'static str {
        match self {
            Self::Sink => "sink",
            Self::Bare => "bare loop, stock",
            Self::BareWithLatest => "bare loop, stock and latest",
        }
    }
}

/// What all runs have in common.
struct Bench<'a> {
    args: &'a Args,
    /// For the programs that are measured.
    folder: &'a Path,
    brokers: String,
    contact_point: String,
}

impl Bench<'_> {
    /// Writes all rows to a new keyspace, looks whether they are there, and removes it again.
    fn run(&self, runtime: &Runtime, contender: Contender, keyspace: &str) -> anyhow::Result<Figures> {
        self.finished(self.tickgate(keyspace).args(["sink", "schema", "--apply"]))?;
        let command = match contender {
            Contender::Sink => {
                let mut command = self.tickgate(keyspace);
                command.args(["sink", "--until-caught-up"]);
                command
            }
            Contender::Bare | Contender::BareWithLatest => self.bare(contender, keyspace)?,
        };
        let figures = measure::run(&Program::new(self.folder.join(keyspace))?, command)?;
        runtime.block_on(async {
            let written = Keyspace::open(&self.contact_point, keyspace).await?;
            written.check(self.args.rows()).await?;
            written.remove().await
        })?;
        Ok(figures)
    }

    /// The binary, told where everything is; each keyspace has a group of its own.
    fn tickgate(&self, keyspace: &str) -> Command {
        let mut command = Command::new(&self.args.binary);
        command
            .env("TICKGATE_KAFKA__BROKERS", &self.brokers)
            .env("TICKGATE_TOPICS__PARTITIONS", self.args.partitions.to_string())
            .env("TICKGATE_TOPICS__REPLICATION", "1")
            .env("TICKGATE_SINK__GROUP", keyspace)
            .env("TICKGATE_SINK__KEYSPACE", keyspace)
            .env("TICKGATE_SINK__REPLICATION", "1")
            .env("TICKGATE_SINK__CONTACT_POINTS", &self.contact_point)
            .env("TICKGATE_SINK__MAX_IN_FLIGHT", self.args.in_flight.to_string())
            .env("TICKGATE_SINK__HTTP", "127.0.0.1:0")
            .env("TICKGATE_LOG", "warn")
            .stdout(Stdio::null());
        command
    }

    fn bare(&self, contender: Contender, keyspace: &str) -> anyhow::Result<Command> {
        let latest_too = (contender == Contender::BareWithLatest).to_string();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--bare", &self.contact_point, keyspace, &latest_too]);
        let numbers = [
            ("--records", self.args.records.to_string()),
            ("--symbols", self.args.symbols.to_string()),
            ("--partitions", self.args.partitions.to_string()),
            ("--in-flight", self.args.in_flight.to_string()),
        ];
        for (name, number) in numbers {
            command.args([name, &number]);
        }
        Ok(command)
    }

    fn finished(&self, command: &mut Command) -> anyhow::Result<()> {
        let status = command.status().with_context(|| format!("starting {}", self.args.binary.display()))?;
        anyhow::ensure!(status.success(), "{command:?} ended with {status}");
        Ok(())
    }
}
