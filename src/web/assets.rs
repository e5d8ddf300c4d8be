//! The page's files, in the binary. `assets/vendor` is from npm, byte for byte what `package-lock.json` pins; the rest
//! is ours, and no tool stands between it and the browser.

use std::io::Write as _;
use std::sync::OnceLock;

use axum::Router;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use data_encoding::HEXLOWER;
use flate2::{Compression, write::GzEncoder};
use openssl::sha::sha256;

use super::board::Board;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// One file: its path on the page, its kind, its bytes.
type Asset = (&'static str, &'static str, &'static str);

macro_rules! asset {
    ($path:literal, $kind:expr, $file:literal) => {
        ($path, $kind, include_str!(concat!("assets/", $file)))
    };
}

pub(super) const ASSETS: [Asset; 16] = [
    asset!("/", HTML, "index.html"),
    asset!("/app.css", STYLE, "app.css"),
    asset!("/app.js", SCRIPT, "app.js"),
    asset!("/api.js", SCRIPT, "api.js"),
    asset!("/chart.js", SCRIPT, "chart.js"),
    asset!("/dom.js", SCRIPT, "dom.js"),
    asset!("/format.js", SCRIPT, "format.js"),
    asset!("/freshness.js", SCRIPT, "freshness.js"),
    asset!("/grid.js", SCRIPT, "grid.js"),
    asset!("/markets.js", SCRIPT, "markets.js"),
    asset!("/pipeline.js", SCRIPT, "pipeline.js"),
    asset!("/quality.js", SCRIPT, "quality.js"),
    asset!("/icon.svg", "image/svg+xml", "icon.svg"),
    asset!("/vendor/lightweight-charts.js", SCRIPT, "vendor/lightweight-charts.js"),
    asset!("/vendor/LICENSE", "text/plain; charset=utf-8", "vendor/LICENSE"),
    asset!("/v1/openapi.json", "application/json", "openapi.json"),
];

struct Packed {
    asset: Asset,
    etag: String,
    gzip: Vec<u8>,
}

pub(super) fn routes() -> Router<Board> {
    packed().iter().fold(Router::new(), |router, packed| {
        let handler = async move |State(_): State<Board>, headers: HeaderMap| file(packed, &headers);
        router.route(packed.asset.0, get(handler))
    })
}

fn packed() -> &'static [Packed] {
    static PACKED: OnceLock<Vec<Packed>> = OnceLock::new();
    PACKED.get_or_init(|| {
        ASSETS
            .iter()
            .map(|asset| {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                let written = encoder.write_all(asset.2.as_bytes());
                // Without it the file goes out as it is.
                let gzip = written.and_then(|()| encoder.finish()).unwrap_or_default();
                let etag = format!("\"{}\"", &HEXLOWER.encode(&sha256(asset.2.as_bytes()))[..32]);
                Packed { asset: *asset, etag, gzip }
            })
            .collect()
    })
}

fn file(packed: &'static Packed, headers: &HeaderMap) -> Response {
    let has = |name, text: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(text))
    };
    // Asked for again at every visit, answered with a word while it is the same.
    let fixed = [(ETAG, packed.etag.as_str()), (CACHE_CONTROL, "no-cache"), (VARY, "accept-encoding")];
    if has(IF_NONE_MATCH, &packed.etag) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    let kind = [(CONTENT_TYPE, packed.asset.1)];
    if has(ACCEPT_ENCODING, "gzip") && !packed.gzip.is_empty() {
        return (fixed, kind, [(CONTENT_ENCODING, "gzip")], packed.gzip.as_slice()).into_response();
    }
    (fixed, kind, packed.asset.2).into_response()
}
