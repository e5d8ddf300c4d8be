//! `tickgate sink`: `stock_data` into Cassandra.
//!
//! At least once to the table, and exactly once in it: a row's key and write time follow from its record, so
//! that writing it again changes nothing, and an offset is committed only when every record below it is
//! acknowledged by the table, or kept as a dead letter.

mod loading;
mod newest;
mod offsets;
mod prefix;
mod progress;
mod pulse;
mod reading;
mod schema;
mod status;
mod under_way;
mod writing;

use std::time::Duration;

use tokio::runtime::Handle;

use self::loading::Loading;
use self::offsets::Offsets;
use self::pulse::Pulse;
pub(super) use self::reading::row_of;
pub(super) use self::schema::failure as unusable;
use self::status::{CASSANDRA, KAFKA};
use self::writing::Writer;
use super::caught_up::{CaughtUp, stopped};
use super::waiting::wait_for_topics;
use super::{Exit, Failure, Shutdown};
use crate::config::{Config, GroupProtocol};
use crate::journal::kafka::client;
use crate::journal::kafka::dead_letters::DeadLetters;
use crate::journal::kafka::membership::{Joining, Membership};
use crate::journal::kafka::owners::Owners;
use crate::table::cassandra::Cassandra;
use crate::telemetry::health::{self, Pages, Readiness};
use crate::telemetry::metrics::Metrics;

/// Pause before what is not there yet is looked for again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a silent member keeps its partitions: the least that brokers allow by default.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// What `stock_data` is read with: what is fetched and not yet read is bounded, and small beside what is under
/// way.
const TUNING: [(&str, &str); 5] = [
    ("fetch.wait.max.ms", "100"),
    ("queued.min.messages", "20000"),
    ("queued.max.messages.kbytes", "16384"),
    ("fetch.max.bytes", "4194304"),
    ("enable.partition.eof", "true"),
];

/// Arguments of `tickgate sink`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Ends with 0 once the group, whoever is in it, has committed all that is there now; stopped before, with 1
    #[arg(long)]
    until_caught_up: bool,
    /// Goes on where records are gone before they were loaded, and says how many
    #[arg(long)]
    accept_loss: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Prints the statements that make keyspace and tables, or applies them
    Schema(schema::Args),
}

/// Loads until told to stop, or does what is asked for instead.
pub fn run(args: &Args, config: &Config) -> Result<Exit, Failure> {
    if let Some(Action::Schema(args)) = &args.action {
        return schema::run(args, config);
    }
    let shutdown = Shutdown::on_signals().map_err(Failure::breach)?;
    client::check_properties(&config.kafka).map_err(Failure::settings)?;
    let metrics = Metrics::new();
    let (shown, readiness) = (metrics.sink(), Readiness::default());
    readiness.awaits(KAFKA, "brokers");
    readiness.awaits(CASSANDRA, "a session");
    let pages = Pages { metrics, readiness: readiness.clone(), instance: None };
    health::serve(config.sink.http, None, pages).map_err(Failure::settings)?;

    let Some(table) = Handle::current().block_on(connect(config, &readiness, &shutdown))? else {
        return stopped(args.until_caught_up);
    };
    let topics = [&*config.topics.stock_data, &config.sink.dead_letter];
    if !wait_for_topics(config, topics, KAFKA, &readiness, &shutdown)? {
        return stopped(args.until_caught_up);
    }
    let dead_letters = DeadLetters::new(config).map_err(Failure::settings)?;
    let (pulse, letters_pulse) = (Pulse::new(), Pulse::new());
    let writer = Writer { table, dead_letters, metrics: shown, pulse, letters_pulse };
    let offsets = watch(args, config)?;
    let membership = join(config)?;
    let mut loading = Loading::new(config, args.accept_loss, membership, offsets, writer, readiness);
    let ended = Handle::current().block_on(loading.run(&shutdown));
    loading.leave();
    let has_caught_up = ended?;
    stopped(args.until_caught_up && !has_caught_up)
}

/// A session with Cassandra and the schema as expected; `None` when told to stop first.
async fn connect(
    config: &Config,
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> Result<Option<Cassandra>, Failure> {
    let mut said = String::new();
    loop {
        let tried = tokio::select! {
            tried = Cassandra::connect(&config.sink.cassandra) => tried,
            () = shutdown.requested() => return Ok(None),
        };
        match tried {
            Ok(table) => {
                readiness.met(CASSANDRA);
                return Ok(Some(table));
            }
            Err(error) if error.is_passing() => {
                readiness.awaits(CASSANDRA, format!("a session: {error}"));
                if said != error.to_string() {
                    said = error.to_string();
                    tracing::warn!("waits for Cassandra: {said}");
                }
            }
            Err(error) => return Err(schema::failure(error)),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.requested() => return Ok(None),
        }
    }
}

fn watch(args: &Args, config: &Config) -> Result<Offsets, Failure> {
    let owners = Owners::new(client::base_config(&config.kafka, "sink-offsets"), &config.sink.group)
        .map_err(Failure::settings)?;
    let topic = &config.topics.stock_data;
    let caught_up = args.until_caught_up.then(|| CaughtUp::with(topic));
    Offsets::watch(owners, topic.clone(), caught_up).map_err(Failure::breach)
}

fn join(config: &Config) -> Result<Membership, Failure> {
    let joining = Joining {
        group: &config.sink.group,
        topic: &config.topics.stock_data,
        instance_id: None,
        session_timeout: SESSION_TIMEOUT,
        protocol: GroupProtocol::Range,
        tuning: &TUNING,
    };
    Membership::join(client::base_config(&config.kafka, "sink"), &joining).map_err(Failure::settings)
}
