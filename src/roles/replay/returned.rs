//! A rejected record as it goes back to staging.

use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Header, OwnedHeaders};

use super::super::bad::Entry;
use crate::config::Config;
use crate::journal::kafka::headers as wire;
use crate::model::{Offset, Partition, Replayed, Rule, headers, partition_of};

/// What is sent, but for the header that says where it came from.
#[derive(Debug)]
pub(super) struct Returned {
    /// Where it goes on staging.
    pub(super) partition: Partition,
    /// Where it stands on `bad_data`.
    pub(super) from: (Partition, Offset),
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    headers: OwnedHeaders,
    /// How often it has been replayed before.
    pub(super) generation: u32,
}

impl Returned {
    pub(super) fn of(record: &BorrowedMessage<'_>, entry: &Entry, config: &Config) -> Self {
        let all = wire::read(record);
        let (headers, generation) = match all.iter().copied().collect::<Option<Vec<_>>>() {
            Some(all) => {
                let theirs = input_headers(&all);
                (owned(theirs), generation(theirs))
            }
            // A name that is no text can only be copied with all others: ours stay on it, as forged ones would.
            None => (wire::kept(record), generation(&all.into_iter().flatten().collect::<Vec<_>>())),
        };
        let key = record.key().map(<[u8]>::to_vec);
        // Where it was turned away for its place, the place is what has to change.
        let home = key.as_deref().filter(|_| entry.rules.contains(&Rule::WrongPartition));
        Self {
            partition: home.map_or(entry.partition, |key| partition_of(key, config.topics.partitions)),
            from: (entry.partition, entry.offset),
            key,
            value: record.payload().map(<[u8]>::to_vec),
            headers,
            generation,
        }
    }

    /// The headers that it is sent with by a run.
    pub(super) fn headers(&self, run: &str, bad_data: &str) -> OwnedHeaders {
        let replayed = Replayed {
            run: run.to_owned(),
            topic: bad_data.to_owned(),
            partition: self.from.0,
            offset: self.from.1,
            generation: self.generation.saturating_add(1),
        };
        let value = replayed.to_header();
        self.headers.clone().insert(Header { key: headers::REPLAY, value: Some(&value) })
    }
}

/// The headers that the record had on staging: all but those that the gate has put behind them.
fn input_headers<'m, 'a>(all: &'m [wire::Header<'a>]) -> &'m [wire::Header<'a>] {
    let mut theirs = all;
    for (own, always) in
        [(headers::REJECTION, true), (headers::KIND, true), (headers::EPOCH, false), (headers::SRC, true)]
    {
        match theirs.split_last() {
            Some(((name, _), before)) if *name == own => theirs = before,
            _ if always => return all,
            _ => {}
        }
    }
    theirs
}

/// How often the record has been replayed. What cannot be read counts as too often: nobody can tell.
fn generation(theirs: &[wire::Header<'_>]) -> u32 {
    match theirs.iter().rev().find(|(name, _)| *name == headers::REPLAY) {
        None => 0,
        Some((_, value)) => {
            value.and_then(Replayed::from_header).map_or(u32::MAX, |replayed| replayed.generation)
        }
    }
}

fn owned(headers: &[wire::Header<'_>]) -> OwnedHeaders {
    let room = OwnedHeaders::new_with_capacity(headers.len() + 1);
    headers.iter().fold(room, |owned, (key, value)| owned.insert(Header { key, value: *value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [wire::Header<'static>; 3] =
        [(headers::SRC, Some(b"12")), (headers::KIND, Some(b"rejected")), (headers::REJECTION, Some(b"{}"))];

    #[test]
    fn only_what_the_gate_put_there_is_taken_off() {
        let forged: [wire::Header<'_>; 4] = [
            ("trace", Some(b"1")),
            (headers::REJECTION, Some(b"forged")),
            (headers::EPOCH, None),
            (headers::SRC, None),
        ];
        assert_eq!(input_headers(&[&forged[..], &OURS].concat()), forged);
        let epoch = (headers::EPOCH, Some(&b"\0\0\0\x01"[..]));
        let with_epoch = [&forged[..], &[OURS[0], epoch, OURS[1], OURS[2]]].concat();
        assert_eq!(input_headers(&with_epoch), forged);
        assert_eq!(input_headers(&OURS), []);
        // Not as the gate writes it: nothing is guessed.
        assert_eq!(input_headers(&OURS[..2]), &OURS[..2]);
    }

    #[test]
    fn the_last_replay_counts_and_a_forged_one_is_too_often() {
        let said = |generation| {
            let run = String::new();
            Replayed { run, topic: String::new(), partition: 0, offset: 0, generation }.to_header()
        };
        let (one, two) = (said(1), said(2));
        assert_eq!(generation(&[]), 0);
        let both = [(headers::REPLAY, Some(&one[..])), (headers::REPLAY, Some(&two[..]))];
        assert_eq!(generation(&both), 2);
        assert_eq!(generation(&[both[0], (headers::REPLAY, Some(b"0"))]), u32::MAX);
        assert_eq!(generation(&[(headers::REPLAY, None)]), u32::MAX);
    }
}
