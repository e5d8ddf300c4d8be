//! Where answers come from: the store of an instance that is stopped, or the pages of one that runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use reqwest::{Client, Url};
use serde::de::DeserializeOwned;
use tickgate_state::{OpenError, StoppedStore, StoreError, StoreIdentity, StoreOptions};
use tokio::runtime::Handle;

use super::{At, Failure};
use crate::config::Config;
use crate::model::{Partition, WallTime};
use crate::query::{
    self, Holder, PartitionState, Partitions, Question, RawQuestion, RawRows, Refused, Symbols,
};

/// Looking needs little memory.
const OPTIONS: StoreOptions =
    StoreOptions { block_cache_bytes: 16 << 20, write_buffer_bytes: 1 << 20, max_open_files: 256 };

/// Whoever answers.
pub(super) enum Source {
    Stopped(StoppedStore),
    Running(Instance),
}

/// A running instance.
pub(super) struct Instance {
    client: Client,
    address: Url,
}

impl Source {
    /// Opens the store, or finds the instance that has it open.
    pub(super) fn open(at: &At, config: &Config, timeout: Duration) -> Result<Self, Failure> {
        if let Some(address) = &at.http {
            return Instance::find(address, config, timeout).map(Self::Running);
        }
        let dir = at.state_dir.as_ref().unwrap_or(&config.process.state_dir);
        let identity = StoreIdentity {
            group: config.process.group.clone(),
            changelog: config.changelog(),
            cluster: String::new(),
        };
        match StoppedStore::open(dir, &identity, &OPTIONS) {
            Ok(store) => Ok(Self::Stopped(store)),
            Err(OpenError::Locked { .. }) => Self::running(dir, config, timeout),
            // Not this command's to mend, as a start of the instance would.
            Err(error @ OpenError::Damaged { .. }) => Err(Failure::breach(error)),
            Err(error) => Err(Failure::settings(error)),
        }
    }

    /// The instance that has the directory open, by the address that it wrote there.
    fn running(dir: &Path, config: &Config, timeout: Duration) -> Result<Self, Failure> {
        let told = dir.join("http");
        let address = fs::read_to_string(&told).map_err(|error| {
            Failure::settings(anyhow!(
                "the state directory `{}` is in use by a process whose address cannot be read from `{}` ({error}); \
                 ask the instance with `--http ADDRESS`, or stop it",
                dir.display(),
                told.display()
            ))
        })?;
        let found = Instance::find(address.trim(), config, timeout).map_err(|failure| Failure {
            exit: failure.exit,
            cause: failure.cause.context(format!(
                "the state directory `{}` is in use, and `{}` names the instance `{}`; name another one with \
                 `--http ADDRESS`, or stop it",
                dir.display(),
                told.display(),
                address.trim()
            )),
        })?;
        Ok(Self::Running(found))
    }

    /// Where each partition stands, in their order.
    pub(super) fn partitions(&self) -> Result<Vec<PartitionState>, Failure> {
        match self {
            Self::Stopped(store) => query::partitions(&store.snapshot(), stopped, WallTime::now().0)
                .map_err(|error| unreadable(&error)),
            Self::Running(instance) => {
                let found: Partitions = instance.ask(&["partitions"], &[])?;
                Ok(found.partitions)
            }
        }
    }

    /// A page of symbols.
    pub(super) fn symbols(&self, question: &Question) -> Result<Symbols, Failure> {
        match self {
            Self::Stopped(store) => query::symbols(&store.snapshot(), question, stopped, WallTime::now().0)
                .map_err(|error| unreadable(&error)),
            Self::Running(instance) => instance.ask(&["symbols"], &question.pairs()),
        }
    }

    /// A page of a partition's rows.
    pub(super) fn rows(&self, partition: Partition, question: &RawQuestion) -> Result<RawRows, Failure> {
        match self {
            Self::Stopped(store) => {
                query::rows(&store.snapshot(), partition, question, stopped, WallTime::now().0)
                    .map_err(|error| unreadable(&error))?
                    .ok_or_else(|| Failure::breach(anyhow!("partition {partition} has no position any more")))
            }
            Self::Running(instance) => {
                instance.ask(&["partitions", &partition.to_string(), "rows"], &question.pairs())
            }
        }
    }
}

impl Instance {
    /// The instance at the address, if it is the settings' group's.
    fn find(address: &str, config: &Config, timeout: Duration) -> Result<Self, Failure> {
        let text = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let is_base = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let address = Url::parse(&text).ok().filter(is_base).ok_or_else(|| {
            Failure::settings(anyhow!(
                "expected an instance's address as `127.0.0.1:9464`, found `{address}`"
            ))
        })?;
        let client = Client::builder()
            .timeout(timeout)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(Failure::settings)?;
        let instance = Self { client, address };
        let found: Partitions = instance.ask(&["partitions"], &[])?;
        let expected = &config.process.group;
        if found.group != *expected {
            return Err(Failure::settings(anyhow!(
                "`{}` is an instance of the group `{}`, expected `{expected}`; check `process.group` and the address",
                instance.address,
                found.group
            )));
        }
        Ok(instance)
    }

    fn ask<A: DeserializeOwned>(&self, path: &[&str], pairs: &[(&str, String)]) -> Result<A, Failure> {
        let mut url = self.address.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().push("v1").extend(path);
        }
        url.query_pairs_mut().extend_pairs(pairs);
        let asked = async {
            let answer = self.client.get(url.clone()).send().await?;
            Ok((answer.status().as_u16(), answer.bytes().await?))
        };
        let (status, body) = Handle::current().block_on(asked).map_err(|error: reqwest::Error| {
            let words = format!("the instance at `{}` does not answer; does it run there?", self.address);
            Failure::unreachable(anyhow::Error::new(error).context(words))
        })?;
        if status == 200 {
            let read = serde_json::from_slice(&body);
            return read
                .with_context(|| format!("`{url}` answers what no instance of this version does"))
                .map_err(Failure::settings);
        }
        let words = format!("`{url}` answers with status {status}");
        Err(match serde_json::from_slice::<Refused>(&body) {
            Ok(refused) if refused.status >= 500 => {
                Failure::breach(anyhow::Error::new(refused).context(words))
            }
            Ok(refused) => Failure::settings(anyhow::Error::new(refused).context(words)),
            Err(_) => Failure::settings(anyhow!(
                "{words}, expected the pages of an instance of `tickgate process`; check the address"
            )),
        })
    }
}

fn stopped(_: Partition) -> Holder {
    Holder::Stopped
}

fn unreadable(error: &StoreError) -> Failure {
    Failure::breach(anyhow!("the store cannot be read: {error}"))
}
