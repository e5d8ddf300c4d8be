//! `tickgate replay`: chosen rejections of `bad_data` back to staging, after what broke them has been mended.
//!
//! A replayed record has the key, value and headers that it had, and `tg-replay` behind them. The gate judges it
//! as any other.
//!
//! Each chosen record is sent once a run, whatever interrupts it. A run has a name, and that is the name of a
//! transactional id and of a group. How far `bad_data` has been gone through is committed to the group in the
//! same transactions that the records are in, beside the end that the run began with; so it goes on where its
//! last transaction ended, and ends where it would have.

mod progress;
mod returned;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;
use serde_json::json;

use self::progress::Run;
use self::returned::Returned;
use super::audit::kafka::{Kafka, message};
use super::bad::{self, Choice, Entry, Window};
use super::{Exit, Failure, shown};
use crate::config::Config;
use crate::journal::kafka::client;
use crate::journal::kafka::owners::Owners;
use crate::journal::kafka::producer::{RoundProducer, Trouble};
use crate::model::{Kind, WallTime, fnv1a};

/// What a run that was interrupted can keep the readers of staging waiting for, unless it is taken up sooner.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);

/// Arguments of `tickgate replay`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 all that was chosen has been replayed, or left out as it had been before, \
    1 Kafka refused some of it, 2 there can be no such run, 3 brokers do not answer."
)]
pub struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Says what a run that begins now would send
    #[arg(long, conflicts_with = "run")]
    dry_run: bool,
    /// The run's name. With the name of a run that was interrupted and the same choice, that run goes on
    #[arg(long, value_name = "NAME", value_parser = run_name)]
    run: Option<String>,
    /// How often a record may be replayed in all, by any runs
    #[arg(long, value_name = "N", default_value_t = 1)]
    generations: u32,
    /// Replays records however often they have been replayed
    #[arg(long)]
    force: bool,
    /// How many records a transaction has
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// Prints the summary as one JSON object
    #[arg(long)]
    json: bool,
    /// How long to wait for brokers and their answers before ending with 3
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// What a run, or the rest of one, came to.
#[derive(Debug, Default, Clone, Copy)]
struct Summary {
    replayed: u64,
    /// Had been replayed often enough before.
    left_out: u64,
    /// Kafka does not take them.
    refused: u64,
}

/// Runs to the end.
pub fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    let name = args.run.clone().unwrap_or_else(new_name);
    let group = format!("{}-replay-{name}", config.process.group);
    let kafka = Kafka::connect(&config.kafka, &group, "replay", args.timeout)?;
    let (staging, bad_data) = (&config.topics.staging, &config.topics.bad_data);
    kafka.partitions(&[staging, bad_data])?;
    let summary = if args.dry_run {
        dry_run(args, config, &kafka)?
    } else {
        tracing::info!(run = %name, "run `{name}` is on; if it is interrupted, `--run {name}` goes on with it");
        replay(args, config, &kafka, &name, &group)?
    };
    print(args, &name, summary).map_err(Failure::breach)?;
    Ok(if summary.refused > 0 { Exit::Breach } else { Exit::Whole })
}

fn dry_run(args: &Args, config: &Config, kafka: &Kafka) -> Result<Summary, Failure> {
    let bad_data = &config.topics.bad_data;
    let window = args.choice.window();
    let ranges = bad::ranges(kafka, bad_data, &args.choice, window)?;
    let mut summary = Summary::default();
    let mut out = io::stdout().lock();
    if !args.json {
        writeln!(out, "{:<14}  {:<24}  {:<20}  {:<9}  WHAT", "PLACE", "TIME", "SYMBOL", "REPLAYED")
            .map_err(Failure::breach)?;
    }
    kafka.read_borrowed(bad_data, &ranges, |record| {
        let Some(entry) = chosen(args, window, record) else { return Ok(()) };
        let returned = Returned::of(record, &entry, config);
        let place = format!("{}:{}", entry.partition, entry.offset);
        let again = args.may_replay(returned.generation);
        summary.replayed += u64::from(again);
        summary.left_out += u64::from(!again);
        if args.json {
            return Ok(());
        }
        let (time, symbol) = (entry.time().unwrap_or_default(), shown::cut(&entry.symbol, 20));
        let before =
            if again { returned.generation.to_string() } else { format!("{}: not", returned.generation) };
        writeln!(out, "{place:<14}  {time:<24}  {symbol:<20}  {before:<9}  {}", entry.what)
            .map_err(Failure::breach)
    })?;
    Ok(summary)
}

fn replay(args: &Args, config: &Config, kafka: &Kafka, name: &str, group: &str) -> Result<Summary, Failure> {
    let began = Instant::now();
    let progress_ms = Arc::new(AtomicU64::new(0));
    let goes_on = || progress_ms.store(elapsed_ms(began), Ordering::Relaxed);
    let producer = RoundProducer::start(
        client::base_config(&config.kafka, "replay"),
        group,
        TRANSACTION_TIMEOUT,
        usize::try_from(config.topics.max_message_bytes).unwrap_or(usize::MAX),
        patience(began, &progress_ms, args.timeout),
    )
    .map_err(|trouble| failed(name, trouble))?;
    let owners =
        Owners::new(client::base_config(&config.kafka, "replay"), group).map_err(Failure::settings)?;
    let metadata =
        owners.metadata().ok_or_else(|| Failure::unreachable(anyhow!("the group gave no metadata")))?;
    let mut run = Run::new(config, name, producer, metadata);
    let choice = fnv1a(format!("{:?} {} {}", args.choice, args.generations, args.force).as_bytes());
    let going_on = run.noted(&owners, kafka, choice, args.timeout)?;
    let (window, ranges) = if let Some(going_on) = going_on {
        going_on
    } else {
        let window = args.choice.window();
        let ranges = bad::ranges(kafka, &config.topics.bad_data, &args.choice, window)?;
        goes_on();
        run.begin(&ranges, window, choice)?;
        (window, ranges)
    };
    let mut summary = Summary::default();
    kafka.read_borrowed(&config.topics.bad_data, &ranges, |record| {
        if let Some(entry) = chosen(args, window, record) {
            let returned = Returned::of(record, &entry, config);
            if args.may_replay(returned.generation) {
                run.add(returned);
            } else {
                summary.left_out += 1;
            }
        }
        run.pass(record.partition(), record.offset());
        if run.waiting() >= usize::try_from(args.batch).unwrap_or(usize::MAX) {
            goes_on();
            run.commit()?;
        }
        Ok(())
    })?;
    goes_on();
    run.finish(&ranges)?;
    Ok(Summary { replayed: run.replayed, refused: run.refused, ..summary })
}

/// The record, if it is a rejection that is meant.
fn chosen(args: &Args, window: Window, record: &BorrowedMessage<'_>) -> Option<Entry> {
    let entry = Entry::read(record.partition(), &message(record));
    (entry.kind == Some(Kind::Rejected) && args.choice.holds(&entry, window)).then_some(entry)
}

impl Args {
    fn may_replay(&self, generation: u32) -> bool {
        self.force || generation < self.generations
    }
}

fn print(args: &Args, name: &str, summary: Summary) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let Summary { replayed, left_out, refused } = summary;
    if args.json {
        let told = json!({
            "run": (!args.dry_run).then_some(name),
            "dry_run": args.dry_run,
            "replayed": replayed,
            "left_out": left_out,
            "refused": refused,
        });
        return writeln!(out, "{told}");
    }
    if args.dry_run {
        write!(out, "{replayed} records would be replayed")?;
    } else {
        write!(out, "run `{name}`: {replayed} records replayed")?;
    }
    if left_out > 0 {
        write!(out, "; {left_out} left out, as they have been replayed before (--force replays them too)")?;
    }
    if refused > 0 {
        write!(out, "; {refused} refused by Kafka, see the log")?;
    }
    writeln!(out)
}

/// Whether to go on waiting for answers: as long as something was done within `timeout`.
fn patience(began: Instant, progress_ms: &Arc<AtomicU64>, timeout: Duration) -> Box<dyn Fn() -> bool + Send> {
    let progress_ms = Arc::clone(progress_ms);
    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    Box::new(move || elapsed_ms(began).saturating_sub(progress_ms.load(Ordering::Relaxed)) < timeout_ms)
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn failed(name: &str, trouble: Trouble) -> Failure {
    match trouble {
        Trouble::Fatal(reason) => Failure::breach(anyhow!(
            "run `{name}` ended: {reason}; where another process goes on with it, let that one finish"
        )),
        Trouble::Abort(reason) | Trouble::Unknown(reason) | Trouble::Refused { reason, .. } => {
            Failure::unreachable(anyhow!(
                "run `{name}` was interrupted: {reason}; `--run {name}` goes on with it"
            ))
        }
        Trouble::Interrupted => Failure::unreachable(anyhow!(
            "run `{name}`: brokers gave no answer within --timeout; `--run {name}` goes on with it"
        )),
    }
}

/// A name that no other run has.
fn new_name() -> String {
    let ms = WallTime::now().0;
    format!("{ms}-{:04x}", rand::random::<u16>())
}

fn run_name(name: &str) -> Result<String, String> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 60 || !name.chars().all(is_legal) {
        return Err("expected 1 to 60 letters, digits, `-` or `_`".to_owned());
    }
    Ok(name.to_owned())
}
