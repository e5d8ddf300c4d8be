//! What the group says to a candidate, and the renewals it is asked for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::super::client;

/// How often librdkafka tells how far it is with joining or leaving.
pub(super) const STATE_EVERY: Duration = Duration::from_millis(200);

/// What the group said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// This member has its place; `is_given` when the partition is new to it.
    Assigned { is_given: bool },
    /// The partition is wanted back, or is somebody else's already.
    Revoked { is_lost: bool },
}

/// Keeps what the group said until it is answered.
#[derive(Default)]
pub(super) struct GroupContext {
    said: Mutex<VecDeque<Said>>,
    /// librdkafka's word for how far joining is, and when it was heard.
    join_state: Mutex<Option<(Instant, String)>>,
    is_closing: AtomicBool,
}

impl GroupContext {
    /// The oldest event that waits for its answer.
    pub(super) fn said(&self) -> Option<Said> {
        self.queue().front().copied()
    }

    /// That one has its answer.
    pub(super) fn answered(&self) {
        self.queue().pop_front();
    }

    /// From here on events are answered as they come.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
    }

    /// Whether a member that unsubscribed then is out of the group, or never was in it.
    pub(super) fn has_left(&self, unsubscribed: Instant) -> bool {
        let state = self.join_state.lock().unwrap_or_else(PoisonError::into_inner);
        // What was told just before may be heard just after.
        state.as_ref().is_some_and(|(heard, state)| *heard > unsubscribed + STATE_EVERY && state == "init")
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log_error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        if let Some(group) = statistics.cgrp {
            let mut state = self.join_state.lock().unwrap_or_else(PoisonError::into_inner);
            *state = Some((Instant::now(), group.join_state));
        }
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let said = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Said::Assigned { is_given: partitions.count() > 0 }
        } else {
            Said::Revoked { is_lost: consumer.assignment_lost() }
        };
        if !self.is_closing.load(Ordering::SeqCst) {
            self.queue().push_back(said);
        } else if let Err(error) = answer(consumer, said) {
            tracing::debug!(%error, "could not answer the group while closing");
        }
    }
}

/// Tells the group that its word was taken. Whatever it was about, nothing is assigned in the client: there is
/// nothing to read.
pub(super) fn answer(consumer: &BaseConsumer<GroupContext>, said: Said) -> KafkaResult<()> {
    let nothing = TopicPartitionList::new();
    match said {
        Said::Assigned { .. } => consumer.incremental_assign(&nothing),
        Said::Revoked { .. } => consumer.incremental_unassign(&nothing),
    }
}

/// Whether an assignment, as consumers write it, has any topic: a version (2 bytes), then how many topics
/// (4 bytes, big-endian).
pub(super) fn is_given(assignment: &[u8]) -> bool {
    assignment.get(2..6).is_some_and(|topics| topics != [0; 4])
}

/// Commits that a thread of its own waits for, one at a time: librdkafka tells of no other when it is answered.
pub(super) struct Renewals {
    asks: mpsc::SyncSender<()>,
    answers: mpsc::Receiver<Answer>,
    is_pending: bool,
    /// When to ask again.
    pub(super) due: Instant,
}

/// What a renewal came to.
pub(super) struct Answer {
    /// Just before it was asked for.
    pub(super) asked: Instant,
    /// Whether the group took it from its member.
    pub(super) result: KafkaResult<()>,
}

impl Renewals {
    /// Starts the thread; it ends with this.
    pub(super) fn start(consumer: &Arc<BaseConsumer<GroupContext>>, topic: &str) -> Self {
        let (asks, asked) = mpsc::sync_channel(1);
        let (answered, answers) = mpsc::channel();
        let mut list = TopicPartitionList::with_capacity(1);
        let is_added = list.add_partition_offset(topic, 0, Offset::Offset(0));
        is_added.expect("an offset of 0 is one that librdkafka knows");
        // An owner during a commit only, or the member would never be closed.
        let consumer = Arc::downgrade(consumer);
        thread::spawn(move || {
            for () in asked {
                let Some(consumer) = consumer.upgrade() else { return };
                let asked = Instant::now();
                let result = consumer.commit(&list, CommitMode::Sync);
                drop(consumer);
                if answered.send(Answer { asked, result }).is_err() {
                    return;
                }
            }
        });
        Self { asks, answers, is_pending: false, due: Instant::now() }
    }

    /// Asks for one, unless one is under way.
    pub(super) fn ask(&mut self) {
        if !self.is_pending {
            self.is_pending = self.asks.try_send(()).is_ok();
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// The answer to the one that was asked for, once.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        self.is_pending = false;
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_of_nothing_is_told_from_one_of_a_partition() {
        for nothing in [&[][..], &[0, 1, 0, 0], &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert!(!is_given(nothing), "{nothing:?}");
        }
        assert!(is_given(&[0, 1, 0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]));
    }
}
