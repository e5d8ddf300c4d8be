//! One call of Finnhub's REST interface: the question, and what its answer's head means.
//!
//! Promises: the token travels in a header only, never in an address, and is in no error or debug text; no
//! redirect is followed, for it could lead the token elsewhere; every call ends in time, and no answer fills
//! memory.

use std::fmt;
use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::finnhub::{percent_encoded, without_token};

/// An answer larger than this is none; Finnhub's have some hundred bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// No server can ask for a longer pause.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(15);
/// The header that Finnhub wants the token in.
const TOKEN: HeaderName = HeaderName::from_static("x-finnhub-token");
/// When calls are possible again. Finnhub documents status 429 and no header with it; this one is common elsewhere,
/// as a moment or as a span ([`until_reset`]).
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The REST interface of one user.
#[derive(Clone)]
pub struct Rest {
    client: Client,
    url: String,
    token: HeaderValue,
    /// The token as text, to keep it out of texts.
    secret: String,
    answer_timeout: Duration,
}

/// A REST interface that can't be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRest {
    /// Not an address of the web.
    #[error("expected the REST interface's url as `https://host/path` without a query, found `{found}`")]
    NotAnAddress {
        /// The url up to its query.
        found: String,
    },
    /// A token that no header can hold.
    #[error("expected a token for the feed of visible ASCII characters, found an empty one or others")]
    NotAToken,
    /// The system's TLS doesn't work.
    #[error("no client for the REST interface ({0})")]
    NoClient(String),
}

/// Why a call had no answer that can be read. None of these holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Status 429.
    #[error("Finnhub's limit of calls is reached (http status 429)")]
    Limited {
        /// What the server asks for.
        retry_after: Option<Duration>,
    },
    /// Status 401.
    #[error("Finnhub refuses the token (http status 401); is it right?")]
    Unauthorized,
    /// Status 403.
    #[error("Finnhub denies access (http status 403); is the token right, and is this in the plan?")]
    Denied,
    /// Another status than 200.
    #[error("Finnhub answers with http status {0}{hint}", hint = hint(*.0))]
    Status(u16),
    /// Nothing in time.
    #[error("Finnhub did not answer within `{}`", humantime::format_duration(*.0))]
    NoAnswer(Duration),
    /// Too much to be a quote.
    #[error("Finnhub answers with more than {ANSWER_BYTES_MAX} bytes; is `rest_url` right?")]
    TooLarge,
    /// Anything else that a network does.
    #[error("the call of Finnhub failed: {0}")]
    Broken(String),
}

impl Refusal {
    /// The refusal as a word for labels.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Limited { .. } => "limited",
            Self::Unauthorized => "unauthorized",
            Self::Denied => "denied",
            Self::Status(_) => "status",
            Self::NoAnswer(_) => "no_answer",
            Self::TooLarge => "too_large",
            Self::Broken(_) => "broken",
        }
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        300..400 | 404 => "; is `rest_url` right?",
        _ => "",
    }
}

impl Rest {
    /// The interface at `url`, like `https://finnhub.io/api/v1`, for the user of `token`.
    pub fn new(
        url: &str,
        token: &str,
        connect_timeout: Duration,
        answer_timeout: Duration,
    ) -> Result<Self, BadRest> {
        let before = url.split(['?', '#']).next().unwrap_or_default();
        let not_an_address = || BadRest::NotAnAddress { found: before.to_owned() };
        let parsed = Url::parse(before).ok().filter(|_| before.len() == url.len());
        let parsed = parsed
            .filter(|parsed| ["http", "https"].contains(&parsed.scheme()) && parsed.username().is_empty());
        let is_plain = parsed.ok_or_else(not_an_address)?.scheme() == "http";
        let mut header = HeaderValue::from_str(token).map_err(|_| BadRest::NotAToken)?;
        if token.is_empty() {
            return Err(BadRest::NotAToken);
        }
        header.set_sensitive(true);
        let mut client = Client::builder()
            .connect_timeout(connect_timeout)
            .timeout(answer_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("tickgate/", env!("CARGO_PKG_VERSION")));
        if is_plain {
            // A simulator is not behind a proxy, which would see the token.
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| BadRest::NoClient(error.to_string()))?;
        let url = before.trim_end_matches('/').to_owned();
        Ok(Self { client, url, token: header, secret: token.to_owned(), answer_timeout })
    }

    /// Asks for a symbol's quote; what came is not read yet.
    pub async fn quote(&self, symbol: &str) -> Result<Vec<u8>, Refusal> {
        let address = format!("{}/quote?symbol={}", self.url, percent_encoded(symbol));
        let asked = self.client.get(address).header(TOKEN, self.token.clone()).send().await;
        let mut response = asked.map_err(|error| self.broken(error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => {
                return Err(Refusal::Limited { retry_after: wanted_pause(&response) });
            }
            StatusCode::UNAUTHORIZED => return Err(Refusal::Unauthorized),
            StatusCode::FORBIDDEN => return Err(Refusal::Denied),
            other => return Err(Refusal::Status(other.as_u16())),
        }
        let mut answer = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| self.broken(error))? {
            if answer.len() + part.len() > ANSWER_BYTES_MAX {
                return Err(Refusal::TooLarge);
            }
            answer.extend_from_slice(&part);
        }
        Ok(answer)
    }

    fn broken(&self, error: reqwest::Error) -> Refusal {
        if error.is_timeout() {
            return Refusal::NoAnswer(self.answer_timeout);
        }
        // The causes say more than the error itself.
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        Refusal::Broken(without_token(&text, &self.secret))
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("url", &self.url).finish_non_exhaustive()
    }
}

fn wanted_pause(response: &Response) -> Option<Duration> {
    retry_after(response.headers(), SystemTime::now())
}

/// The pause that a server asks for, by `Retry-After` (seconds or a date) or else by `X-Ratelimit-Reset`; dates
/// count from the server's own, if it tells. `None` for whatever else these headers hold.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let date = |text: &str| OffsetDateTime::parse(text, &Rfc2822).ok();
    let now = text(&DATE).and_then(date).unwrap_or_else(|| OffsetDateTime::from(now));
    let until = |then: OffsetDateTime| Duration::try_from(then - now).unwrap_or_default();
    let by_header = text(&RETRY_AFTER).and_then(|after| match after.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => date(after).map(until),
    });
    let by_reset = || until_reset(text(&RESET)?.parse().ok()?, now.unix_timestamp());
    by_header.or_else(by_reset).map(|pause| pause.min(RETRY_AFTER_MAX))
}

/// How long until `X-Ratelimit-Reset`, at `now` in seconds since 1970. Its unit is written down nowhere: a span in
/// seconds, or a moment in seconds or milliseconds since 1970, whichever lies within [`RETRY_AFTER_MAX`]. `None` for
/// what fits none of them, and for a moment that is over: neither says that calls are possible.
fn until_reset(reset: i64, now: i64) -> Option<Duration> {
    let fits = |seconds: i64| {
        let span = Duration::from_secs(u64::try_from(seconds).ok()?);
        (!span.is_zero() && span <= RETRY_AFTER_MAX).then_some(span)
    };
    fits(reset).or_else(|| fits(reset.checked_sub(now)?)).or_else(|| fits((reset / 1_000).checked_sub(now)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(headers: &[(&HeaderName, &str)]) -> Option<u64> {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).clone(), HeaderValue::from_str(value).unwrap()))
            .collect::<HeaderMap>();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        retry_after(&headers, now).map(|pause| pause.as_secs())
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        assert_eq!(pause(&[(&RETRY_AFTER, "7")]), Some(7));
        assert_eq!(pause(&[(&RETRY_AFTER, "Sun, 06 Nov 1994 08:49:47 GMT")]), Some(10));
        assert_eq!(pause(&[(&RETRY_AFTER, "Sun, 06 Nov 1994 08:49:07 GMT")]), Some(0));
        let served = "Sun, 06 Nov 1994 09:49:37 GMT";
        let date = "Sun, 06 Nov 1994 09:49:42 GMT";
        assert_eq!(pause(&[(&RETRY_AFTER, date), (&DATE, served)]), Some(5));
        assert_eq!(pause(&[(&RESET, "784111780")]), Some(3));
        assert_eq!(pause(&[(&RETRY_AFTER, "1"), (&RESET, "784111780")]), Some(1));
        assert_eq!(pause(&[(&RESET, "784111780999")]), Some(3));
        assert_eq!(pause(&[(&RESET, "42")]), Some(42));
        // Over, far away, no number: nobody says when.
        for nonsense in
            ["784111777", "784111700", "799999999", "0", "-5", "60s", "1e3", "9223372036854775807", ""]
        {
            assert_eq!(pause(&[(&RESET, nonsense)]), None, "{nonsense}");
        }
        assert_eq!(pause(&[(&RETRY_AFTER, "99999999999")]), Some(RETRY_AFTER_MAX.as_secs()));
        for nonsense in ["", "soon", "-1", "1.5"] {
            assert_eq!(pause(&[(&RETRY_AFTER, nonsense)]), None, "{nonsense}");
        }
        assert_eq!(pause(&[]), None);
    }

    #[test]
    fn an_interface_says_what_is_wrong_with_it() {
        let new = |url: &str, token: &str| {
            Rest::new(url, token, Duration::from_secs(1), Duration::from_secs(1)).map(|rest| rest.url)
        };
        assert_eq!(new("https://finnhub.io/api/v1/", "t").unwrap(), "https://finnhub.io/api/v1");
        for url in ["", "finnhub.io", "wss://finnhub.io", "https://", "https://finnhub.io/?token=secret"] {
            let error = new(url, "t").unwrap_err();
            assert!(matches!(error, BadRest::NotAnAddress { .. }), "{url}: {error}");
            assert!(!error.to_string().contains("secret"));
        }
        for token in ["", "a\nb", "ä\u{7f}"] {
            assert_eq!(new("https://finnhub.io", token).unwrap_err(), BadRest::NotAToken);
        }
    }

    #[test]
    fn debug_text_is_silent_about_the_token() {
        let second = Duration::from_secs(1);
        let rest = Rest::new("https://finnhub.io", "secret", second, second).unwrap();
        assert!(!format!("{rest:?} {:?}", rest.token).contains("secret"));
    }
}
