//! What is asked of Kafka beside reading: where to start, where partitions end, what the group has committed.
//!
//! A thread of its own asks, as the questions block and the loop must not. Unanswered ones are asked again.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rdkafka::error::KafkaError;

use super::super::caught_up::CaughtUp;
use crate::journal::kafka::owners::Owners;
use crate::model::{Offset, Partition};

/// How often ends are asked for. Without partitions, the first one's: so brokers that are away are noticed.
pub(super) const ENDS_EVERY: Duration = Duration::from_secs(1);
/// Pause after a question without an answer, and where the end of the run waits for one.
const PAUSE: Duration = Duration::from_millis(200);

/// Where a partition's reading may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) partition: Partition,
    /// What the group has committed.
    pub(super) committed: Option<Offset>,
    /// The first offset that is still there.
    pub(super) start: Offset,
    /// Everything below is committed or aborted.
    pub(super) last_stable: Offset,
    /// Everything below is replicated.
    pub(super) high_watermark: Offset,
}

/// What was found out.
#[derive(Debug)]
pub(super) enum Answer {
    /// Of the partitions asked about.
    Standings(Vec<Standing>),
    /// The last stable offsets of the partitions asked about last.
    Ends(BTreeMap<Partition, Offset>),
    /// The group has committed all that was there at the start.
    CaughtUp,
    /// Something could not be found out, and is asked again; the brokers' or librdkafka's words.
    Nothing(String),
}

/// The thread's end of the loop's.
pub(super) struct Offsets {
    asks: Sender<Vec<Partition>>,
    answers: Receiver<Answer>,
}

impl Offsets {
    /// Starts the thread; it ends with this. With `caught_up` it also says when the group has.
    pub(super) fn watch(owners: Owners, topic: String, caught_up: Option<CaughtUp>) -> std::io::Result<Self> {
        let (asks, questions) = channel();
        let (replies, answers) = channel();
        let asker = Asker { owners, topic, replies, caught_up };
        thread::Builder::new().name("offsets".to_owned()).spawn(move || asker.run(&questions))?;
        Ok(Self { asks, answers })
    }

    /// Asks about these partitions, and no others any more.
    pub(super) fn ask(&self, partitions: Vec<Partition>) {
        // The thread ends after this only.
        let _ = self.asks.send(partitions);
    }

    /// The next answer, if there is one.
    pub(super) fn next(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

struct Asker {
    owners: Owners,
    topic: String,
    replies: Sender<Answer>,
    caught_up: Option<CaughtUp>,
}

impl Asker {
    fn run(mut self, questions: &Receiver<Vec<Partition>>) {
        let mut of: Vec<Partition> = Vec::new();
        let mut is_new = false;
        loop {
            let wait = if is_new || self.caught_up.is_some() { PAUSE } else { ENDS_EVERY };
            match questions.recv_timeout(wait) {
                Ok(partitions) => (of, is_new) = (partitions, true),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let answers = [
                if is_new {
                    self.standings(&of).map(|found| Some(Answer::Standings(found)))
                } else {
                    Ok(None)
                },
                if is_new { Ok(None) } else { self.ends(&of).map(|ends| Some(Answer::Ends(ends))) },
                self.has_caught_up().map(|is_so| is_so.then_some(Answer::CaughtUp)),
            ];
            for answer in answers.into_iter().filter_map(Result::transpose) {
                let answer = answer.unwrap_or_else(|error| {
                    tracing::debug!(%error, "a question about offsets is asked again");
                    Answer::Nothing(error.to_string())
                });
                is_new &= !matches!(answer, Answer::Standings(_));
                if self.replies.send(answer).is_err() {
                    return;
                }
            }
        }
    }

    fn ends(&self, of: &[Partition]) -> Result<BTreeMap<Partition, Offset>, KafkaError> {
        self.owners.last_stable(&self.topic, if of.is_empty() { &[0] } else { of })
    }

    fn standings(&self, of: &[Partition]) -> Result<Vec<Standing>, KafkaError> {
        if of.is_empty() {
            return Ok(Vec::new());
        }
        let committed = self.owners.stable_offsets(&self.topic, of)?;
        let ends = self.owners.ends(&self.topic, of)?;
        let standing = |(partition, committed): (Partition, Option<Offset>)| {
            let ends = ends.get(&partition)?;
            Some(Standing {
                partition,
                committed,
                start: ends.start,
                last_stable: ends.last_stable,
                high_watermark: ends.high_watermark,
            })
        };
        Ok(committed.into_iter().filter_map(standing).collect())
    }

    fn has_caught_up(&mut self) -> Result<bool, KafkaError> {
        self.caught_up.as_mut().map_or(Ok(false), |caught_up| caught_up.look(&self.owners))
    }
}
