//! Asks the instances how they are, each by itself, so that one that hangs holds up none; and, in pages, what they
//! remember of the symbols of their partitions: who fell silent before what is read of the topics begins is known to
//! nobody else, and who was removed a moment ago only to the owner.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::board::Board;
use super::pipeline::Answer;
use super::samples::Samples;
use crate::query::{ADDRESSES_MAX, ANSWER_BYTES_MAX, Symbols, body_of, look_up};

/// How often.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Symbols that are asked for at a time, once a second.
const PAGE_SYMBOLS: usize = 5_000;
/// After so long, partitions that nobody owns who is asked are told of by who has a copy.
const ORPHANS_AFTER: Duration = Duration::from_secs(30);
/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a name is looked up.
const LOOK_UP_EVERY: Duration = Duration::from_secs(10);
/// An address that its name has not had for so long is not asked any more.
const GONE_AFTER: Duration = Duration::from_mins(1);

/// Asks all of them, for ever. A name stands for all addresses that it has at the time, each of them an instance.
pub async fn watch_instances(board: &Board, addresses: &[String]) {
    let client = Client::builder().timeout(ANSWER_TIMEOUT).no_proxy().build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "the instances can't be asked");
            return;
        }
    };
    let each = addresses.iter().map(|address| follow(&client, board, address));
    futures_util::future::join_all(each).await;
}

/// Asks whoever is behind a name with a port.
async fn follow(client: &Client, board: &Board, name: &str) {
    let mut tick = tokio::time::interval(LOOK_UP_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut behind = Behind::default();
    let mut is_told = false;
    let mut asking: BTreeMap<SocketAddr, JoinHandle<()>> = BTreeMap::new();
    loop {
        tick.tick().await;
        match look_up(name).await {
            Ok(addresses) => {
                // The row that said that the name has no address, and no instance's own.
                if std::mem::take(&mut is_told) {
                    board.forget(name);
                }
                let (new, gone) = behind.found(&addresses, Instant::now());
                for address in new {
                    let (client, board) = (client.clone(), board.clone());
                    let watching = async move { watch(&client, &board, &address.to_string()).await };
                    asking.insert(address, tokio::spawn(watching));
                }
                for address in gone {
                    if let Some(asking) = asking.remove(&address) {
                        asking.abort();
                        // Its last answer may be on its way to the board.
                        let _ = asking.await;
                    }
                    board.forget(&address.to_string());
                }
            }
            // Those that are known say themselves how they are.
            Err(_) if !asking.is_empty() => {}
            Err(error) => {
                is_told = true;
                board.told(name, Err(error));
            }
        }
    }
}

/// The addresses of a name, and when each was last one of them.
#[derive(Debug, Default)]
struct Behind(BTreeMap<SocketAddr, Instant>);

impl Behind {
    /// Takes in an answer; the addresses that are to be asked from now on, and those that are not any more.
    fn found(
        &mut self,
        addresses: &BTreeSet<SocketAddr>,
        now: Instant,
    ) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let is_gone = |seen: &Instant| now.duration_since(*seen) > GONE_AFTER;
        let mut new = Vec::new();
        for address in addresses {
            let has_room = self.0.len() < ADDRESSES_MAX || self.0.contains_key(address);
            if has_room && self.0.insert(*address, now).is_none() {
                new.push(*address);
            }
        }
        let gone = self.0.iter().filter(|(_, seen)| is_gone(seen)).map(|(address, _)| *address).collect();
        self.0.retain(|_, seen| !is_gone(seen));
        (new, gone)
    }
}

async fn watch(client: &Client, board: &Board, address: &str) {
    let mut tick = tokio::time::interval(ASK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut pages, mut asked_of) = (None, BTreeSet::new());
    // Where not all instances are listed, a copy says more than nobody.
    let mut orphans_at = Some(Instant::now() + ORPHANS_AFTER);
    let mut is_copy = false;
    loop {
        tick.tick().await;
        let answer = ask(client, address).await;
        // Before it is ready, it may not have all of its state yet.
        let told = answer.as_ref().ok().filter(|told| told.instance.is_some() && told.awaited.is_none());
        let can_tell = told.is_some();
        if let Some(told) = told {
            let before = asked_of.len();
            asked_of.extend(told.owned());
            // What it has taken over may be what nobody has been asked for.
            if asked_of.len() > before {
                (pages, is_copy) = (Some(String::new()), false);
            } else if pages.is_none() && orphans_at.take_if(|at| *at <= Instant::now()).is_some() {
                (pages, is_copy) = (Some(String::new()), true);
            }
        }
        board.told(address, answer);
        if let Some(cursor) = pages.as_deref().filter(|_| can_tell)
            && let Ok(Some(mut page)) = symbols(client, address, cursor, is_copy).await
        {
            if is_copy {
                let orphans = board.pipeline().orphans();
                page.symbols.retain(|symbol| orphans.contains(&symbol.partition));
            }
            let has_room = board.remembered(&page.symbols);
            pages = page.next.filter(|_| has_room);
        }
    }
}

/// A page of what an instance remembers of the partitions that it owns, or has a copy of too, from a cursor on; the first
/// one from none.
async fn symbols(
    client: &Client,
    address: &str,
    cursor: &str,
    is_copy: bool,
) -> Result<Option<Symbols>, String> {
    let mut url = Url::parse(&format!("http://{address}/v1/symbols")).map_err(|error| error.to_string())?;
    let source = if is_copy { "any" } else { "owner" };
    url.query_pairs_mut().append_pair("source", source).append_pair("limit", &PAGE_SYMBOLS.to_string());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(last: &[u8]) -> BTreeSet<SocketAddr> {
        last.iter().map(|last| SocketAddr::from(([10, 0, 0, *last], 9464))).collect()
    }

    #[test]
    fn a_name_stands_for_all_its_addresses_for_as_long_as_it_has_them() {
        let (mut behind, start) = (Behind::default(), Instant::now());
        let mut at = |seconds, last: &[u8]| {
            let (new, gone) = behind.found(&addresses(last), start + Duration::from_secs(seconds));
            [new, gone].map(|some| some.into_iter().collect::<BTreeSet<_>>())
        };
        assert_eq!(at(0, &[1, 2, 3]), [addresses(&[1, 2, 3]), addresses(&[])]);
        assert_eq!(at(10, &[3, 2]), [addresses(&[]), addresses(&[])]);
        // One that is away for a moment is asked on: it says that it is down.
        assert_eq!(at(20, &[1, 2]), [addresses(&[]), addresses(&[])]);
        assert_eq!(at(71, &[1, 4]), [addresses(&[4]), addresses(&[3])]);
        assert_eq!(at(90, &[1, 4, 3]), [addresses(&[3]), addresses(&[2])]);
        let many: Vec<u8> = (0..=255).collect();
        assert_eq!(at(91, &many)[0].len(), ADDRESSES_MAX - 3, "three are asked already");
    }
}
