//! How long a browser takes for a frame of the page, with many symbols and many updates, beside the same page without
//! updates and with few symbols.
//!
//! All of it is on one machine: broker, `tickgate serve`, a Chromium that draws by software, and who sends. They share
//! its cores, so rows of one run are compared and no two runs. What the page shows is not checked here.

#![allow(clippy::unwrap_used)] // the browser's, which is the tests' own

#[path = "../../tests/real/page/browser.rs"]
#[allow(dead_code)] // tests do more with it
mod browser;
#[path = "../job/topics.rs"]
#[allow(dead_code)] // there is no changelog here
mod topics;
mod updates;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use browser::Browser;
use clap::Parser;
use tickgate_stack::{Guard, Program, Stack, ports};
use updates::Updates;

/// Arguments after `cargo bench --bench page --`.
#[derive(Debug, Clone, clap::Parser)]
struct Args {
    /// Symbols in the table, one row of the result after the other
    #[arg(long, value_delimiter = ',', default_value = "50,5000")]
    symbols: Vec<u32>,
    /// Updates a second, evenly over the symbols; each with each number of symbols
    #[arg(long, value_delimiter = ',', default_value = "0,2000")]
    updates: Vec<u32>,
    /// How long frames are looked at
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// The binary that is measured
    #[arg(long, env = "BENCH_BINARY", default_value = env!("CARGO_BIN_EXE_tickgate"))]
    binary: PathBuf,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
}

/// How long the page may take to have all symbols.
const GIVE_UP_AFTER: Duration = Duration::from_mins(1);
/// Between a page that has all symbols and the first frame that counts.
const WARM_UP: Duration = Duration::from_secs(3);

/// Counts from here on the time between frames and the changes of the table's rows, while the table is scrolled by a
/// screen ten times a second.
const WATCH: &str = "(() => {
    const grid = document.querySelector('[role=grid]');
    const seen = window.seen = { times: [], changes: 0 };
    new MutationObserver((all) => { seen.changes += all.length; })
        .observe(document.querySelector('.grid-body'), { subtree: true, childList: true, characterData: true });
    setInterval(() => {
        const end = grid.scrollTop + 2 * grid.clientHeight > grid.scrollHeight;
        grid.scrollTop = end ? 0 : grid.scrollTop + grid.clientHeight;
    }, 100);
    let before;
    const frame = (now) => {
        if (before !== undefined) seen.times.push(now - before);
        before = now;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
})()";

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // What runs in the folder ends with this process, however that ends.
    let folder = tempfile::Builder::new().prefix("tickgate-bench.").tempdir()?;
    let _guard = Guard::over(folder.path(), true)?;
    println!("| symbols | updates/s | frames/s | p50 ms | p99 ms | longest ms | changes/s of rows in view |");
    println!("|---|---|---|---|---|---|---|");
    for symbols in &args.symbols {
        // A topic without the symbols of the row before.
        let stack = Stack::builder().full_jit().start()?;
        let brokers = stack.bootstrap();
        topics::create(&brokers, &["stock_data", "bad_data"], 1)?;
        let updates = Updates::new(&brokers, *symbols)?;
        updates.all()?;
        let program = Program::new(folder.path().join(format!("serve-{symbols}")))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::take(1)?[0]));
        let mut command = Command::new(&args.binary);
        command
            .arg("serve")
            .env("TICKGATE_KAFKA__BROKERS", &brokers)
            .env("TICKGATE_SERVE__HTTP", address.to_string())
            .env("TICKGATE_LOG", "warn");
        program.start(command)?;
        wait_answers(address).with_context(|| program.log_tail())?;
        for rate in &args.updates {
            let figures = measure(address, *symbols, *rate, &updates, Duration::from_secs(args.seconds))?;
            println!("| {symbols} | {rate} | {figures} |");
        }
        program.terminate(Duration::from_secs(10))?;
    }
    Ok(())
}

fn wait_answers(address: SocketAddr) -> anyhow::Result<()> {
    let give_up = Instant::now() + GIVE_UP_AFTER;
    while TcpStream::connect(address).is_err() {
        anyhow::ensure!(Instant::now() < give_up, "`tickgate serve` does not answer on {address}");
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A new browser, which has all symbols before it is looked at.
fn measure(
    address: SocketAddr,
    symbols: u32,
    rate: u32,
    updates: &Updates,
    time: Duration,
) -> anyhow::Result<String> {
    let mut browser = Browser::start(1280, 800);
    browser.open(&format!("http://{address}/"));
    let rows = symbols + 1;
    browser
        .wait(&format!("document.querySelector('[role=grid]').getAttribute('aria-rowcount') === '{rows}'"));
    let seen = thread::scope(|scope| {
        let sending = scope.spawn(|| updates.send(rate, WARM_UP + time));
        thread::sleep(WARM_UP);
        browser.eval(WATCH);
        thread::sleep(time);
        let seen = browser.eval("window.seen");
        sending.join().expect("it does not panic").map(|()| seen)
    })?;
    let times = seen["times"].as_array().context("no times of frames")?;
    let mut times: Vec<f64> = times.iter().filter_map(serde_json::Value::as_f64).collect();
    anyhow::ensure!(!times.is_empty(), "not one frame in {time:?}");
    times.sort_unstable_by(f64::total_cmp);
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    let seconds = time.as_secs_f64();
    let changes = seen["changes"].as_f64().context("no number of changes")? / seconds;
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let frames = times.len() as f64 / seconds;
    Ok(format!("{frames:.1} | {:.1} | {:.1} | {:.1} | {changes:.0}", at(50), at(99), at(100)))
}
