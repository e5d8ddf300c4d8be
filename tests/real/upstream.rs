//! A producer before one of our topics that has a transaction open.

use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _},
};

use crate::{cluster::Settings, feed::Sent, gate::PATIENCE};

/// An open transaction with records in partition 0 of a topic, acknowledged. Whoever has it ends it.
pub fn open_transaction(settings: &Settings, topic: &str, records: &[Sent]) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", settings.direct())
        .set("transactional.id", format!("{topic}-upstream"))
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    for sent in records {
        let header = |headers: OwnedHeaders, (key, value): &(&str, Option<Vec<u8>>)| {
            headers.insert(Header { key, value: value.as_ref() })
        };
        let headers = sent.headers.iter().fold(OwnedHeaders::new(), header);
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(0).headers(headers);
        (record.key, record.payload) = (sent.key.as_deref(), sent.value.as_deref());
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    producer
}
