//! The page's server: its pages behind the guard.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::board::Board;
use super::guard::{Guard, guard};
use super::pages;
use crate::config::ServeConfig;
use crate::telemetry::health::{self, Pages};
use crate::telemetry::listener::Listener;

/// The page can't be served.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on `{address}` ({cause}); is another process there? port 0 takes a free one")]
pub struct ServeError {
    /// The `http` setting.
    address: SocketAddr,
    /// The system's words.
    cause: io::Error,
}

/// Serves the page, its API and the health endpoints on the current tokio runtime; it ends with the process. The
/// address it got is logged and returned.
pub fn serve(config: &ServeConfig, board: &Board, pages: Pages) -> Result<SocketAddr, ServeError> {
    let listener = Listener::bind(config.http).map_err(|cause| ServeError { address: config.http, cause })?;
    let bound = listener.bound;
    tracing::info!(http = %bound, "answers on http://{bound}");
    let asks = Arc::new(Guard::new(&config.access, board.shared.metrics.clone()));
    let router = health::router(pages)
        .merge(pages::routes(board.clone()))
        .layer(axum::middleware::from_fn_with_state(asks, guard));
    listener.serve(router, usize::try_from(config.connections_max).unwrap_or(usize::MAX));
    Ok(bound)
}
