//! Asks the instances how they are, each by itself, so that one that hangs holds up none; and once, in pages, what they
//! remember of symbols: who fell silent before what is read of the topics begins is known to nobody else.

use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::board::Board;
use super::pipeline::Answer;
use super::samples::Samples;
use crate::query::{ANSWER_BYTES_MAX, Symbols, body_of};

/// How often.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Symbols that are asked for at a time, once a second.
const PAGE_SYMBOLS: usize = 5_000;
/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks all of them, for ever.
pub async fn watch_instances(board: &Board, addresses: &[String]) {
    let client = Client::builder().timeout(ANSWER_TIMEOUT).no_proxy().build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "the instances can't be asked");
            return;
        }
    };
    let each = addresses.iter().map(|address| watch(&client, board, address));
    futures_util::future::join_all(each).await;
}

async fn watch(client: &Client, board: &Board, address: &str) {
    let mut tick = tokio::time::interval(ASK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pages = Some(String::new());
    loop {
        tick.tick().await;
        let answer = ask(client, address).await;
        // Before it is ready, it may not have all of its state yet.
        let can_tell = answer.as_ref().is_ok_and(|told| told.instance.is_some() && told.awaited.is_none());
        board.told(address, answer);
        if let Some(cursor) = pages.as_deref().filter(|_| can_tell)
            && let Ok(Some(page)) = symbols(client, address, cursor).await
        {
            let has_room = board.remembered(&page.symbols);
            pages = page.next.filter(|_| has_room);
        }
    }
}

/// A page of what an instance remembers, from a cursor on; the first one from none.
async fn symbols(client: &Client, address: &str, cursor: &str) -> Result<Option<Symbols>, String> {
    let mut url = Url::parse(&format!("http://{address}/v1/symbols")).map_err(|error| error.to_string())?;
    url.query_pairs_mut().append_pair("limit", &PAGE_SYMBOLS.to_string());
    if !cursor.is_empty() {
        url.query_pairs_mut().append_pair("cursor", cursor);
    }
    json(client, address, &format!("/v1/symbols?{}", url.query().unwrap_or_default())).await
}

async fn ask(client: &Client, address: &str) -> Result<Answer, String> {
    let (_, ready) = get(client, address, "/readyz").await?;
    let (status, metrics) = get(client, address, "/metrics").await?;
    if status != StatusCode::OK {
        return Err(format!("`/metrics` answers {status}; is `{address}` an instance's `http` address?"));
    }
    let awaited = Some(ready.trim().to_owned()).filter(|text| text != "ready");
    Ok(Answer {
        samples: Samples::parse(&metrics),
        instance: json(client, address, "/v1/instance").await?,
        stores: json(client, address, "/v1/partitions").await?,
        awaited,
    })
}

/// What is there, if it is; other roles don't have it.
async fn json<T: DeserializeOwned>(client: &Client, address: &str, path: &str) -> Result<Option<T>, String> {
    let (status, text) = get(client, address, path).await?;
    Ok(serde_json::from_str(&text).ok().filter(|_| status == StatusCode::OK))
}

async fn get(client: &Client, address: &str, path: &str) -> Result<(StatusCode, String), String> {
    let answer = client.get(format!("http://{address}{path}")).send().await;
    let answer = answer.map_err(|error| words(&error))?;
    let status = answer.status();
    match body_of(answer).await.map_err(|error| words(&error))? {
        Some(bytes) => Ok((status, String::from_utf8_lossy(&bytes).into_owned())),
        None => Err(format!("`{path}` answers more than {ANSWER_BYTES_MAX} bytes")),
    }
}

/// The innermost cause, which says what happened.
fn words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {ANSWER_TIMEOUT:?}");
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
