//! What a long-running role waits for before it can work.

use std::time::Duration;

use super::{Failure, Shutdown};
use crate::config::Config;
use crate::journal::kafka::appender::{TopicError, check_topic};
use crate::telemetry::health::Readiness;

/// How often the brokers are asked for a topic that is not there.
const TOPIC_PAUSE: Duration = Duration::from_secs(1);

/// Waits until brokers answer and have the topics; `false` when told to stop first. What it waits for is shown
/// as that part of readiness, and told once.
pub(super) fn wait_for_topics(
    config: &Config,
    topics: [&str; 2],
    part: &str,
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> Result<bool, Failure> {
    let mut said = String::new();
    for topic in topics {
        loop {
            match check_topic(config, topic) {
                Ok(()) => break,
                Err(TopicError::Client(error)) => return Err(Failure::settings(error)),
                Err(error) => {
                    let words = format!("topic `{topic}`: {error}");
                    readiness.awaits(part, &words);
                    if said != words {
                        tracing::warn!("waits for {words}");
                        said = words;
                    }
                }
            }
            if shutdown.wait(TOPIC_PAUSE) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
