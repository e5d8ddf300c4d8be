//! `tickgate simulate`: a stand-in for Finnhub, with faults on demand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::{Exit, Failure, Shutdown};
use crate::config::{Config, SimulateConfig, expand_symbols};
use crate::finnhub::simulator::{
    BadChange, CallLimits, Change, Control, Counts, FaultKind, Settings, Silence, Simulator, Spoil,
};
use crate::telemetry::health::{self, Pages, Readiness};
use crate::telemetry::metrics::{Metrics, SimulateMetrics};

/// Arguments of `tickgate simulate`; each wins over its setting in `[simulate]`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the websocket answers; port 0 takes a free one
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Where the REST interface answers
    #[arg(long)]
    rest: Option<SocketAddr>,
    /// Where /metrics, /counts and POST /faults answer
    #[arg(long)]
    http: Option<SocketAddr>,
    /// How many symbols (SYM00001, SYM00002, …), or their names, comma-separated
    #[arg(long, value_delimiter = ',')]
    symbols: Option<Vec<String>>,
    /// Trades a second over all symbols; 0 waits for POST /faults {"rate": …}
    #[arg(long)]
    rate: Option<f64>,
    /// The same seed makes the same trades
    #[arg(long)]
    seed: Option<u64>,
    /// Ends the feed after so many trades; connections stay
    #[arg(long)]
    trades: Option<u64>,
    /// Part of all trades, 0 to 1, that is spoilt, spread over every kind of fault
    #[arg(long)]
    bad: Option<f64>,
    /// Part of all trades spoilt in one way, such as `negative_price=0.01`; can be repeated
    #[arg(long, value_name = "KIND=PART")]
    fault: Vec<FaultPart>,
    /// A symbol that falls silent, SYMBOL@FROM+FOR or SYMBOL@FROM, such as SYM00001@30s+2m; can be repeated
    #[arg(long)]
    silent: Vec<Silence>,
    /// How often a ping is sent; 0s is never
    #[arg(long, value_parser = humantime::parse_duration)]
    ping_every: Option<Duration>,
    /// Drops every connection so often, without a close frame; 0s is never
    #[arg(long, value_parser = humantime::parse_duration)]
    disconnect_every: Option<Duration>,
    /// Stalls every connection so often, without closing it; 0s is never
    #[arg(long, value_parser = humantime::parse_duration)]
    stall_every: Option<Duration>,
}

/// One kind of fault and its part of all trades.
#[derive(Debug, Clone, Copy, PartialEq)]
struct FaultPart(FaultKind, f64);

impl FromStr for FaultPart {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (kind, part) = text
            .split_once('=')
            .ok_or_else(|| anyhow::anyhow!("expected `KIND=PART`, such as `negative_price=0.01`"))?;
        Ok(Self(kind.parse()?, part.parse()?))
    }
}

/// Feeds whoever connects until told to stop.
pub fn run(args: Args, config: &Config) -> Result<Exit, Failure> {
    let shutdown = Shutdown::on_signals().map_err(Failure::breach)?;
    let addresses = Addresses {
        listen: args.listen.unwrap_or(config.simulate.listen),
        rest: args.rest.unwrap_or(config.simulate.rest),
        http: args.http.unwrap_or(config.simulate.http),
    };
    let settings = settings(args, &config.simulate)?;
    tokio::runtime::Handle::current().block_on(simulate(addresses, settings, shutdown))
}

/// Where a simulator answers.
struct Addresses {
    listen: SocketAddr,
    rest: SocketAddr,
    http: SocketAddr,
}

fn settings(args: Args, config: &SimulateConfig) -> Result<Settings, Failure> {
    let given = args.symbols.unwrap_or_else(|| config.symbols.clone());
    let silent = config.silent.iter().map(|text| text.parse()).collect::<Result<Vec<Silence>, _>>();
    let filled = |duration: Duration| Some(duration).filter(|duration| !duration.is_zero());
    Ok(Settings {
        symbols: expand_symbols(&given),
        seed: args.seed.unwrap_or(config.seed),
        rate: args.rate.unwrap_or(config.rate),
        trades: args.trades,
        ping_every: args.ping_every.unwrap_or(config.ping_every),
        spoil: Spoil {
            bad: args.bad.unwrap_or(config.bad),
            kinds: args.fault.iter().map(|FaultPart(kind, part)| (*kind, *part)).collect::<BTreeMap<_, _>>(),
        },
        silences: if args.silent.is_empty() { silent.map_err(Failure::settings)? } else { args.silent },
        disconnect_every: filled(args.disconnect_every.unwrap_or(config.disconnect_every)),
        stall_every: filled(args.stall_every.unwrap_or(config.stall_every)),
        tells_takeover: true,
        max_symbols: Some(config.max_symbols).filter(|max| *max > 0),
        call_limits: CallLimits { per_minute: config.calls_per_minute, per_second: config.calls_per_second },
        quote_every: config.quote_every,
    })
}

async fn simulate(addresses: Addresses, settings: Settings, shutdown: Shutdown) -> Result<Exit, Failure> {
    let (symbols, rate, seed) = (settings.symbols.len(), settings.rate, settings.seed);
    let started = Simulator::start(&addresses.listen.to_string(), settings).await;
    let mut simulator = started.map_err(Failure::settings)?;
    let rest = simulator.serve_rest(&addresses.rest.to_string()).await.map_err(Failure::settings)?;
    let control = simulator.control();
    let metrics = Metrics::new();
    let shown = metrics.simulate();
    let pages = Pages { metrics, readiness: Readiness::default(), instance: None };
    health::serve_with(addresses.http, None, pages, routes(control.clone())).map_err(Failure::settings)?;
    let address = simulator.address();
    tracing::info!(
        %address,
        %rest,
        symbols,
        rate,
        seed,
        "simulates the feed on ws://{address} and on http://{rest}/api/v1"
    );
    let mut last = Counts::default();
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            () = tokio::time::sleep(Duration::from_millis(500)) => last = show(&control, &last, &shown),
        }
    }
    Ok(Exit::Whole)
}

/// `GET /counts` tells what was sent; `POST /faults` changes the feed and answers with the counts.
fn routes(control: Control) -> Router {
    Router::new().route("/counts", get(counts)).route("/faults", post(faults)).with_state(control)
}

async fn counts(State(control): State<Control>) -> Json<Counts> {
    Json(control.counts())
}

async fn faults(
    State(control): State<Control>,
    Json(change): Json<Change>,
) -> Result<Json<Counts>, (StatusCode, String)> {
    let refused = |error: BadChange| (StatusCode::BAD_REQUEST, format!("{error}\n"));
    control.change(&change).map_err(refused)?;
    tracing::info!(?change, "the feed was changed");
    Ok(Json(control.counts()))
}

/// Adds what happened since `last` to the metrics.
fn show(control: &Control, last: &Counts, metrics: &SimulateMetrics) -> Counts {
    let now = control.counts();
    metrics.sent.inc_by(now.sent - last.sent);
    metrics.silenced.inc_by(now.silenced - last.silenced);
    for (kind, count) in &now.spoilt {
        let before = last.spoilt.get(kind).copied().unwrap_or_default();
        metrics.spoilt.with_label_values(&[kind.name()]).inc_by(count - before);
    }
    metrics.connections.set(i64::try_from(now.connections).unwrap_or(i64::MAX));
    now
}
