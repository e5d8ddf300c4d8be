//! `tickgate serve`: the page. Reads `stock_data` and `bad_data` as anybody may, without a group; asks the instances
//! how they are, and Cassandra for the past. Wiring only: what is shown is in `web`.

mod feed;

use std::thread;
use std::time::Duration;

use self::feed::Feed;
use super::classes::classes;
use super::waiting::wait_for_topics;
use super::{Exit, Failure, Shutdown};
use crate::config::{Config, HistoryKind};
use crate::journal::kafka::client;
use crate::table::cassandra::Cassandra;
use crate::telemetry::health::{Pages, Readiness};
use crate::telemetry::metrics::Metrics;
use crate::web::{self, Board, Shown};

const KAFKA: &str = "kafka";
const CASSANDRA: &str = "cassandra";
/// Pause before Cassandra is tried again.
const PAUSE: Duration = Duration::from_secs(2);
/// How often it is asked whether it is there, and how long the answer may take.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two looks at the wish to stop.
const LOOK_EVERY: Duration = Duration::from_hours(1);

/// Arguments of `tickgate serve`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Serves until it is told to stop.
pub fn run(_args: &Args, config: &Config) -> Result<Exit, Failure> {
    let shutdown = Shutdown::on_signals().map_err(Failure::breach)?;
    client::check_properties(&config.kafka).map_err(Failure::settings)?;
    let (metrics, readiness) = (Metrics::new(), Readiness::default());
    readiness.awaits(KAFKA, "brokers");
    let (shown, streams) = (Shown::of(config), config.serve.streams_max);
    let board = Board::new(shown, classes(config), streams, readiness.clone(), metrics.serve());
    let pages = Pages { metrics, readiness: readiness.clone(), instance: None };
    web::serve(&config.serve, &board, pages).map_err(Failure::settings)?;

    let telling = board.clone();
    tokio::spawn(async move { telling.tell().await });
    let (watching, instances) = (board.clone(), config.serve.instances.clone());
    tokio::spawn(async move { web::watch_instances(&watching, &instances).await });
    if config.serve.history == HistoryKind::Cassandra {
        readiness.awaits(CASSANDRA, "a session");
        tokio::spawn(connect(config.clone(), board.clone(), readiness.clone()));
        let asking = board.clone();
        tokio::spawn(async move { web::watch_opens(&asking).await });
    }

    let topics = [config.topics.stock_data.as_str(), config.topics.bad_data.as_str()];
    if !wait_for_topics(config, topics, KAFKA, &readiness, &shutdown)? {
        return Ok(Exit::Whole);
    }
    for feed in Feed::both(config, &board, &readiness, &shutdown) {
        let name = feed.topic().to_owned();
        // Not waited for at a stop: it only reads, and nothing is lost.
        thread::Builder::new().name(name).spawn(move || feed.run()).map_err(Failure::breach)?;
    }
    while !shutdown.wait(LOOK_EVERY) {}
    Ok(Exit::Whole)
}

/// Tries until there is a session, and then says when it does not answer any more. What must be changed by somebody is said, and tried again all the same: the page
/// is worth having without.
async fn connect(config: Config, board: Board, readiness: Readiness) {
    let mut said = String::new();
    loop {
        match Cassandra::connect(&config.sink.cassandra).await {
            Ok(table) => {
                board.set_table(table);
                readiness.met(CASSANDRA);
                break;
            }
            Err(error) => {
                readiness.awaits(CASSANDRA, format!("a session: {error}"));
                if said != error.to_string() {
                    said = error.to_string();
                    tracing::warn!("waits for Cassandra: {said}");
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    // The driver finds it again by itself; whoever looks at the page should know meanwhile.
    loop {
        tokio::time::sleep(PING_EVERY).await;
        let Some(table) = board.table() else { continue };
        match tokio::time::timeout(PING_TIMEOUT, table.ping()).await {
            Ok(Ok(())) => readiness.met(CASSANDRA),
            Ok(Err(error)) => readiness.awaits(CASSANDRA, format!("an answer: {error}")),
            Err(_) => readiness.awaits(CASSANDRA, format!("an answer, for more than {PING_TIMEOUT:?}")),
        }
    }
}
