//! Who is answered, and what every answer tells the browser: nothing runs that is not ours, nobody frames the page.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use data_encoding::BASE64;
use openssl::memcmp;
use openssl::sha::sha256;

use crate::config::Access;
use crate::query::{Refused, answer};
use crate::telemetry::metrics::ServeMetrics;

/// How long an answer may take to begin.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Open to all, for those who look whether the process lives.
const OPEN: [&str; 2] = ["/livez", "/readyz"];
/// No script and no style but the page's own files, and no text of ours that a browser would take for markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// What is asked of who comes. Secrets are kept as hashes.
#[derive(Debug)]
pub(super) struct Guard {
    is_asked: bool,
    accepted: Vec<Credential>,
    metrics: ServeMetrics,
}

#[derive(Debug)]
enum Credential {
    /// `Bearer`, and a password of any user.
    Token([u8; 32]),
    /// `user:password`.
    Login([u8; 32]),
}

impl Guard {
    pub(super) fn new(access: &Access, metrics: ServeMetrics) -> Self {
        let token = access.token.iter().map(|token| Credential::Token(sha256(token.reveal().as_bytes())));
        let login = access.login.iter().map(|(user, password)| {
            Credential::Login(sha256(format!("{user}:{}", password.reveal()).as_bytes()))
        });
        Self { is_asked: access.is_asked, accepted: token.chain(login).collect(), metrics }
    }

    /// Whether the headers say who this is.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some((scheme, given)) = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.split_once(' '))
        else {
            return false;
        };
        let is = |known: &[u8; 32], text: &[u8]| memcmp::eq(known, &sha256(text));
        if scheme.eq_ignore_ascii_case("bearer") {
            let of_token =
                |one: &Credential| matches!(one, Credential::Token(known) if is(known, given.as_bytes()));
            return self.accepted.iter().any(of_token);
        }
        let Some(login) =
            BASE64.decode(given.as_bytes()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))
        else {
            return false;
        };
        let password = login.iter().position(|byte| *byte == b':').map_or(&login[..0], |at| &login[at + 1..]);
        self.accepted.iter().any(|one| match one {
            Credential::Token(known) => is(known, password),
            Credential::Login(known) => is(known, &login),
        })
    }

    fn refusal(&self, request: &Request) -> Option<Response> {
        if OPEN.contains(&request.uri().path()) {
            return None;
        }
        if !self.is_asked {
            // Nobody is asked, so that a page of somebody else could have a browser ask us, by a name that it has
            // made to mean this address.
            let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            if !is_address(host) {
                let expected =
                    "an IP address or `localhost`, or a token or password in the settings (`serve.auth`)";
                let found = crate::query::shown(host);
                let refused = Refused::question("this page is not known by that name", expected, found);
                return Some(answer::<()>(Err(Refused { status: 403, ..refused })));
            }
            return None;
        }
        if self.knows(request.headers()) {
            return None;
        }
        let expected = "the token as `Authorization: Bearer …`, or user and password";
        let refused = Refused::question("who are you?", expected, "neither, or a wrong one");
        let mut response = answer::<()>(Err(Refused { status: 401, ..refused }));
        let ask = HeaderValue::from_static("Basic realm=\"tickgate\", charset=\"UTF-8\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, ask);
        Some(response)
    }
}

/// Lets through who may ask, bounds the time of the answer, and puts the headers on it.
pub(super) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = match guard.refusal(&request) {
        Some(refusal) => refusal,
        None => match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => (StatusCode::GATEWAY_TIMEOUT, "no answer in time\n").into_response(),
        },
    };
    let class = match response.status().as_u16() {
        ..400 => "2xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    guard.metrics.requests.with_label_values(&[class]).inc();
    let fixed: [(HeaderName, &'static str); 6] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Whether a `Host` header is an address, which nobody can make mean another.
fn is_address(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_hosts() {
        for host in ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "10.0.0.1"] {
            assert!(is_address(host), "{host}");
        }
        for host in
            ["", "rebound.example", "rebound.example:8080", "localhost.example", "127.0.0.1.example:80"]
        {
            assert!(!is_address(host), "{host}");
        }
    }
}
