//! The `http` address of a long-running role: `/metrics`, `/livez`, `/readyz`, and for `process`
//! `/v1/instance`.
//!
//! It only shows what others have put down; a request never reaches a worker, so a scrape can't slow one.

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{instance::InstanceView, listener::Listener, metrics::Metrics};

/// Connections at a time.
const CONNECTIONS_MAX: usize = 256;

/// What a role still waits for. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    awaited: Arc<Mutex<BTreeMap<String, String>>>,
}

/// What the server shows.
#[derive(Debug, Clone)]
pub struct Pages {
    /// `/metrics`
    pub metrics: Metrics,
    /// `/readyz`
    pub readiness: Readiness,
    /// `/v1/instance`, where the role has it.
    pub instance: Option<InstanceView>,
}

/// The server can't start.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The address can't be listened on.
    #[error("can't listen on `{address}` ({cause}); is another process there? port 0 takes a free one")]
    Listen {
        /// The `http` setting.
        address: SocketAddr,
        /// The system's words.
        cause: io::Error,
    },
    /// The file that tells the address can't be written.
    #[error("can't write the http address to `{}`: {cause}", path.display())]
    Tell {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: io::Error,
    },
}

impl Readiness {
    /// `part` (a worker, the producer) waits for `what`; the role isn't ready.
    pub fn awaits(&self, part: &str, what: impl Into<String>) {
        self.change(|awaited| awaited.insert(part.to_owned(), what.into()));
    }

    /// `part` waits for nothing more.
    pub fn met(&self, part: &str) {
        self.change(|awaited| awaited.remove(part));
    }

    /// What is awaited, in words; `None` when the role is ready.
    pub fn awaited(&self) -> Option<String> {
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        let texts = awaited.iter().map(|(part, what)| format!("{part} waits for {what}"));
        Some(texts.collect::<Vec<_>>().join("\n")).filter(|text| !text.is_empty())
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, String>) -> Option<String>) {
        change(&mut self.awaited.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Starts the server on the current tokio runtime; it ends with the process. The address it got (port 0
/// takes a free one) is logged, returned, and written to `tell`, atomically.
pub fn serve(address: SocketAddr, tell: Option<&Path>, pages: Pages) -> Result<SocketAddr, HealthError> {
    serve_with(address, tell, pages, Router::new())
}

/// The same, with the role's own routes beside it.
pub fn serve_with(
    address: SocketAddr,
    tell: Option<&Path>,
    pages: Pages,
    own: Router,
) -> Result<SocketAddr, HealthError> {
    let failed = |cause| HealthError::Listen { address, cause };
    let listener = Listener::bind(address).map_err(failed)?;
    let bound = listener.bound;
    if let Some(path) = tell {
        write_whole(path, &format!("{bound}\n"))
            .map_err(|cause| HealthError::Tell { path: path.to_owned(), cause })?;
    }
    tracing::info!(http = %bound, "answers on http://{bound}");
    listener.serve(router(pages).merge(own), CONNECTIONS_MAX);
    Ok(bound)
}

/// The pages alone, for whoever listens by itself.
pub fn router(pages: Pages) -> Router {
    let mut router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics));
    if let Some(instance) = pages.instance.clone() {
        router = router.route("/v1/instance", get(|| async move { Json(instance.snapshot()) }));
    }
    router.with_state(pages)
}

async fn readyz(State(pages): State<Pages>) -> Response {
    match pages.readiness.awaited() {
        None => "ready\n".into_response(),
        Some(awaited) => (StatusCode::SERVICE_UNAVAILABLE, format!("{awaited}\n")).into_response(),
    }
}

async fn metrics(State(pages): State<Pages>) -> Response {
    ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], pages.metrics.render()).into_response()
}

/// Writes a small file. Readers see the old content or the whole new one.
pub fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}", std::process::id()));
    fs::write(&aside, text)?;
    fs::rename(&aside, path)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use super::*;

    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn the_pages_show_what_was_put_down() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _entered = runtime.enter();
        let dir = tempfile::tempdir().unwrap();
        let tell = dir.path().join("state/http");
        let instance = InstanceView::new("host-1", "tickgate", 0xa1);
        let pages = Pages {
            metrics: Metrics::new(),
            readiness: Readiness::default(),
            instance: Some(instance.clone()),
        };
        pages.readiness.awaits("worker 0", "brokers");
        let address = serve("127.0.0.1:0".parse().unwrap(), Some(&tell), pages.clone()).unwrap();
        assert_eq!(fs::read_to_string(&tell).unwrap(), format!("{address}\n"));

        let waiting = ask(address, "/readyz");
        assert!(
            waiting.starts_with("HTTP/1.1 503") && waiting.contains("worker 0 waits for brokers"),
            "{waiting}"
        );
        pages.readiness.met("worker 0");
        assert!(ask(address, "/readyz").starts_with("HTTP/1.1 200"));
        assert!(ask(address, "/livez").starts_with("HTTP/1.1 200"));
        assert!(ask(address, "/metrics").contains("tickgate_build_info"));
        instance.update(0, |worker| worker.transactional_id = "tickgate.host-1.0.s.1".to_owned());
        assert!(ask(address, "/v1/instance").contains("tickgate.host-1.0.s.1"));

        let taken = serve(address, None, pages).unwrap_err().to_string();
        assert!(taken.contains(&address.to_string()), "{taken}");
    }
}
