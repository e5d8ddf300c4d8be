//! Logs by tracing: for people on a terminal, JSON otherwise, on standard error.
//!
//! librdkafka's own log comes in by the client's context (target `librdkafka`), so there is one stream.

use std::{
    env,
    io::{self, IsTerminal},
};

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, filter::FilterFn, filter::ParseError, layer::SubscriberExt, util::SubscriberInitExt,
};

/// Variables that choose what is logged, the first that is set; in `EnvFilter`'s language, for example
/// `info,tickgate=debug`.
const VARIABLES: [&str; 2] = ["TICKGATE_LOG", "RUST_LOG"];

/// The variable with the filter can't be understood.
#[derive(Debug, thiserror::Error)]
#[error("`{variable}`: expected a filter such as `info,tickgate=debug`, found `{found}` ({cause})")]
pub struct BadFilter {
    variable: &'static str,
    found: String,
    cause: ParseError,
}

/// Starts logging for this process; a second call changes nothing.
pub fn start() -> Result<(), BadFilter> {
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = if io::stderr().is_terminal() {
        lines.boxed()
    } else {
        lines.with_ansi(false).json().flatten_event(true).boxed()
    };
    let subscriber = tracing_subscriber::registry();
    // The only failure is that logging was started before, as in tests of several roles.
    let _ = subscriber.with(asked_for()?).with(FilterFn::new(is_discreet)).with(lines).try_init();
    Ok(())
}

/// At `trace` the websocket's library writes the whole request, and the feed's token is in it: whatever is asked
/// for, that is never logged.
fn is_discreet(line: &Metadata<'_>) -> bool {
    !line.target().starts_with("tungstenite::handshake") || *line.level() <= Level::INFO
}

fn asked_for() -> Result<EnvFilter, BadFilter> {
    let given = VARIABLES.into_iter().find_map(|name| env::var(name).ok().map(|value| (name, value)));
    match given.filter(|(_, value)| !value.is_empty()) {
        None => Ok(EnvFilter::new("info")),
        Some((variable, found)) => {
            EnvFilter::builder().parse(&found).map_err(|cause| BadFilter { variable, found, cause })
        }
    }
}
