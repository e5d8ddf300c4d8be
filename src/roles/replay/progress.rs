//! How far a run is: what it has sent and passed, committed together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde::{Deserialize, Serialize};

use super::super::Failure;
use super::super::audit::kafka::{Kafka, Range};
use super::super::bad::Window;
use super::failed;
use super::returned::Returned;
use crate::config::Config;
use crate::journal::kafka::membership::Metadata;
use crate::journal::kafka::owners::Owners;
use crate::journal::kafka::producer::{Outgoing, RoundProducer, Trouble};
use crate::model::{Offset, Partition};

/// Between two questions after what is committed.
const PAUSE: Duration = Duration::from_millis(100);
/// How often one transaction is begun anew before the run is given up.
const ATTEMPTS_MAX: u32 = 10;

/// What is noted with each partition's committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
// What a newer version notes besides would be lost with this one's next commit.
#[serde(deny_unknown_fields)]
struct Note {
    /// Where the partition ended when the run began.
    end: Offset,
    window: Window,
    /// Stands for what was chosen.
    choice: u64,
}

/// A run under way.
pub(super) struct Run<'a> {
    config: &'a Config,
    name: &'a str,
    producer: RoundProducer,
    metadata: Arc<Metadata>,
    notes: BTreeMap<Partition, Note>,
    /// To be sent with the next transaction.
    batch: Vec<Returned>,
    /// The next offset to look at, of the partitions that have moved since the last transaction.
    passed: BTreeMap<Partition, Offset>,
    pub(super) replayed: u64,
    pub(super) refused: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        config: &'a Config,
        name: &'a str,
        producer: RoundProducer,
        metadata: Arc<Metadata>,
    ) -> Self {
        Self {
            config,
            name,
            producer,
            metadata,
            notes: BTreeMap::new(),
            batch: Vec::new(),
            passed: BTreeMap::new(),
            replayed: 0,
            refused: 0,
        }
    }

    /// Where a run of this name left off; `None` where there was none.
    pub(super) fn noted(
        &mut self,
        owners: &Owners,
        kafka: &Kafka,
        choice: u64,
        timeout: Duration,
    ) -> Result<Option<(Window, Vec<Range>)>, Failure> {
        let topic = &self.config.topics.bad_data;
        let all: Vec<Partition> = (0..kafka.partitions(&[topic])?).collect();
        let give_up = Instant::now() + timeout;
        let found = loop {
            match owners.noted_offsets(topic, &all) {
                Ok(found) => break found,
                Err(error) if Instant::now() > give_up => return Err(Failure::unreachable(error)),
                Err(error) => tracing::debug!(%error, "asking again how far the run is"),
            }
            std::thread::sleep(PAUSE);
        };
        let mut ranges = Vec::new();
        for (partition, noted) in found {
            let Some((start, text)) = noted else { continue };
            let note: Note = serde_json::from_str(&text).map_err(|_| {
                let name = self.name;
                Failure::settings(anyhow!(
                    "the run `{name}` left a note that this version cannot read: `{text}`"
                ))
            })?;
            if note.choice != choice {
                return Err(Failure::settings(anyhow!(
                    "the run `{}` began with another choice of records; name the same one, or another --run",
                    self.name
                )));
            }
            self.notes.insert(partition, note);
            ranges.push(Range { partition, start, end: note.end });
        }
        let window = self.notes.values().next().map(|note| note.window);
        Ok(window.map(|window| (window, ranges)))
    }

    /// Notes where the run begins and ends, before anything is sent.
    pub(super) fn begin(&mut self, ranges: &[Range], window: Window, choice: u64) -> Result<(), Failure> {
        for range in ranges {
            self.notes.insert(range.partition, Note { end: range.end, window, choice });
            self.passed.insert(range.partition, range.start);
        }
        self.commit()
    }

    /// A record to send.
    pub(super) fn add(&mut self, returned: Returned) {
        self.batch.push(returned);
    }

    /// All up to this offset has been looked at.
    pub(super) fn pass(&mut self, partition: Partition, offset: Offset) {
        self.passed.insert(partition, offset + 1);
    }

    /// How many records are to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.batch.len()
    }

    /// All of the ranges has been looked at.
    pub(super) fn finish(&mut self, ranges: &[Range]) -> Result<(), Failure> {
        for range in ranges {
            self.passed.insert(range.partition, range.end);
        }
        self.commit()
    }

    /// One transaction: what is to be sent, and how far the run is then.
    pub(super) fn commit(&mut self) -> Result<(), Failure> {
        let mut attempts = 0;
        while let Err(trouble) = self.attempt() {
            attempts += 1;
            match trouble {
                Trouble::Refused { tag, reason } if tag < self.batch.len() => {
                    let (partition, offset) = self.batch.remove(tag).from;
                    self.refused += 1;
                    attempts = 0;
                    tracing::error!(
                        partition,
                        offset,
                        reason,
                        "Kafka refuses the record at {partition}:{offset}"
                    );
                }
                Trouble::Abort(reason) if attempts < ATTEMPTS_MAX => {
                    tracing::warn!(reason, "the transaction is begun anew");
                }
                trouble => return Err(failed(self.name, trouble)),
            }
            self.producer.abort().map_err(|trouble| failed(self.name, trouble))?;
        }
        self.replayed += self.batch.len() as u64;
        self.batch.clear();
        self.passed.clear();
        Ok(())
    }

    fn attempt(&self) -> Result<(), Trouble> {
        let topics = &self.config.topics;
        self.producer.begin()?;
        for (tag, returned) in self.batch.iter().enumerate() {
            self.producer.send(Outgoing {
                topic: &topics.staging,
                partition: returned.partition,
                key: returned.key.as_deref(),
                value: returned.value.as_deref(),
                time: None,
                headers: Some(returned.headers(self.name, &topics.bad_data)),
                tag,
                marks_position: false,
            })?;
        }
        self.producer.drain()?;
        let noted = self.passed.iter().filter_map(|(partition, next)| {
            let note = serde_json::to_string(self.notes.get(partition)?).ok()?;
            Some((*partition, *next, note))
        });
        self.producer.send_noted_offsets(&topics.bad_data, noted, &self.metadata)?;
        loop {
            match self.producer.commit() {
                // It is asked again what became of it.
                Err(Trouble::Unknown(reason)) if self.producer.may_wait() => {
                    tracing::warn!(reason, "the commit's outcome is not known yet");
                }
                ended => return ended,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn notes_round_trip(end: Offset, since: Option<i64>, until: Option<i64>, choice: u64) {
            let note = Note { end, window: Window { since, until }, choice };
            let text = serde_json::to_string(&note).unwrap();
            prop_assert_eq!(serde_json::from_str::<Note>(&text).unwrap(), note);
        }
    }

    #[test]
    fn a_note_with_more_in_it_is_not_read() {
        let text = r#"{"end":1,"window":{"since":null,"until":null},"choice":2}"#;
        assert!(serde_json::from_str::<Note>(text).is_ok());
        assert!(serde_json::from_str::<Note>(&text.replace("\"end\"", "\"speed\":3,\"end\"")).is_err());
    }
}
