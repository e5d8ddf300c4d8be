//! The API: JSON over HTTP, described by `openapi.json`. Every answer is made from what is in memory, but for the
//! past of a symbol.

use std::fmt::Write as _;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use data_encoding::HEXLOWER;
use serde_json::json;

use super::bars::Range;
use super::board::Board;
use super::history::{History, history};
use super::market::Row;
use super::quality::{Minute, Rejected};
use super::{assets, stream};
use crate::model::{Level, Offset, Partition, WallTime};
use crate::query::{Pairs, Refused, answer, bad_path, bad_query, distinct, level_of, limit, shown, unknown};

/// Stale symbols that are listed with what else is of quality; `/v1/markets?level=` has all.
const STALE_MAX: usize = 1_000;
/// Rows of a page where none are asked for.
const LIMIT: usize = 100;

/// All routes but the health endpoints.
pub(super) fn routes(board: Board) -> Router {
    let nothing = || async {
        let expected = "a path of `/v1/openapi.json`, or `/`";
        answer::<()>(Err(Refused::absent("there is no such page", expected, "another path")))
    };
    Router::new()
        .route("/v1/status", get(async |State(board): State<Board>| axum::Json(board.status())))
        .route("/v1/markets", get(markets))
        .route("/v1/markets/{symbol}", get(market))
        .route("/v1/markets/{symbol}/history", get(past))
        .route("/v1/markets/{symbol}/history.csv", get(past_csv))
        .route("/v1/quality", get(quality))
        .route("/v1/quality/rejections", get(rejections))
        .route("/v1/pipeline", get(pipeline))
        .route("/v1/events", get(stream::events))
        .merge(assets::routes())
        .fallback(nothing)
        .with_state(board)
}

async fn markets(State(board): State<Board>, pairs: Pairs) -> Response {
    let read = || {
        let Query(pairs) = pairs.map_err(|error| bad_query(&error))?;
        MarketQuestion::read(&pairs)
    };
    answer(read().map(|question| {
        let market = board.market();
        let mut rows: Vec<Row> =
            market.rows(WallTime::now().0).filter(|row| question.calls_for(row)).collect();
        let version = market.version();
        drop(market);
        rows.sort_unstable_by(|a, b| a.symbol.cmp(&b.symbol));
        let more = rows.len() > question.limit;
        rows.truncate(question.limit);
        let next = rows.last().filter(|_| more).map(|row| HEXLOWER.encode(row.symbol.as_bytes()));
        json!({ "version": version, "symbols": rows, "next": next })
    }))
}

/// Which rows.
struct MarketQuestion {
    search: String,
    level: Option<Level>,
    limit: usize,
    after: Option<String>,
}

impl MarketQuestion {
    fn read(pairs: &[(String, String)]) -> Result<Self, Refused> {
        let mut question = Self { search: String::new(), level: None, limit: LIMIT, after: None };
        for (name, value) in distinct(pairs)? {
            match name {
                "search" => question.search = value.to_lowercase(),
                "level" => question.level = Some(level_of(value)?),
                "limit" => question.limit = limit(value)?,
                "cursor" => question.after = Some(cursor(value)?),
                _ => return Err(unknown(name, "`search`, `level`, `limit` or `cursor`")),
            }
        }
        Ok(question)
    }

    fn calls_for(&self, row: &Row) -> bool {
        self.after.as_ref().is_none_or(|after| row.symbol > *after)
            && self.level.is_none_or(|level| row.level == Some(level))
            && (self.search.is_empty() || row.symbol.to_lowercase().contains(&self.search))
    }
}

fn cursor(value: &str) -> Result<String, Refused> {
    let bytes = HEXLOWER.decode(value.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    bytes.ok_or_else(|| bad_cursor(value))
}

/// A cursor that is a record's place, `partition:offset`.
fn place(value: &str) -> Result<(Partition, Offset), Refused> {
    let parts = value.split_once(':');
    let place = parts.and_then(|(partition, offset)| Some((partition.parse().ok()?, offset.parse().ok()?)));
    place.ok_or_else(|| bad_cursor(value))
}

fn bad_cursor(value: &str) -> Refused {
    Refused::question("`cursor` is none", "the `next` of an earlier answer", shown(value))
}

async fn market(State(board): State<Board>, path: Result<Path<String>, PathRejection>) -> Response {
    let read = || {
        let Path(symbol) = path.map_err(|error| bad_path(&error))?;
        board.market().row(&symbol, WallTime::now().0).ok_or_else(|| absent(&symbol))
    };
    answer(read())
}

async fn past(
    State(board): State<Board>,
    path: Result<Path<String>, PathRejection>,
    pairs: Pairs,
) -> Response {
    answer(history_of(&board, path, pairs).await)
}

async fn past_csv(
    State(board): State<Board>,
    path: Result<Path<String>, PathRejection>,
    pairs: Pairs,
) -> Response {
    let history = match history_of(&board, path, pairs).await {
        Ok(history) => history,
        Err(refused) => return answer::<()>(Err(refused)),
    };
    let mut text = String::from("time,open,high,low,close,volume,quotes\n");
    for bar in &history.bars {
        let time = WallTime(bar.time * 1_000);
        let line = [bar.open, bar.high, bar.low, bar.close, bar.volume].map(|number| number.to_string());
        // Writing to a string does not fail.
        let _ = writeln!(text, "{time},{},{}", line.join(","), bar.quotes);
    }
    // A header's value, and a name on somebody's disk: nothing else of the symbol goes into it.
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = history.symbol.chars().map(|c| if is_plain(&c) { c } else { '_' }).take(80).collect();
    let file = format!("attachment; filename=\"{name}_{}.csv\"", history.range);
    ([(CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, file)], text)
        .into_response()
}

async fn history_of(
    board: &Board,
    path: Result<Path<String>, PathRejection>,
    pairs: Pairs,
) -> Result<History, Refused> {
    let Path(symbol) = path.map_err(|error| bad_path(&error))?;
    let Query(pairs) = pairs.map_err(|error| bad_query(&error))?;
    let mut range = Range::Day;
    for (name, value) in distinct(&pairs)? {
        let known = || Refused::question("`range` is none", "`1h`, `1d`, `3d` or `all`", shown(value));
        match name {
            "range" => range = Range::from_name(value).ok_or_else(known)?,
            _ => return Err(unknown(name, "`range`")),
        }
    }
    history(board, &symbol, range).await.ok_or_else(|| absent(&symbol))
}

fn absent(symbol: &str) -> Refused {
    let expected = "a symbol of `/v1/markets`";
    Refused::absent("there is no such symbol", expected, shown(symbol))
}

async fn quality(State(board): State<Board>) -> Response {
    let mut stale: Vec<Row> =
        board.market().rows(WallTime::now().0).filter(|row| row.level.is_some()).collect();
    let stale_count = stale.len();
    // Those first that come to another level.
    stale.sort_unstable_by_key(|row| (row.level, row.last_seen));
    stale.truncate(STALE_MAX);
    let quality = board.quality();
    let minutes: Vec<&Minute> = quality.minutes().collect();
    let events: Vec<_> = quality.events().take(LIMIT).collect();
    let feeds: Vec<_> = quality.silent_feeds().collect();
    answer(Ok(json!({
        "version": quality.version(),
        "rules": quality.rules(),
        "kinds": quality.kinds(),
        "minutes": minutes,
        "events": events,
        "silent_feeds": feeds,
        "stale": stale,
        "stale_count": stale_count,
    })))
}

async fn rejections(State(board): State<Board>, pairs: Pairs) -> Response {
    let read = || {
        let Query(pairs) = pairs.map_err(|error| bad_query(&error))?;
        let (mut rule, mut symbol, mut most, mut after) = (None, None, LIMIT, None);
        for (name, value) in distinct(&pairs)? {
            match name {
                "rule" => {
                    let known = crate::model::Rule::from_name(value);
                    let bad = || Refused::question("`rule` is none", "the name of a rule", shown(value));
                    rule = Some(known.ok_or_else(bad)?.name());
                }
                "symbol" => symbol = Some(value.to_owned()),
                "limit" => most = limit(value)?,
                "cursor" => after = Some(place(value)?),
                _ => return Err(unknown(name, "`rule`, `symbol`, `limit` or `cursor`")),
            }
        }
        let quality = board.quality();
        let is_meant = |one: &&Rejected| {
            rule.is_none_or(|rule| one.rules.iter().any(|broken| broken.rule == rule))
                && symbol.as_ref().is_none_or(|symbol| one.symbol == *symbol)
        };
        // New ones come before, and old ones go at the end: who asks for what is behind one that is gone has seen all.
        let is_before = |one: &&Rejected| after.is_some_and(|after| after != (one.partition, one.offset));
        let behind = quality.rejected().skip_while(is_before);
        let behind = behind.skip(usize::from(after.is_some()));
        let found: Vec<&Rejected> = behind.filter(is_meant).take(most + 1).collect();
        let shown = &found[..found.len().min(most)];
        let more = shown.last().filter(|_| found.len() > most);
        let next = more.map(|last| format!("{}:{}", last.partition, last.offset));
        Ok(json!({ "version": quality.version(), "rejections": shown, "next": next }))
    };
    answer(read())
}

async fn pipeline(State(board): State<Board>) -> Response {
    let pipeline = board.pipeline();
    answer(Ok(json!({
        "version": pipeline.version(),
        "instances": pipeline.instances(),
        "partitions": pipeline.partitions(),
    })))
}
