//! How much memory an instance takes with many symbols: from an empty topic, after kill -9 with its store, after
//! kill -9 without it, and again under load.
//!
//! Kafka is one real broker; what is told is the process's largest resident memory in each of its lives.

#[allow(dead_code)] // a room of several benches
#[path = "../job/mod.rs"]
mod job;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Parser;
use job::fill::Filler;
use job::topics;
use tickgate::model::EventTime;
use tickgate_stack::Stack;

const GROUP: &str = "bench-memory";
const LOOK_EVERY: Duration = Duration::from_millis(500);
const GIVE_UP_AFTER: Duration = Duration::from_mins(5);
/// Times a number below 2^32, modulo what it does not divide, it meets each rest once.
const SPREADING_PRIME: u64 = 2_654_435_761;
const LINGER_MS: u32 = 20;

/// Arguments after `cargo bench --bench memory --`.
#[derive(Debug, Clone, clap::Parser)]
struct Args {
    /// Symbols that are watched
    #[arg(long, env = "BENCH_SYMBOLS", default_value_t = 2_000_000)]
    symbols: u64,
    /// Partitions of each topic
    #[arg(long, env = "BENCH_PARTITIONS", default_value_t = 85)]
    partitions: i32,
    /// Heap of the broker, as `-Xmx` takes it
    #[arg(long, env = "BENCH_BROKER_HEAP", default_value = "1g")]
    broker_heap: String,
    /// The binary that is measured
    #[arg(long, env = "BENCH_BINARY", default_value = env!("CARGO_BIN_EXE_tickgate"))]
    binary: PathBuf,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let stack = Stack::builder().heap(&args.broker_heap).full_jit().start()?;
    let brokers = stack.bootstrap();
    topics::create(&brokers, &["stock_data", "bad_data"], args.partitions)?;
    fill(&args, &brokers)?;
    topics::create_changelog(&brokers, GROUP, args.partitions)?;
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state");
    let start = || Instance::start(&args, &brokers, &state);
    println!("| life | seconds | peak MiB |");
    println!("|---|---|---|");
    let instance = start()?;
    let (until, read) = (args.symbols, args.symbols);
    instance.await_all(until, Some(read))?.tell("each symbol's first record is judged")?;
    // The crash costs what was not flushed, a few seconds' worth.
    drop(instance);
    let instance = start()?;
    instance.await_all(until, None)?.tell("kill -9, started again")?;
    drop(instance);
    fs::remove_dir_all(&state)?;
    let instance = start()?;
    instance.await_all(until, None)?.tell("kill -9, started without a store")?;
    fill(&args, &brokers)?;
    instance.await_all(until, Some(read))?.tell("the same life, each symbol's second record is judged")?;
    Ok(())
}

/// One good record of each symbol, in a spread order.
fn fill(args: &Args, brokers: &str) -> anyhow::Result<()> {
    let mut filler = Filler::new(brokers, args.partitions, LINGER_MS)?;
    let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let first_ms = now_ms - i64::try_from(args.symbols)?;
    for (event_time, number) in (first_ms..).map(EventTime).zip(0..args.symbols) {
        let symbol = format!("SYM{:05}", number.wrapping_mul(SPREADING_PRIME) % args.symbols);
        let value =
            format!(r#"{{"symbol":"{symbol}","last_price":189.12,"volume":100,"timestamp":"{event_time}"}}"#);
        filler.send(&symbol, &value)?;
    }
    filler.finish()
}

/// A running process, killed when dropped.
struct Instance {
    child: Child,
    state: PathBuf,
    began: Instant,
}

impl Instance {
    fn start(args: &Args, brokers: &str, state: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(&args.binary);
        command
            .arg("process")
            .env("TICKGATE_KAFKA__BROKERS", brokers)
            .env("TICKGATE_TOPICS__PARTITIONS", args.partitions.to_string())
            .env("TICKGATE_TOPICS__REPLICATION", "1")
            .env("TICKGATE_PROCESS__GROUP", GROUP)
            .env("TICKGATE_PROCESS__STATE_DIR", state)
            .env("TICKGATE_PROCESS__INSTANCE_ID", "bench")
            .env("TICKGATE_PROCESS__HTTP", "127.0.0.1:0")
            .env("TICKGATE_LOG", "warn")
            .stdout(Stdio::null());
        let _ = fs::remove_file(state.join("http"));
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        Ok(Self { child, state: state.to_owned(), began: Instant::now() })
    }

    /// Waits until so many symbols are watched and, if asked for, so many records are judged.
    fn await_all(&self, symbols: u64, records: Option<u64>) -> anyhow::Result<&Self> {
        let give_up = Instant::now() + GIVE_UP_AFTER;
        loop {
            let metrics = self.metrics().unwrap_or_default();
            let watched = sum(&metrics, "tickgate_symbols");
            let judged = sum(&metrics, "tickgate_records_total");
            if watched == symbols && records.is_none_or(|records| judged == records) {
                return Ok(self);
            }
            anyhow::ensure!(
                Instant::now() < give_up,
                "{watched} symbols are watched, {judged} records judged"
            );
            thread::sleep(LOOK_EVERY);
        }
    }

    fn metrics(&self) -> anyhow::Result<String> {
        let address = fs::read_to_string(self.state.join("http"))?;
        let mut stream = TcpStream::connect(address.trim())?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: tickgate\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[allow(clippy::cast_precision_loss)] // far below 2^52
    fn tell(&self, life: &str) -> anyhow::Result<()> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let peak_kib: u64 = peak.trim_end_matches("kB").trim().parse()?;
        println!("| {life} | {:.1} | {:.0} |", self.began.elapsed().as_secs_f64(), peak_kib as f64 / 1024.0);
        Ok(())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // One that is gone already cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sum of a metric over its labels.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts
fn sum(metrics: &str, name: &str) -> u64 {
    let values = metrics.lines().filter_map(|line| line.strip_prefix(name)).filter_map(|rest| {
        let labels_or_value = rest.starts_with('{') || rest.starts_with(' ');
        labels_or_value.then(|| rest.rsplit_once(' ')?.1.parse::<f64>().ok()).flatten()
    });
    values.sum::<f64>() as u64
}
