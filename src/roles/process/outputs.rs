//! Outputs as Kafka messages: the input's bytes, record time and headers as they came, ours behind them.

use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};

use super::perform::NO_INPUT;
use super::worker::Life;
use crate::core::Output;
use crate::core::input::Failure;
use crate::journal::kafka::producer::Outgoing;
use crate::model::{Kind, Partition, Source, headers};

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
        let (at, epoch) = match output {
            Output::Event { partition, kind, symbol, value } => {
                return self.send_event(*partition, *kind, symbol, value);
            }
            Output::Forward { at, epoch, .. }
            | Output::Reject { at, epoch, .. }
            | Output::Remove { at, epoch }
            | Output::Unsendable { at, epoch, .. } => (*at, *epoch),
        };
        let message = &self.batch[at];
        let source = Source { partition: message.partition(), offset: message.offset() };
        let kafka_time = message.timestamp().to_millis();
        let topic = match output {
            Output::Forward { .. } => &topics.stock_data,
            _ => &topics.bad_data,
        };
        let own = |kind: Kind| add(with_own(message, source, epoch), headers::KIND, kind.name().as_bytes());
        let (mut key, mut value) = (message.key(), message.payload());
        let description;
        let headers = match output {
            Output::Forward { suspects, event_time, .. } => {
                self.tally.accepted(*suspects, kafka_time, *event_time);
                let headers = with_own(message, source, epoch);
                if suspects.is_empty() && !carries(message, headers::SUSPECT) {
                    headers
                } else {
                    add(headers, headers::SUSPECT, suspects.to_header().as_bytes())
                }
            }
            Output::Reject { rejection, rules, .. } => {
                self.tally.rejected(rules, kafka_time);
                add(own(Kind::Rejected), headers::REJECTION, rejection)
            }
            Output::Unsendable { reason, .. } => {
                self.tally.unsendable();
                description = describe(message, reason);
                (key, value) = (None, Some(description.as_slice()));
                let headers = add(OwnedHeaders::new(), headers::SRC, &source.encode());
                let headers =
                    if epoch == 0 { headers } else { add(headers, headers::EPOCH, &epoch.to_be_bytes()) };
                add(headers, headers::KIND, Kind::Unsendable.name().as_bytes())
            }
            Output::Remove { .. } | Output::Event { .. } => {
                self.tally.removed();
                own(Kind::Removed)
            }
        };
        self.sent.push((source.partition, source.offset));
        let outgoing = Outgoing {
            topic,
            partition: source.partition,
            key,
            value,
            time: if matches!(output, Output::Unsendable { .. }) { None } else { kafka_time },
            headers: Some(headers),
            tag: self.sent.len(),
            marks_position: false,
        };
        self.producer.send(outgoing).map_err(|trouble| self.sort(trouble))
    }

    fn send_event(
        &mut self,
        partition: Partition,
        kind: Kind,
        symbol: &str,
        value: &[u8],
    ) -> Result<(), Failure> {
        self.tally.event(kind);
        let outgoing = Outgoing {
            topic: &self.shared.config.topics.bad_data,
            partition,
            key: Some(symbol.as_bytes()),
            value: Some(value),
            time: None,
            headers: Some(add(OwnedHeaders::new(), headers::KIND, kind.name().as_bytes())),
            tag: NO_INPUT,
            marks_position: false,
        };
        self.producer.send(outgoing).map_err(|trouble| self.sort(trouble))
    }
}

/// The input's own headers, to which ours are added.
fn with_input(message: &BorrowedMessage<'_>) -> OwnedHeaders {
    message.headers().map_or_else(
        || OwnedHeaders::new_with_capacity(3),
        |headers| {
            headers.iter().fold(OwnedHeaders::new_with_capacity(headers.count() + 3), OwnedHeaders::insert)
        },
    )
}

/// The input's headers, and which input it is. Readers take the last of a name: where the input carries a
/// name of ours, ours is written even if there is nothing to tell.
fn with_own(message: &BorrowedMessage<'_>, source: Source, epoch: u32) -> OwnedHeaders {
    let headers = add(with_input(message), headers::SRC, &source.encode());
    if epoch == 0 && !carries(message, headers::EPOCH) {
        headers
    } else {
        add(headers, headers::EPOCH, &epoch.to_be_bytes())
    }
}

/// Whether the input has a header of this name already.
fn carries(message: &BorrowedMessage<'_>, name: &str) -> bool {
    message.headers().is_some_and(|headers| headers.iter().any(|header| header.key == name))
}

fn add(headers: OwnedHeaders, key: &str, value: &[u8]) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}

/// What stands in place of an output that Kafka refuses: which input, how large, why. Its key, in hex, is cut
/// at 256 bytes.
fn describe(message: &BorrowedMessage<'_>, reason: &str) -> Vec<u8> {
    const KEY_MAX: usize = 256;
    let key = message
        .key()
        .map(|key| key.iter().take(KEY_MAX).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat());
    let value = message.payload().unwrap_or_default();
    serde_json::json!({
        "key_hex": key,
        "value_bytes": value.len(),
        "value_fnv1a": format!("{:016x}", crate::model::fnv1a(value)),
        "error": reason,
    })
    .to_string()
    .into_bytes()
}
