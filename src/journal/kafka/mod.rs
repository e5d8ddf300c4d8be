//! Topics on real Kafka, by librdkafka.
