//! The HTTP pages: `/v1/symbols/{symbol}`, `/v1/symbols`, `/v1/partitions`, `/v1/partitions/{partition}/rows`, and
//! `/v1/openapi.json`, which describes them.
//!
//! The store blocks, so it is read on threads of its own, few at a time: a crowd that asks waits for itself, not the
//! runtime, and holds up no worker.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tickgate_state::{Snapshot, Store, StoreError};
use tokio::sync::Semaphore;

use super::answer::{Holder, Partitions, Refused, Symbols};
use super::peers::Peers;
use super::question::{Question, RawQuestion, distinct, is_owner, partition, shown, unknown};
use super::read;
use crate::model::{Partition, WallTime};
use crate::telemetry::instance::InstanceView;

/// Questions that read the store at the same time.
const AT_ONCE_MAX: usize = 2;
/// Describes the pages, and `/v1/instance`, which is beside them.
const DESCRIPTION: &str = include_str!("openapi.json");
/// The phase of a partition whose state is its owner's.
const RUNNING: &str = "running";
/// The parameter that says whose state is wanted.
const CONSISTENCY: &str = "consistency";

/// What the questions are about. Clones are the same.
#[derive(Clone)]
pub struct Asked {
    store: Arc<Store>,
    instance: InstanceView,
    group: String,
    peers: Peers,
    turns: Arc<Semaphore>,
}

impl Asked {
    /// The store of an instance, what it works on, and the other instances.
    pub fn new(store: Arc<Store>, instance: InstanceView, peers: Peers) -> Self {
        let group = instance.snapshot().group;
        Self { store, instance, group, peers, turns: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }

    /// Reads one snapshot on a thread that may block.
    async fn read<A: Send + 'static>(
        self,
        question: impl FnOnce(&Snapshot<'_>, &dyn Fn(Partition) -> Holder, i64) -> Result<A, StoreError>
        + Send
        + 'static,
    ) -> Result<A, Refused> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let reading = tokio::task::spawn_blocking(move || {
            // Held here, as the thread goes on when nobody waits for its answer any more.
            let _turn = turn;
            let owned = self.owned();
            let holder = |partition| if owned.contains(&partition) { Holder::Owner } else { Holder::Replica };
            question(&self.store.snapshot(), &holder, WallTime::now().0)
        });
        match reading.await {
            Ok(answer) => answer.map_err(|error| {
                tracing::error!(%error, "a question about the state could not be answered");
                Refused::store(&error)
            }),
            Err(_) => Err(Refused { status: 500, ..Refused::question("no answer", "an answer", "a defect") }),
        }
    }

    /// The answer from what is here, or from each partition's owner.
    async fn find(self, mut question: Question, from_owners: bool) -> Result<Symbols, Refused> {
        question.is_owned |= from_owners;
        let (here, peers) = (question.clone(), self.peers.clone());
        let own =
            self.read(move |snapshot, holder, now_ms| read::symbols(snapshot, &here, holder, now_ms)).await?;
        if from_owners { peers.by_owners(&question, own).await } else { Ok(own) }
    }

    fn owned(&self) -> Vec<Partition> {
        let instance = self.instance.snapshot();
        let partitions = instance.workers.values().flat_map(|worker| &worker.partitions);
        partitions.filter(|(_, view)| view.phase == RUNNING).map(|(partition, _)| *partition).collect()
    }
}

/// The pages, to be served beside others.
pub fn routes(asked: Asked) -> Router {
    Router::new()
        .route("/v1/symbols/{symbol}", get(symbol))
        .route("/v1/symbols", get(symbols))
        .route("/v1/partitions", get(partitions))
        .route("/v1/partitions/{partition}/rows", get(rows))
        .route("/v1/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], DESCRIPTION)))
        .with_state(asked)
}

/// A query string's names and values, as axum reads them.
pub(crate) type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;

async fn symbol(
    State(asked): State<Asked>,
    path: Result<Path<String>, PathRejection>,
    pairs: Pairs,
) -> Response {
    answer(one_symbol(asked, path, pairs).await)
}

async fn one_symbol(
    asked: Asked,
    path: Result<Path<String>, PathRejection>,
    pairs: Pairs,
) -> Result<Symbols, Refused> {
    let Path(name) = path.map_err(|error| bad_path(&error))?;
    let Query(mut pairs) = pairs.map_err(|error| bad_query(&error))?;
    let from_owners = take_consistency(&mut pairs)?;
    if let Some((name, _)) = pairs.first() {
        return Err(unknown(name, "`consistency`"));
    }
    let mut answer = asked.find(Question::of(&name), from_owners).await?;
    if answer.symbols.is_empty() {
        let held = answer.partitions.len();
        let found = format!("no row of {} in the {held} partitions with state here", shown(&name));
        return Err(Refused::absent("there is no such symbol", "a symbol that has been accepted", found));
    }
    answer.partitions.retain(|at| answer.symbols.iter().any(|row| row.partition == at.partition));
    Ok(answer)
}

/// Takes `consistency` out of the pairs: whether the newest state is asked for, and not the nearest.
fn take_consistency(pairs: &mut Vec<(String, String)>) -> Result<bool, Refused> {
    let mut from_owners = false;
    for (name, value) in distinct(pairs)? {
        if name == CONSISTENCY {
            from_owners = is_owner(name, value)?;
        }
    }
    pairs.retain(|(name, _)| name != CONSISTENCY);
    Ok(from_owners)
}

async fn symbols(State(asked): State<Asked>, pairs: Pairs) -> Response {
    answer(page_of_symbols(asked, pairs).await)
}

async fn page_of_symbols(asked: Asked, pairs: Pairs) -> Result<Symbols, Refused> {
    let Query(mut pairs) = pairs.map_err(|error| bad_query(&error))?;
    let from_owners = take_consistency(&mut pairs)?;
    asked.find(Question::read(&pairs)?, from_owners).await
}

async fn partitions(State(asked): State<Asked>) -> Response {
    let group = asked.group.clone();
    let partitions = asked.read(|snapshot, holder, now_ms| read::partitions(snapshot, holder, now_ms)).await;
    answer(partitions.map(|partitions| Partitions { group, partitions }))
}

async fn rows(
    State(asked): State<Asked>,
    path: Result<Path<String>, PathRejection>,
    pairs: Pairs,
) -> Response {
    let question = || {
        let Path(number) = path.map_err(|error| bad_path(&error))?;
        let Query(pairs) = pairs.map_err(|error| bad_query(&error))?;
        Ok((partition(&number)?, RawQuestion::read(&pairs)?))
    };
    let (number, question) = match question() {
        Ok(question) => question,
        Err(refused) => return answer::<()>(Err(refused)),
    };
    let page = asked
        .read(move |snapshot, holder, now_ms| read::rows(snapshot, number, &question, holder, now_ms))
        .await;
    answer(page.and_then(|page| {
        page.ok_or_else(|| {
            let found = format!("partition {number} without any state here");
            Refused::absent("there is no such partition", "one of `/v1/partitions`", found)
        })
    }))
}

/// An answer in JSON, or the refusal with its status.
pub(crate) fn answer<A: Serialize>(answer: Result<A, Refused>) -> Response {
    match answer {
        Ok(answer) => Json(answer).into_response(),
        Err(refused) => {
            let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, Json(refused)).into_response()
        }
    }
}

/// A path that is not UTF-8.
pub(crate) fn bad_path(error: &PathRejection) -> Refused {
    Refused::question("the path cannot be read", "UTF-8, percent-encoded", error.body_text())
}

/// A query string that is none.
pub(crate) fn bad_query(error: &QueryRejection) -> Refused {
    Refused::question("the query cannot be read", "`name=value` pairs, percent-encoded", error.body_text())
}
