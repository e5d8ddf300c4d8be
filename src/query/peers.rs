//! The other instances: who of them owns what this one has as a replica.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, Response, Url};

use super::addresses::{ADDRESSES_MAX, look_up};
use super::answer::{Holder, Refused, Symbols};
use super::question::{Cursor, Question};
use super::row::SymbolState;
use crate::model::Partition;

/// How long an instance may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of an answer at most: ten thousand symbols, however they are called, are no more.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Where the other instances answer.
#[derive(Debug, Clone)]
pub struct Peers {
    addresses: Vec<String>,
    partitions: Partition,
    client: Client,
}

impl Peers {
    /// `addresses` may hold this instance's own: it then answers what it has answered already. A name stands for all
    /// instances behind it. All of them together own so many `partitions`.
    pub fn new(addresses: Vec<String>, partitions: Partition) -> Self {
        let client = Client::builder().timeout(ANSWER_TIMEOUT).no_proxy().build().unwrap_or_default();
        Self { addresses, partitions, client }
    }

    /// The answer with each partition's part from its owner; `own` is this instance's part of it. Refused, with what is
    /// missing, where an owner does not answer.
    pub(super) async fn by_owners(&self, question: &Question, own: Symbols) -> Result<Symbols, Refused> {
        let mut answers = vec![own];
        if self.missing(question, &answers[0]).is_some() {
            let asked = self.addresses.iter().map(|name| self.ask_all(name, question));
            answers.extend(futures_util::future::join_all(asked).await.into_iter().flatten());
        }
        let merged = merge(answers, question.limit)?;
        let Some(missing) = self.missing(question, &merged) else { return Ok(merged) };
        let found = format!("none for partitions {missing}");
        let expected = "an answer of each owner; `process.peers` names the other instances";
        Err(Refused { status: 503, ..Refused::question("an owner does not answer", expected, found) })
    }

    /// The partitions that a page should have looked at and has not; none where there are none.
    fn missing(&self, question: &Question, page: &Symbols) -> Option<String> {
        let last = page.next.as_deref().and_then(|next| Cursor::read(next).ok());
        let last = last.map_or(self.partitions - 1, |next| next.partition);
        let first = question.after.as_ref().map_or(0, |after| after.partition);
        let wanted = (first..=last).filter(|at| question.partition.is_none_or(|only| only == *at));
        let has = |partition: &Partition| page.partitions.iter().any(|at| at.partition == *partition);
        let missing: Vec<String> = wanted.filter(|at| !has(at)).map(|at| at.to_string()).collect();
        (!missing.is_empty()).then(|| missing.join(", "))
    }

    /// All instances behind a name.
    async fn ask_all(&self, name: &str, question: &Question) -> Vec<Symbols> {
        let found = tokio::time::timeout(ANSWER_TIMEOUT, look_up(name)).await;
        let Ok(Ok(addresses)) = found else { return Vec::new() };
        let asked = addresses.into_iter().take(ADDRESSES_MAX).map(|address| self.ask(address, question));
        futures_util::future::join_all(asked).await.into_iter().flatten().collect()
    }

    async fn ask(&self, address: SocketAddr, question: &Question) -> Option<Symbols> {
        let mut url = Url::parse(&format!("http://{address}/v1/symbols")).ok()?;
        url.query_pairs_mut().extend_pairs(question.pairs());
        let answer = self.client.get(url).send().await.ok()?.error_for_status().ok()?;
        serde_json::from_slice(&body_of(answer).await.ok()??).ok()
    }
}

/// The body of an instance's answer; `None` where it is larger than [`ANSWER_BYTES_MAX`].
pub(crate) async fn body_of(mut answer: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Ok(None);
        }
    }
    Ok(Some(bytes))
}

/// One page of several owners' pages. Each of them has all of its rows up to its end, so that together they have all up
/// to the first of these ends. Of two that own the same partition, the first one is believed.
fn merge(answers: Vec<Symbols>, limit: usize) -> Result<Symbols, Refused> {
    let ends = answers.iter().filter_map(|answer| answer.next.as_deref()).map(Cursor::read);
    let mut end = ends.collect::<Result<Vec<_>, _>>()?.into_iter().min();
    let mut merged = Symbols { symbols: Vec::new(), partitions: Vec::new(), next: None };
    for answer in answers {
        for at in answer.partitions.into_iter().filter(|at| at.source == Holder::Owner) {
            if merged.partitions.iter().all(|known| known.partition != at.partition) {
                let rows = answer.symbols.iter().filter(|row| row.partition == at.partition);
                merged.symbols.extend(rows.cloned());
                merged.partitions.push(at);
            }
        }
    }
    let is_within =
        |row: &SymbolState, end: &Cursor| (row.partition, &row.symbol) <= (end.partition, &end.symbol);
    merged.symbols.retain(|row| end.as_ref().is_none_or(|end| is_within(row, end)));
    merged.symbols.sort_by(|a, b| (a.partition, &a.symbol).cmp(&(b.partition, &b.symbol)));
    if merged.symbols.len() > limit {
        merged.symbols.truncate(limit);
        end =
            merged.symbols.last().map(|row| Cursor { partition: row.partition, symbol: row.symbol.clone() });
    }
    merged.partitions.retain(|at| end.as_ref().is_none_or(|end| at.partition <= end.partition));
    merged.partitions.sort_by_key(|at| at.partition);
    merged.next = end.map(|end| end.to_text());
    Ok(merged)
}
