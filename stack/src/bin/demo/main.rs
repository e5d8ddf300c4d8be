//! `demo`: three real brokers, a simulated feed with faults in it, two instances of the gate, a view of them
//! that refreshes, and at the end the audit. `./demo` builds what it needs and starts it.
//!
//! It leaves no process behind: Ctrl-C stops everything in order, a second one at once, and a demo that
//! dies otherwise is followed by its guards.

mod house;
mod scrape;
mod view;

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Parser;
use house::House;
use tickgate_stack::jars;
use tokio::signal::unix::{SignalKind, signal};
use view::{Reading, View};

/// Rates and quantiles are over this many seconds.
const WINDOW_SECONDS: usize = 10;
/// How often a line is printed without a terminal, in seconds.
const LINE_EVERY: u64 = 5;
/// How long it may take until a part of the job has nothing left to do.
const REST_TIMEOUT: Duration = Duration::from_secs(90);

/// The main job, end to end, on this machine.
#[derive(Debug, Parser)]
pub struct Args {
    /// Stop after so many seconds; without, Ctrl-C does
    #[arg(long)]
    seconds: Option<u64>,
    /// Trades a second
    #[arg(long, default_value_t = 2000.0)]
    rate: f64,
    /// How many symbols trade
    #[arg(long, default_value_t = 200)]
    symbols: u32,
    /// The part of all trades, 0 to 1, that is spoilt
    #[arg(long, default_value_t = 0.05)]
    bad: f64,
    /// How many instances of the gate
    #[arg(long, default_value_t = 2)]
    instances: u32,
    /// After how many seconds of silence a symbol is stale; one symbol falls silent for twice as long
    #[arg(long, default_value_t = 10)]
    stale_after: u64,
    /// Keep data and logs in this folder; without, they go when all went well
    #[arg(long)]
    dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode> {
    let stop = stop_on_signals()?;
    let temporary = tempfile::Builder::new().prefix("tickgate-demo.").tempdir()?;
    let dir = args.dir.as_deref().unwrap_or(temporary.path());
    let shown = show(dir, args, &stop);
    if args.dir.is_none() && !matches!(shown, Ok(ExitCode::SUCCESS)) {
        eprintln!("demo: data and logs are kept in `{}`", temporary.keep().display());
    }
    shown
}

fn show(dir: &Path, args: &Args, stop: &AtomicBool) -> Result<ExitCode> {
    if !jars::has_kafka() {
        println!("fetching Kafka, once for this machine");
        jars::kafka()?;
    }
    println!("starting three Kafka brokers");
    let mut house = House::start(dir, args)?;
    println!("starting {} instances of the gate", args.instances);
    house.start_gate(args.instances)?;
    let shared = |reading: &Reading| {
        let owns =
            |(_, partitions): &(String, Option<Vec<u32>>)| partitions.as_ref().is_some_and(|p| !p.is_empty());
        (0.0, reading.instances.iter().all(owns))
    };
    await_rest(&house, "the instances to share the partitions", stop, shared)?;
    if stop.load(Ordering::Relaxed) {
        return Ok(ExitCode::FAILURE);
    }
    println!("starting the feed");
    house.start_feed(args)?;
    let page = house.start_page()?;
    println!("the page is at http://{page}/");
    watch(&house, args, stop, page)?;

    println!("stopping the feed");
    house.stop("simulate")?;
    let never = AtomicBool::new(false);
    let delivered = |reading: &Reading| {
        let in_flight = reading.ingest.sum("tickgate_ingest_in_flight_records");
        (reading.ingest.sum("tickgate_ingest_delivered_total"), in_flight <= 0.0)
    };
    await_rest(&house, "staging to have all that came in", &never, delivered)?;
    house.stop("ingest")?;
    let processed =
        |reading: &Reading| (view::records(reading), reading.gate.sum("tickgate_lag_records") <= 0.0);
    await_rest(&house, "the gate to work off what is left", &never, processed)?;
    println!("stopping the gate");
    house.stop("serve")?;
    house.stop("process")?;
    println!("auditing: every record must have exactly one output");
    let status = house.run(&["audit"])?;
    println!("the audit ended with {status}");
    house.close()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Shows a reading a second until it is time to stop.
fn watch(house: &House, args: &Args, stop: &AtomicBool, page: SocketAddr) -> Result<()> {
    let began = Instant::now();
    let end = args.seconds.map(Duration::from_secs);
    let mut readings: VecDeque<Reading> = VecDeque::new();
    let screen = io::stdout().is_terminal();
    let mut next = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) && end.is_none_or(|end| began.elapsed() < end) {
        let reading = house.read(began.elapsed().as_secs_f64())?;
        readings.push_back(reading);
        if readings.len() > WINDOW_SECONDS + 1 {
            readings.pop_front();
        }
        let view = View { now: &readings[readings.len() - 1], before: &readings[0] };
        if screen {
            draw(&view, &house.bootstrap(), page)?;
        } else if next.as_secs().is_multiple_of(LINE_EVERY) && next > Duration::ZERO {
            println!("{}", view.line());
        }
        next += Duration::from_secs(1);
        while !stop.load(Ordering::Relaxed) && began.elapsed() < next {
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn draw(view: &View<'_>, bootstrap: &str, page: SocketAddr) -> Result<()> {
    // Each line clears what was behind it, the last what was below: no flicker, unlike clearing first.
    let head = format!(
        "tickgate, {:.0} s; page http://{page}/; brokers {bootstrap}; Ctrl-C stops and audits\n\n",
        view.now.seconds
    );
    let text = (head + &view.screen()).replace('\n', "\x1b[K\r\n");
    let start = if view.now.seconds < 1.0 { "\x1b[2J\x1b[H" } else { "\x1b[H" };
    let mut out = io::stdout().lock();
    write!(out, "{start}{text}\x1b[J").and_then(|()| out.flush()).context("cannot write to the terminal")
}

/// Waits until `look` says in three readings that there is nothing left to do, and its count stands still.
/// What takes too long is said and left: the audit judges what was committed.
fn await_rest(
    house: &House,
    what: &str,
    stop: &AtomicBool,
    look: impl Fn(&Reading) -> (f64, bool),
) -> Result<()> {
    println!("waiting for {what}");
    let began = Instant::now();
    let (mut last, mut same) = (-1.0, 0);
    while same < 3 && !stop.load(Ordering::Relaxed) {
        if began.elapsed() > REST_TIMEOUT {
            println!("waited {} s in vain for {what}", REST_TIMEOUT.as_secs());
            break;
        }
        thread::sleep(Duration::from_millis(300));
        let (count, at_rest) = look(&house.read(0.0)?);
        #[allow(clippy::float_cmp)] // the same counter, read twice
        let unchanged = count == last;
        same = if at_rest && unchanged { same + 1 } else { 0 };
        last = count;
    }
    Ok(())
}

/// Raised by Ctrl-C, SIGTERM or a closed terminal; the second one ends this process, and the guards do the
/// rest.
fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate, mut hangup) = runtime.block_on(async {
        io::Result::Ok((
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ))
    })?;
    thread::spawn(move || {
        runtime.block_on(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                if raised.swap(true, Ordering::Relaxed) {
                    eprintln!("demo: stopped at once");
                    process::exit(130);
                }
            }
        });
    });
    Ok(stop)
}
