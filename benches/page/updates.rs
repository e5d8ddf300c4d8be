//! Quotes straight onto `stock_data`, as the gate would pass them on.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tickgate::model::{EventTime, Source, WallTime};

/// Sends quotes of so many symbols in turn.
pub(crate) struct Updates {
    producer: ThreadedProducer<DefaultProducerContext>,
    symbols: u32,
}

impl Updates {
    pub(crate) fn new(brokers: &str, symbols: u32) -> anyhow::Result<Self> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .create()?;
        Ok(Self { producer, symbols })
    }

    /// One quote of each symbol.
    pub(crate) fn all(&self) -> anyhow::Result<()> {
        (0..self.symbols).try_for_each(|number| self.quote(number))?;
        self.producer.flush(Duration::from_secs(30)).context("quotes are not acknowledged")
    }

    /// So many a second for so long.
    pub(crate) fn send(&self, rate: u32, time: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut number = 0;
        while began.elapsed() < time {
            let due = Duration::from_secs(1).mul_f64(f64::from(number) / f64::from(rate.max(1)));
            thread::sleep(due.min(time).saturating_sub(began.elapsed()));
            if rate > 0 {
                self.quote(number)?;
            }
            number += 1;
        }
        self.producer.flush(Duration::from_secs(30)).context("quotes are not acknowledged")
    }

    fn quote(&self, number: u32) -> anyhow::Result<()> {
        let symbol = format!("S{:05}", number % self.symbols.max(1));
        let time = EventTime(WallTime::now().0);
        let cents = 10_000 + number.wrapping_mul(2_654_435_761) % 500;
        let value = format!(
            r#"{{"symbol":"{symbol}","last_price":{}.{:02},"volume":1,"timestamp":"{time}"}}"#,
            cents / 100,
            cents % 100
        );
        let source = Source { partition: 0, offset: number.into() }.encode();
        loop {
            let headers = OwnedHeaders::new().insert(Header { key: "tg-src", value: Some(&source[..]) });
            let record =
                BaseRecord::to("stock_data").partition(0).key(&symbol).payload(&value).headers(headers);
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
}
