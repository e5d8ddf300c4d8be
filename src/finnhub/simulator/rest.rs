//! The simulated REST interface: `GET /api/v1/quote`, with the plan's limits, and faults for the next calls.
//!
//! Promises: calls are counted as they arrive, refused ones too; a symbol's quote is a function of the seed
//! and of its time, which advances every so often.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{Floor, Walk};

/// What the REST interface does to a call instead of answering it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum RestFault {
    /// 429, asking for a pause of so many seconds, as a number or as a date.
    Limited {
        /// Seconds; none leaves the header out.
        retry_after: Option<u64>,
        /// Whether as a date.
        #[serde(default)]
        as_date: bool,
    },
    /// Another status, and no quote.
    Status {
        /// The status.
        code: u16,
    },
    /// No answer at all.
    Stall,
    /// The right answer, late.
    Slow {
        /// How late.
        ms: u64,
    },
    /// An answer that is cut: not JSON.
    Malformed,
}

/// A fault, and for how many calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestFaults {
    /// What happens to them.
    #[serde(flatten)]
    pub fault: RestFault,
    /// The next so many calls.
    pub calls: u64,
}

/// How many calls a user may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// In any minute.
    pub per_minute: u32,
    /// In any second.
    pub per_second: u32,
}

/// What the REST interface has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RestCounts {
    /// Calls, refused ones too.
    pub calls: u64,
    /// Calls refused because there were too many, faults on demand not counted.
    pub limited: u64,
    /// Calls that a fault on demand befell.
    pub faulty: u64,
    /// The most calls within any second.
    pub busiest_second: u64,
    /// The most calls within any minute.
    pub busiest_minute: u64,
    /// Different quotes that were answered with, by symbol.
    pub quotes: BTreeMap<String, u64>,
}

/// What the calls of a simulator share.
#[derive(Debug, Default)]
pub(super) struct Desk {
    counts: RestCounts,
    faults: VecDeque<RestFaults>,
    /// When the calls of the last minute arrived, refused ones too.
    arrivals: VecDeque<Instant>,
    /// When the last calls that were not refused arrived, by user.
    allowed: BTreeMap<String, VecDeque<Instant>>,
    /// The time of each symbol's last quote, in seconds since 1970.
    last: BTreeMap<String, u64>,
}

impl Desk {
    pub(super) fn counts(&self) -> RestCounts {
        self.counts.clone()
    }

    pub(super) fn add(&mut self, faults: &[RestFaults]) {
        self.faults.extend(faults);
    }

    /// Takes a call in; the fault that befalls it, or whether it is one too many.
    fn arrive(&mut self, token: &str, limits: CallLimits, now: Instant) -> Fate {
        self.counts.calls += 1;
        let (minute, second) = enter(&mut self.arrivals, now);
        self.counts.busiest_minute = self.counts.busiest_minute.max(minute);
        self.counts.busiest_second = self.counts.busiest_second.max(second);
        if let Some(next) = self.faults.front_mut() {
            let fault = next.fault;
            next.calls = next.calls.saturating_sub(1);
            if next.calls == 0 {
                self.faults.pop_front();
            }
            self.counts.faulty += 1;
            return Fate::Fault(fault);
        }
        let allowed = self.allowed.entry(token.to_owned()).or_default();
        let (minute, second) = enter(allowed, now);
        if minute > u64::from(limits.per_minute) || second > u64::from(limits.per_second) {
            allowed.pop_back();
            self.counts.limited += 1;
            return Fate::Limited;
        }
        Fate::Answer
    }

    fn answer(&mut self, symbol: &str, time: u64) {
        if self.last.insert(symbol.to_owned(), time) != Some(time) {
            *self.counts.quotes.entry(symbol.to_owned()).or_default() += 1;
        }
    }
}

enum Fate {
    Answer,
    Limited,
    Fault(RestFault),
}

/// Notes an arrival; how many there were within the last minute and second, with it.
fn enter(arrivals: &mut VecDeque<Instant>, now: Instant) -> (u64, u64) {
    while arrivals.front().is_some_and(|at| now.duration_since(*at) >= Duration::from_mins(1)) {
        arrivals.pop_front();
    }
    arrivals.push_back(now);
    let recent = |at: &&Instant| now.duration_since(**at) < Duration::from_secs(1);
    (arrivals.len() as u64, arrivals.iter().rev().take_while(recent).count() as u64)
}

/// Answers until the simulator is dropped.
pub(super) async fn serve(listener: TcpListener, floor: Arc<Floor>) {
    let router = Router::new().route("/api/v1/quote", get(quote)).with_state(floor);
    // It ends with the simulator's tasks only.
    let _ = axum::serve(listener, router).await;
}

#[derive(Deserialize)]
struct Asked {
    symbol: Option<String>,
    token: Option<String>,
}

async fn quote(State(floor): State<Arc<Floor>>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let in_header = headers.get("x-finnhub-token").and_then(|token| token.to_str().ok());
    let token = in_header.or(asked.token.as_deref()).unwrap_or_default();
    let fate = floor.desk().arrive(token, floor.settings.call_limits, Instant::now());
    if token.is_empty() {
        return refused(StatusCode::UNAUTHORIZED, "Please use an API key.");
    }
    let fault = match fate {
        Fate::Answer => None,
        Fate::Limited => Some(RestFault::Limited { retry_after: Some(1), as_date: false }),
        Fate::Fault(fault) => Some(fault),
    };
    let symbol = asked.symbol.unwrap_or_default();
    match fault {
        None => json(&floor, &symbol, false),
        Some(RestFault::Malformed) => json(&floor, &symbol, true),
        Some(RestFault::Slow { ms }) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            json(&floor, &symbol, false)
        }
        Some(RestFault::Stall) => std::future::pending().await,
        Some(RestFault::Status { code }) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            refused(status, "on demand")
        }
        Some(RestFault::Limited { retry_after, as_date }) => limited(retry_after, as_date),
    }
}

fn json(floor: &Floor, symbol: &str, is_cut: bool) -> Response {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let every = floor.settings.quote_every.as_secs().max(1);
    let time = now / every * every;
    let is_known = floor.index.contains_key(symbol);
    let mut text = if is_known {
        written(floor.settings.seed, symbol, time)
    } else {
        r#"{"c":0,"d":null,"dp":null,"h":0,"l":0,"o":0,"pc":0,"t":0}"#.to_owned()
    };
    if is_cut {
        text.truncate(text.len() / 2);
    } else if is_known {
        floor.desk().answer(symbol, time);
    }
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

/// A symbol's quote at a time, in seconds since 1970.
fn written(seed: u64, symbol: &str, time: u64) -> String {
    let mixed = crate::model::fnv1a(format!("{seed} {symbol} {time}").as_bytes());
    let price = Walk::new(mixed, &[symbol.to_owned()]).next_tick().price_text();
    format!(
        r#"{{"c":{price},"d":0.1,"dp":0.05,"h":{price},"l":{price},"o":{price},"pc":{price},"t":{time}}}"#
    )
}

fn refused(status: StatusCode, words: &str) -> Response {
    (status, axum::Json(serde_json::json!({ "error": words }))).into_response()
}

fn limited(retry_after: Option<u64>, as_date: bool) -> Response {
    let mut response = refused(
        StatusCode::TOO_MANY_REQUESTS,
        "API limit reached. Please try again later. Remaining Limit: 0",
    );
    let now = OffsetDateTime::now_utc();
    let mut set = |name, text: String| {
        if let Ok(value) = text.parse() {
            response.headers_mut().insert(name, value);
        }
    };
    if let Some(seconds) = retry_after {
        let until = now + Duration::from_secs(seconds);
        set(RETRY_AFTER, if as_date { http_date(until) } else { seconds.to_string() });
        set(DATE, http_date(now));
    }
    response
}

fn http_date(at: OffsetDateTime) -> String {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    at.format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::Change;
    use super::*;

    #[test]
    fn calls_beyond_the_limits_are_refused_and_counted() {
        let (mut desk, began) = (Desk::default(), Instant::now());
        let limits = CallLimits { per_minute: 5, per_second: 2 };
        let mut arrive = |user: &str, ms| match desk.arrive(user, limits, began + Duration::from_millis(ms)) {
            Fate::Answer => "answer",
            Fate::Limited => "limited",
            Fate::Fault(_) => "fault",
        };
        assert_eq!([arrive("a", 0), arrive("a", 10), arrive("a", 20)], ["answer", "answer", "limited"]);
        assert_eq!(arrive("b", 30), "answer");
        assert_eq!([arrive("a", 1_100), arrive("a", 2_200), arrive("a", 3_300)], ["answer"; 3]);
        assert_eq!([arrive("a", 59_999), arrive("a", 60_000)], ["limited", "answer"]);
        let counts = desk.counts();
        assert_eq!((counts.calls, counts.limited, counts.busiest_second), (9, 2, 4));
    }

    #[test]
    fn faults_are_told_in_json() {
        let told = r#"{"rest":[{"fault":"limited","retry_after":2,"calls":1},{"fault":"stall","calls":3}]}"#;
        let change: Change = serde_json::from_str(told).unwrap();
        let limited = RestFault::Limited { retry_after: Some(2), as_date: false };
        let expected =
            [RestFaults { fault: limited, calls: 1 }, RestFaults { fault: RestFault::Stall, calls: 3 }];
        assert_eq!(change.rest, expected);
        assert!(serde_json::from_str::<Change>(r#"{"rest":[{"fault":"none","calls":1}]}"#).is_err());
    }

    #[test]
    fn a_quote_is_a_function_of_the_seed_and_its_time() {
        assert_eq!(written(1, "AAPL", 60), written(1, "AAPL", 60));
        assert_ne!(written(1, "AAPL", 60), written(2, "AAPL", 60));
        assert_ne!(written(1, "AAPL", 60), written(1, "AAPL", 120));
        assert!(serde_json::from_str::<serde_json::Value>(&written(1, "AAPL", 60)).is_ok());
    }
}
