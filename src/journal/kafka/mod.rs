//! Topics on real Kafka, by librdkafka.

pub mod client;
