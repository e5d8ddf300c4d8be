//! The events of `bad_data`, read as anybody would.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::Headers,
};
use serde_json::Value;

use crate::{
    cluster::{Settings, cluster},
    gate::PATIENCE,
};

/// An event of `bad_data`.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub kind: String,
    /// Its key: a symbol, or a class.
    pub symbol: String,
    pub value: Value,
}

/// Reads the events of the first partitions of `bad_data`, committed messages only, from their start.
pub struct BadData {
    consumer: BaseConsumer,
    pub told: Vec<Told>,
}

impl BadData {
    /// Of a topic with one partition.
    pub fn of(settings: &Settings) -> Self {
        Self::of_partitions(settings, 1)
    }

    pub fn of_partitions(settings: &Settings, partitions: i32) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", cluster().bootstrap())
            .set("group.id", "nobody")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let mut from = TopicPartitionList::new();
        for partition in 0..partitions {
            from.add_partition_offset(&settings.topic("bad_data"), partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&from).unwrap();
        Self { consumer, told: Vec::new() }
    }

    /// What has been told of `symbol`, read on until that is `count` events or more.
    pub fn wait_told(&mut self, symbol: &str, count: usize) -> Vec<Told> {
        let of_symbol = |told: &Told| told.symbol == symbol;
        self.wait_all(count, of_symbol)
    }

    /// The events that are meant, read on until they are `count` or more.
    pub fn wait_all(&mut self, count: usize, is_meant: impl Fn(&Told) -> bool) -> Vec<Told> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let meant: Vec<Told> = self.told.iter().filter(|told| is_meant(told)).cloned().collect();
            if meant.len() >= count {
                return meant;
            }
            assert!(Instant::now() < deadline, "{count} events expected, found {:#?}", self.told);
            self.read(Duration::from_millis(100));
        }
    }

    /// What has been told of `symbol` by now.
    pub fn told(&mut self, symbol: &str) -> Vec<Told> {
        while self.read(Duration::from_secs(5)) {}
        self.wait_told(symbol, 0)
    }

    /// Reads one message; false at an end. What is no event is passed over.
    fn read(&mut self, wait: Duration) -> bool {
        let message = match self.consumer.poll(wait) {
            // A broker may learn late of a topic that was just made.
            Some(Err(
                KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition)
                | KafkaError::PartitionEOF(_),
            ))
            | None => return false,
            Some(message) => message.unwrap(),
        };
        let headers: Vec<_> = message.headers().unwrap().iter().collect();
        if headers.iter().any(|header| header.key == "tg-src") {
            return true;
        }
        assert_eq!(headers.len(), 1, "an event has one header: {headers:?}");
        assert_eq!(headers[0].key, "tg-kind");
        self.told.push(Told {
            kind: String::from_utf8(headers[0].value.unwrap().to_vec()).unwrap(),
            symbol: String::from_utf8(message.key().unwrap().to_vec()).unwrap(),
            value: serde_json::from_slice(message.payload().unwrap()).unwrap(),
        });
        true
    }
}
