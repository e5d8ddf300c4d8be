//! What stands on `stock_data` before anybody runs.

use std::time::Duration;

use anyhow::Context;
use rdkafka::{
    config::ClientConfig,
    error::RDKafkaErrorCode,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::rows::Rows;

const TOPIC: &str = "stock_data";
const FLUSH_TIMEOUT: Duration = Duration::from_mins(2);

/// Writes each row as the record that the gate would have written.
pub(crate) fn fill(brokers: &str, rows: Rows) -> anyhow::Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .set("batch.size", "1000000")
        .set("enable.idempotence", "true")
        .create()?;
    for (number, row) in rows.all().enumerate() {
        let value = format!(
            r#"{{"symbol":"{}","last_price":{},"volume":{},"timestamp":"{}"}}"#,
            row.symbol, row.last_price, row.volume, row.event_time
        );
        let source = row.source.encode();
        let headers = OwnedHeaders::new().insert(Header { key: "tg-src", value: Some(source.as_slice()) });
        let mut record = BaseRecord::to(TOPIC)
            .partition(row.source.partition)
            .key(&row.symbol)
            .payload(&value)
            .headers(headers);
        while let Err((error, refused)) = producer.send(record) {
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            anyhow::ensure!(full, "filling {TOPIC}: {error}");
            producer.poll(Duration::from_millis(10));
            record = refused;
        }
        if number % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(FLUSH_TIMEOUT).with_context(|| format!("filling {TOPIC}"))
}
