//! Outputs as Kafka messages: the input's bytes, record time and headers as they came, ours behind them.

use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders};

use super::perform::NO_INPUT;
use super::worker::{Life, record};
use crate::core::Output;
use crate::core::input::Failure;
use crate::core::output::describe_unsendable;
use crate::journal::kafka::headers;
use crate::journal::kafka::producer::Outgoing;
use crate::model::Source;
use crate::model::time::output_time;

/// What Kafka writes for a record without a time.
const NO_TIME: i64 = -1;

impl Life<'_> {
    pub(super) fn send_outputs(&mut self, outputs: &[Output]) -> Result<(), Failure> {
        let (first, second) = outputs.split_at(outputs.len() / 2);
        first.iter().try_for_each(|output| self.send_output(output))?;
        #[cfg(feature = "fault-points")]
        self.shared.fault_point.pass_with(super::fault_point::Instant::Within, "send", || {
            // What fails to be delivered cannot be told any more, and need not be.
            let _ = self.producer.drain();
        });
        second.iter().try_for_each(|output| self.send_output(output))
    }

    fn send_output(&mut self, output: &Output) -> Result<(), Failure> {
        let topics = &self.shared.config.topics;
        let Some(at) = output.at() else { return self.send_event(output) };
        let message = &self.batch[at];
        let source = Source { partition: message.partition(), offset: message.offset() };
        let description;
        let (key, value) = match output {
            Output::Unsendable { reason, .. } => {
                description = describe_unsendable(&record(message), reason);
                (None, Some(description.as_slice()))
            }
            _ => (message.key(), message.payload()),
        };
        let kafka_time = message.timestamp().to_millis();
        self.tally.output(output, source.partition, kafka_time);
        self.sent.push((source.partition, source.offset));
        let outgoing = Outgoing {
            topic: if output.kind().is_none() { &topics.stock_data } else { &topics.bad_data },
            partition: source.partition,
            key,
            value,
            time: output.keeps_input().then(|| output_time(kafka_time).unwrap_or(NO_TIME)),
            headers: Some(all_headers(output, message, source)),
            tag: self.sent.len(),
            marks_position: false,
        };
        self.producer.send(outgoing).map_err(|trouble| self.sort(trouble))
    }

    fn send_event(&mut self, event: &Output) -> Result<(), Failure> {
        let Output::Event { partition, symbol, value, .. } = event else { return Ok(()) };
        self.tally.output(event, *partition, None);
        // Of an event, no header says a place.
        let source = Source { partition: *partition, offset: 0 };
        let outgoing = Outgoing {
            topic: &self.shared.config.topics.bad_data,
            partition: *partition,
            key: Some(symbol.as_bytes()),
            value: Some(value),
            time: None,
            headers: Some(with_own(OwnedHeaders::new_with_capacity(1), event, source, |_| false)),
            tag: NO_INPUT,
            marks_position: false,
        };
        self.producer.send(outgoing).map_err(|trouble| self.sort(trouble))
    }
}

/// The input's headers, where the output keeps them, and ours.
fn all_headers(output: &Output, message: &BorrowedMessage<'_>, source: Source) -> OwnedHeaders {
    let kept = if output.keeps_input() { headers::kept(message) } else { OwnedHeaders::new_with_capacity(3) };
    with_own(kept, output, source, |name| headers::may_carry(message, name))
}

fn with_own(
    kept: OwnedHeaders,
    output: &Output,
    source: Source,
    may_carry: impl Fn(&str) -> bool,
) -> OwnedHeaders {
    let mut all = Some(kept);
    output.own_headers(source, may_carry, |key, value| {
        all = all.take().map(|headers| headers.insert(Header { key, value: Some(value) }));
    });
    all.unwrap_or_default()
}
