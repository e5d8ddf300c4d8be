//! What it costs to watch symbols for silence: bytes a symbol in the core's memory, and a tick with some due.
//!
//! The core is driven over a real store; Kafka's part of each effect is answered at once. What the store itself
//! has in memory is bounded by its cache and not counted here.

mod shell;

use std::time::Instant;

use clap::Parser;
use peak_alloc::PeakAlloc;
use shell::{FIRST_DUE_MS, GRACE_MS, Shell, THRESHOLD_MS, TURN_MS};
use tickgate::core::Input;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Arguments after `cargo bench --bench freshness --`.
#[derive(Debug, Clone, clap::Parser)]
struct Args {
    /// How many symbols are watched, a row of the table each
    #[arg(long, value_delimiter = ',', default_value = "10000,1000000,5000000")]
    symbols: Vec<usize>,
    /// How many of them are due in each tick
    #[arg(long, default_value_t = 100)]
    due: usize,
    /// Ticks with something due; the median is told
    #[arg(long, default_value_t = 7)]
    ticks: usize,
    /// Partitions that the symbols are spread over
    #[arg(long, default_value_t = 85)]
    partitions: i32,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    println!(
        "| symbols | bytes/symbol | peak MiB | takeover ms | looked through ms | idle tick ns | tick ms |"
    );
    println!("|---|---|---|---|---|---|---|");
    for symbols in &args.symbols {
        measure(&args, *symbols)?;
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)] // counts and bytes far below 2^52
fn measure(args: &Args, symbols: usize) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut shell = Shell::fill(dir.path(), symbols, args.partitions, (args.ticks, args.due))?;
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let began = Instant::now();
    let mut core = shell.take_over()?;
    let takeover = began.elapsed();
    while core.poll_timeout(shell.now).is_some_and(|(wait, _)| wait.is_zero()) {
        shell.tick(&mut core)?;
    }
    let looked_through = began.elapsed();
    let bytes = (MEMORY.current_usage() - before) as f64 / symbols as f64;
    let peak = (MEMORY.peak_usage() - before) as f64 / f64::from(1 << 20);
    let watched = core.progress().watched_symbols;
    anyhow::ensure!(watched == symbols, "{watched} of {symbols} symbols are watched");
    let began = Instant::now();
    for _ in 0..1_000 {
        std::hint::black_box(core.poll_timeout(std::hint::black_box(shell.now)));
    }
    let idle_ns = began.elapsed().as_nanos() / 1_000;
    let mut ticks = Vec::with_capacity(args.ticks);
    for turn in (0..).take(args.ticks) {
        shell.set_clock(FIRST_DUE_MS + turn * TURN_MS + THRESHOLD_MS + GRACE_MS + 1);
        let told = shell.told;
        let began = Instant::now();
        shell.tick(&mut core)?;
        ticks.push(began.elapsed());
        anyhow::ensure!(shell.told - told == args.due, "{} silences, not {}", shell.told - told, args.due);
    }
    ticks.sort_unstable();
    let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
    println!(
        "| {symbols} | {bytes:.1} | {peak:.1} | {:.1} | {:.0} | {idle_ns} | {:.2} |",
        ms(takeover),
        ms(looked_through),
        ms(ticks[ticks.len() / 2])
    );
    // The next row's store has the folder's memory to itself.
    core.handle(Input::Shutdown { generation: shell::GENERATION }, shell.now);
    Ok(())
}
