//! What every Kafka client of ours shares: its settings, its log, and the wait for brokers.
//!
//! What a consumer or producer needs beside that is set where it is made.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode,
};

use crate::config::KafkaConfig;
use crate::telemetry::rarely::{REMINDER_EVERY, Rarely};

/// How long one try to reach a broker may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// Each client says that all brokers are down at every try, many times a second.
static ALL_DOWN: Rarely = Rarely::every(REMINDER_EVERY);

/// A client that can't do its work.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// librdkafka refuses the settings.
    #[error("librdkafka refuses `[kafka.properties]`: {0}")]
    Settings(KafkaError),
    /// No broker answers.
    #[error("no broker of `{brokers}` answers ({cause}); check `kafka.brokers` and that they are up")]
    Unreachable {
        /// The addresses that were tried.
        brokers: String,
        /// librdkafka's last words.
        cause: KafkaError,
    },
}

/// The settings that every client starts from; `role` becomes part of its `client.id`, which is stable over
/// restarts. What the caller sets afterwards wins over `[kafka.properties]`.
pub fn base_config(kafka: &KafkaConfig, role: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    config
        .set("bootstrap.servers", kafka.bootstrap())
        .set("client.id", format!("tickgate-{role}"))
        // Brokers come back sooner than the default of 10 s expects.
        .set("reconnect.backoff.max.ms", "1000")
        // An idle connection that a broker closes is no news.
        .set("log.connection.close", "false");
    for (name, value) in kafka.properties.iter() {
        config.set(name, value);
    }
    // librdkafka refuses one below its session, which is 45 s where nobody sets it. Members set their own.
    if config.get("max.poll.interval.ms").is_some() {
        config.set("session.timeout.ms", "6000");
    }
    config
}

/// Sets properties that only bear on speed and memory, but for those that `[kafka.properties]` gave.
pub fn tune(config: &mut ClientConfig, tuning: &[(&str, &str)]) {
    for (name, value) in tuning {
        // librdkafka refuses fetches that are smaller than the largest message.
        let too_small = *name == "fetch.max.bytes" && config.get("message.max.bytes").is_some();
        if config.get(name).is_none() && !too_small {
            config.set(*name, *value);
        }
    }
}

/// Asks librdkafka whether the properties that are passed through exist and are legal.
pub fn check_properties(kafka: &KafkaConfig) -> Result<(), ClientError> {
    base_config(kafka, "check").create_native_config().map(drop).map_err(ClientError::Settings)
}

/// Waits until a broker answers, for as long as `goes_on` holds: it is asked after every failed try with
/// what went wrong, and may pause.
pub fn wait_for_brokers(
    kafka: &KafkaConfig,
    mut goes_on: impl FnMut(&ClientError) -> bool,
) -> Result<(), ClientError> {
    check_properties(kafka)?;
    let client: BaseConsumer<Logged> =
        base_config(kafka, "wait").create_with_context(Logged).map_err(ClientError::Settings)?;
    loop {
        let Err(cause) = client.client().fetch_metadata(None, TRY_TIMEOUT) else { return Ok(()) };
        let error = ClientError::Unreachable { brokers: kafka.bootstrap(), cause };
        if !goes_on(&error) {
            return Err(error);
        }
    }
}

/// How many partitions each of these topics has; none where it isn't there.
pub fn partition_counts(kafka: &KafkaConfig, topics: &[&String]) -> Result<Vec<Option<usize>>, KafkaError> {
    let client: BaseConsumer<Logged> = base_config(kafka, "wait").create_with_context(Logged)?;
    let metadata = client.client().fetch_metadata(None, TRY_TIMEOUT)?;
    let count = |name: &&String| {
        let known = metadata.topics().iter().find(|topic| topic.name() == name.as_str());
        known.map(|topic| topic.partitions().len())
    };
    Ok(topics.iter().map(count).collect())
}

/// Whether `error` means that brokers could not be reached, rather than that they refused.
pub fn is_unreachable(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    error.rdkafka_error_code().is_some_and(|code| {
        matches!(
            code,
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::OperationTimedOut
                | Code::MessageTimedOut
                | Code::RequestTimedOut
                | Code::Resolve
        )
    })
}

/// A context that does nothing but log.
#[derive(Debug, Clone, Copy)]
pub struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Logged {}

/// Brings a line of librdkafka's log into ours.
pub fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

/// Brings an error that belongs to no call into our log. A warning: librdkafka goes on by itself, and what
/// it can't mend comes back from a call.
pub fn log_error(error: &KafkaError, reason: &str) {
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
        return;
    }
    if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
        tracing::warn!(target: "librdkafka", "{error}: {reason}");
    } else if let Some(held_back) = ALL_DOWN.admit(Instant::now()) {
        tracing::warn!(target: "librdkafka", held_back, "{error}: {reason}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::journal::kafka::membership;

    fn kafka(environment: &[(&str, &str)]) -> KafkaConfig {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(None, environment).unwrap().kafka
    }

    #[test]
    fn properties_that_librdkafka_does_not_know_are_refused() {
        assert!(check_properties(&kafka(&[])).is_ok());
        let unknown = check_properties(&kafka(&[("TICKGATE_KAFKA__PROPERTIES__SASL_MECHANISMUS", "PLAIN")]));
        assert!(unknown.unwrap_err().to_string().contains("sasl.mechanismus"));
        let illegal = check_properties(&kafka(&[("TICKGATE_KAFKA__PROPERTIES__SECURITY_PROTOCOL", "paper")]));
        assert!(illegal.unwrap_err().to_string().contains("paper"));
    }

    #[test]
    fn members_may_be_deaf_for_less_than_librdkafkas_own_session() {
        let kafka = kafka(&[("TICKGATE_KAFKA__PROPERTIES__MAX_POLL_INTERVAL_MS", "6500")]);
        let consumer: Result<BaseConsumer, _> = base_config(&kafka, "test").create();
        assert!(consumer.is_ok(), "{:?}", consumer.err());
    }

    #[test]
    fn what_the_properties_give_is_not_tuned() {
        let tuned = |properties: &[(&str, &str)]| {
            let mut config = base_config(&kafka(properties), "test");
            tune(&mut config, &membership::TUNING);
            config
        };
        let config = tuned(&[("TICKGATE_KAFKA__PROPERTIES__QUEUED_MIN_MESSAGES", "7")]);
        assert_eq!(config.get("queued.min.messages"), Some("7"));
        assert_eq!(config.get("fetch.max.bytes"), Some("1048576"));
        let mut large = tuned(&[("TICKGATE_KAFKA__PROPERTIES__MESSAGE_MAX_BYTES", "5000000")]);
        assert!(large.create::<BaseConsumer>().is_ok());
        large.set("fetch.max.bytes", "1048576");
        assert!(large.create::<BaseConsumer>().is_err(), "then it need not be left out");
    }

    #[test]
    fn nobody_there_is_unreachable() {
        // Port 9 (discard) of the loopback: nothing listens there.
        let error = wait_for_brokers(&kafka(&[("TICKGATE_KAFKA__BROKERS", "127.0.0.1:9")]), |_| false);
        let error = error.unwrap_err();
        assert!(matches!(&error, ClientError::Unreachable { cause, .. } if is_unreachable(cause)), "{error}");
    }
}
