//! Topics on real Kafka, by librdkafka.

use std::time::Duration;

use crate::model::Offset;

pub mod appender;
pub mod changelog;
pub mod client;
pub mod dead_letters;
mod empty_handed;
mod endless;
pub mod follower;
pub mod headers;
pub mod lease;
pub mod membership;
pub mod owners;
pub mod producer;
pub mod tail;
pub mod topics;

/// Bound on one request.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a partition's log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicEnds {
    /// First offset still there.
    pub start: Offset,
    /// Everything below is committed or aborted.
    pub last_stable: Offset,
    /// Everything below is replicated.
    pub high_watermark: Offset,
}
