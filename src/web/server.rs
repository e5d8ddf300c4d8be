//! The listener: so many connections, for so long, with heads of so many bytes.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

use super::board::Board;
use super::guard::{Guard, guard};
use super::pages;
use crate::config::ServeConfig;
use crate::telemetry::health::{self, Pages};

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a head at most.
const HEAD_BYTES: usize = 16 * 1024;
/// Headers of a request at most.
const HEADERS_MAX: usize = 64;
/// How long a connection may last; pages that are kept up to date come back by themselves.
const CONNECTION_TIMEOUT: Duration = Duration::from_hours(1);
/// Pause after a connection that could not be taken: descriptors may have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    let failed = |cause| ServeError { address: config.http, cause };
    let listener = TcpListener::bind(config.http).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    tracing::info!(http = %bound, "answers on http://{bound}");
    let asks = Arc::new(Guard::new(&config.access, board.shared.metrics.clone()));
    let router = health::router(pages)
        .merge(pages::routes(board.clone()))
        .layer(axum::middleware::from_fn_with_state(asks, guard));
    let room = usize::try_from(config.connections_max).unwrap_or(usize::MAX);
    tokio::spawn(accept(listener, router, Arc::new(Semaphore::new(room))));
    Ok(bound)
}

async fn accept(listener: tokio::net::TcpListener, router: Router, room: Arc<Semaphore>) {
    loop {
        // Before it is taken: who comes beyond the bound waits at the door, and costs nothing.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    let _place = place;
                    connection(stream, router).await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: tokio::net::TcpStream, router: Router) {
    let _ = stream.set_nodelay(true);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIMEOUT, served).await {
        tracing::debug!(%error, "a connection broke");
    }
}
