//! Creates, changes and describes the topics: staging, `stock_data`, `bad_data`, the changelog, and the sink's
//! dead letters.
//!
//! The promise: applying twice changes nothing the second time, settings of a topic that aren't ours stay as
//! they are, and nothing is done that would lose records or move a symbol to another partition while the
//! group's state and place depend on it. Replicas are never moved: that deviation is only told.

mod admin;
mod describe;
mod layout;
mod plan;

use std::time::Duration;

use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};

use self::{
    admin::Admin,
    plan::{Found, plan},
};
pub use self::{
    describe::{Described, DescribedPartition},
    layout::{TOPICS, Wanted, layout},
    plan::{Refusal, SettingChange, Step},
};
use super::client::{ClientError, is_unreachable};
use crate::config::Config;

/// Topics can't be changed or described.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// No broker, or settings that no client can be made of.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What is wanted would lose or split something; nothing was changed.
    #[error("{}", listed(.0))]
    Refused(Vec<Refusal>),
    /// The brokers won't do it.
    #[error("can't {doing}: the brokers answer `{code}`")]
    Broker {
        /// What was asked.
        doing: String,
        /// Their answer.
        code: RDKafkaErrorCode,
    },
    /// A request failed.
    #[error("can't {doing}: {cause}")]
    Request {
        /// What was asked.
        doing: String,
        /// librdkafka's words.
        cause: KafkaError,
    },
    /// The brokers answer, but what they have to do first isn't done in time.
    #[error("`{of}` did not show {awaited} within the timeout; is a broker down?")]
    NotInTime {
        /// The topic or group.
        of: String,
        /// What was waited for.
        awaited: String,
    },
}

impl TopicsError {
    /// Whether it would go away with brokers that answer.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Client(ClientError::Unreachable { .. }) | Self::NotInTime { .. } => true,
            Self::Client(ClientError::Settings(_)) | Self::Refused(_) => false,
            Self::Broker { code, .. } => is_unreachable(&KafkaError::AdminOp(*code)),
            Self::Request { cause, .. } => is_unreachable(cause),
        }
    }
}

/// Makes the topics what the settings say, and says what was done, in the order staging, `stock_data`,
/// `bad_data`, changelog, dead letters. It returns when every partition has a leader.
pub async fn apply(config: &Config, timeout: Duration) -> Result<Vec<Step>, TopicsError> {
    let admin = Admin::connect(&config.kafka, timeout)?;
    let wanted = layout(config);
    let (found, steps) = look(&admin, &wanted, &config.process.group).await?;
    let is_created_by_us = admin.create(&wanted, &steps).await?;
    let is_grown_by_us = admin.add_partitions(&steps).await?;
    admin.wait_for_leaders(&wanted, &steps).await?;
    if is_created_by_us && is_grown_by_us {
        admin.alter(&wanted, &found, &steps).await?;
    } else {
        // Somebody else was faster, or a request that got no answer was sent twice: look at what is there.
        let (found, rest) = look(&admin, &wanted, &config.process.group).await?;
        admin.alter(&wanted, &found, &rest).await?;
    }
    Ok(steps)
}

/// Says what the topics are, and where they aren't what the settings say.
pub async fn describe(config: &Config, timeout: Duration) -> Result<Vec<Described>, TopicsError> {
    let admin = Admin::connect(&config.kafka, timeout)?;
    let wanted = layout(config);
    let found = admin.find(&wanted).await?;
    Ok(wanted.iter().zip(found).map(|(wanted, found)| describe::describe(wanted, found)).collect())
}

async fn look(
    admin: &Admin<'_>,
    wanted: &[Wanted; TOPICS],
    group: &str,
) -> Result<([Option<Found>; TOPICS], Vec<Step>), TopicsError> {
    let found = admin.find(wanted).await?;
    let grows = found.iter().flatten().any(|found| found.count() < wanted[0].partitions);
    let has_committed = match &found[0] {
        Some(staging) if grows => admin.has_committed(group, &wanted[0].name, staging.count()).await?,
        _ => false,
    };
    let steps = plan(wanted, &found, group, has_committed).map_err(TopicsError::Refused)?;
    Ok((found, steps))
}

fn listed(refusals: &[Refusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}
