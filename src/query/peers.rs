//! The other instances: who of them owns what this one has as a replica.

use std::time::Duration;

use reqwest::{Client, Response, Url};

use super::answer::{Holder, Refused, Symbols};
use crate::model::Partition;

/// How long an instance may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of an answer at most; a page of symbols has no more.
pub(crate) const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Where the other instances answer.
#[derive(Debug, Clone)]
pub struct Peers {
    addresses: Vec<String>,
    client: Client,
}

impl Peers {
    /// `addresses` may hold this instance's own: it then answers what it has answered already.
    pub fn new(addresses: Vec<String>) -> Self {
        let client = Client::builder().timeout(ANSWER_TIMEOUT).no_proxy().build().unwrap_or_default();
        Self { addresses, client }
    }

    /// The same answer, with each partition's part from its owner. Refused, with what is missing, where an owner does
    /// not answer.
    pub(super) async fn by_owners(&self, symbol: &str, own: Symbols) -> Result<Symbols, Refused> {
        let replicas = |answer: &Symbols| -> Vec<Partition> {
            let others = answer.partitions.iter().filter(|at| at.source != Holder::Owner);
            others.map(|at| at.partition).collect()
        };
        if replicas(&own).is_empty() {
            return Ok(own);
        }
        let asked = self.addresses.iter().map(|address| self.ask(address, symbol));
        let answers = futures_util::future::join_all(asked).await;
        let merged = answers.into_iter().flatten().fold(own, merge);
        let missing = replicas(&merged);
        if missing.is_empty() {
            return Ok(merged);
        }
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let found = format!("none for partitions {}", missing.join(", "));
        let expected = "an answer of each owner; `process.peers` names the other instances";
        Err(Refused { status: 503, ..Refused::question("an owner does not answer", expected, found) })
    }

    async fn ask(&self, address: &str, symbol: &str) -> Option<Symbols> {
        let mut url = Url::parse(&format!("http://{address}/v1/symbols")).ok()?;
        url.query_pairs_mut().append_pair("symbol", symbol);
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

/// Takes from another's answer what that one owns, and this answer has not from its owner.
fn merge(mut mine: Symbols, theirs: Symbols) -> Symbols {
    for at in theirs.partitions.into_iter().filter(|at| at.source == Holder::Owner) {
        let known = mine.partitions.iter_mut().find(|known| known.partition == at.partition);
        match known {
            Some(known) if known.source == Holder::Owner => continue,
            Some(known) => known.clone_from(&at),
            None => mine.partitions.push(at.clone()),
        }
        mine.symbols.retain(|row| row.partition != at.partition);
        mine.symbols.extend(theirs.symbols.iter().filter(|row| row.partition == at.partition).cloned());
    }
    mine.partitions.sort_by_key(|at| at.partition);
    mine.symbols.sort_by_key(|row| row.partition);
    mine
}
