//! Logs by tracing: for people on a terminal, JSON otherwise, on standard error.
//!
//! librdkafka's own log comes in by the client's context (target `librdkafka`), so there is one stream.

use std::{
    env,
    io::{self, IsTerminal},
};

use tracing_subscriber::{EnvFilter, filter::ParseError};

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
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter()?).with_writer(io::stderr);
    // The only failure is that logging was started before, as in tests of several roles.
    let _ = if io::stderr().is_terminal() {
        subscriber.try_init()
    } else {
        subscriber.with_ansi(false).json().flatten_event(true).try_init()
    };
    Ok(())
}

fn filter() -> Result<EnvFilter, BadFilter> {
    // At `trace` the websocket's library writes the whole request, and the feed's token is in it.
    let quiet = "tungstenite::handshake=info".parse().expect("a directive of this program is a legal one");
    Ok(asked_for()?.add_directive(quiet))
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
