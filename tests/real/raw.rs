//! Records as no client library would make them, in Kafka's own bytes: names of headers that are not UTF-8,
//! times that nobody means, batches of an exact size.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use rdkafka::consumer::Consumer;

use crate::{
    cluster::Settings,
    gate::{PATIENCE, wait_for},
    offsets::observer,
};

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
/// The first versions of these requests that today's brokers take.
const PRODUCE_VERSION: i16 = 7;
const FETCH_VERSION: i16 = 4;
/// What a broker says of a partition that it does not lead, or does not know yet.
const UNKNOWN_HERE: [i16; 2] = [3, 6];
const FETCH_BYTES: i32 = 64 << 20;

/// A record's parts, whatever they are.
#[derive(Debug, Clone, Default)]
pub struct RawRecord {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// When its producer says it was made, in ms since 1970.
    pub time_ms: i64,
    /// Names and values.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Appends one uncompressed batch to a partition; the broker's error code, 0 when it was taken.
pub fn produce(settings: &Settings, topic: &str, partition: i32, records: &[RawRecord]) -> i16 {
    let batch = batch(records);
    let mut body = Vec::new();
    body.extend((-1_i16).to_be_bytes()); // no transaction
    body.extend((-1_i16).to_be_bytes()); // acknowledged by all
    body.extend(30_000_i32.to_be_bytes());
    put_place(&mut body, topic, partition);
    body.extend(i32::try_from(batch.len()).unwrap().to_be_bytes());
    body.extend(batch);
    wait_for("leader that knows the topic", PATIENCE, || {
        let answer = ask(settings, topic, partition, PRODUCE, PRODUCE_VERSION, &body);
        // Correlation, one topic, its name, one partition, its number.
        let at = 4 + 4 + 2 + topic.len() + 4 + 4;
        let code = i16::from_be_bytes(answer[at..at + 2].try_into().unwrap());
        (!UNKNOWN_HERE.contains(&code)).then_some(code)
    })
}

/// What a broker answers when a partition is read from its start: batches as they lie there.
pub fn fetch(settings: &Settings, topic: &str, partition: i32) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend((-1_i32).to_be_bytes()); // a consumer
    body.extend(1_000_i32.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    body.extend(FETCH_BYTES.to_be_bytes());
    body.push(0); // read uncommitted
    put_place(&mut body, topic, partition);
    body.extend(0_i64.to_be_bytes());
    body.extend(FETCH_BYTES.to_be_bytes());
    ask(settings, topic, partition, FETCH, FETCH_VERSION, &body)
}

/// Has a member leave the settings' group, as only the member itself is meant to.
#[cfg(feature = "fault-points")]
pub fn leave_group(settings: &Settings, member: &str) {
    const LEAVE_GROUP: i16 = 13;
    const LEAVE_GROUP_VERSION: i16 = 0;
    let mut body = Vec::new();
    for text in [settings.group(), member] {
        body.extend(i16::try_from(text.len()).unwrap().to_be_bytes());
        body.extend(text.as_bytes());
    }
    // Only the group's coordinator takes it.
    wait_for("coordinator that lets the member go", PATIENCE, || {
        let taken = |broker: &str| {
            let (host, port) = broker.rsplit_once(':').unwrap();
            let address = (host.to_owned(), port.parse().unwrap());
            let answer = ask_at(address, LEAVE_GROUP, LEAVE_GROUP_VERSION, &body);
            answer[4..6] == [0, 0]
        };
        settings.direct().split(',').any(taken).then_some(())
    });
}

/// The batch's bytes: as many as the topic's `max.message.bytes` counts.
pub fn batch(records: &[RawRecord]) -> Vec<u8> {
    let first_ms = records[0].time_ms;
    let mut counted = Vec::new();
    counted.extend(0_i16.to_be_bytes()); // uncompressed, times as the producer says
    counted.extend((i32::try_from(records.len()).unwrap() - 1).to_be_bytes());
    counted.extend(first_ms.to_be_bytes());
    counted.extend(records.iter().map(|record| record.time_ms).max().unwrap().to_be_bytes());
    counted.extend((-1_i64).to_be_bytes());
    counted.extend((-1_i16).to_be_bytes());
    counted.extend((-1_i32).to_be_bytes());
    counted.extend(i32::try_from(records.len()).unwrap().to_be_bytes());
    for (record, number) in records.iter().zip(0..) {
        let mut bytes = vec![0];
        put_varint(&mut bytes, record.time_ms.wrapping_sub(first_ms));
        put_varint(&mut bytes, number);
        put_sized(&mut bytes, record.key.as_deref());
        put_sized(&mut bytes, record.value.as_deref());
        put_varint(&mut bytes, i64::try_from(record.headers.len()).unwrap());
        for (name, value) in &record.headers {
            put_sized(&mut bytes, Some(name));
            put_sized(&mut bytes, value.as_deref());
        }
        put_sized(&mut counted, Some(&bytes));
    }
    let mut batch = Vec::new();
    batch.extend(0_i64.to_be_bytes());
    batch.extend(i32::try_from(4 + 1 + 4 + counted.len()).unwrap().to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c(&counted).to_be_bytes());
    batch.extend(counted);
    batch
}

/// Asks the partition's leader; its answer after the length.
fn ask(settings: &Settings, topic: &str, partition: i32, kind: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let observer = observer(settings);
    // Of a topic that was made just now, a broker may not know the leader yet.
    let leader = wait_for("leader of the partition", PATIENCE, || {
        let metadata = observer.fetch_metadata(Some(topic), Duration::from_secs(10)).ok()?;
        let known = metadata.topics()[0].partitions().iter().find(|known| known.id() == partition)?;
        let broker = metadata.brokers().iter().find(|broker| broker.id() == known.leader())?;
        Some((broker.host().to_owned(), u16::try_from(broker.port()).unwrap()))
    });
    ask_at(leader, kind, version, body)
}

fn ask_at(address: (String, u16), kind: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    request.extend(kind.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    request.extend((-1_i16).to_be_bytes());
    request.extend(body);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&i32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&request).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// One topic, one partition of it.
fn put_place(body: &mut Vec<u8>, topic: &str, partition: i32) {
    body.extend(1_i32.to_be_bytes());
    body.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
    body.extend(topic.as_bytes());
    body.extend(1_i32.to_be_bytes());
    body.extend(partition.to_be_bytes());
}

fn put_sized(bytes: &mut Vec<u8>, part: Option<&[u8]>) {
    put_varint(bytes, part.map_or(-1, |part| i64::try_from(part.len()).unwrap()));
    bytes.extend(part.unwrap_or_default());
}

/// Small numbers of either sign take few bytes.
#[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation)] // bits, not numbers
fn put_varint(bytes: &mut Vec<u8>, number: i64) {
    let mut bits = ((number << 1) ^ (number >> 63)) as u64;
    while bits >= 0x80 {
        bytes.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    bytes.push(bits as u8);
}

fn crc32c(bytes: &[u8]) -> u32 {
    let shift = |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0x82f6_3b78 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), shift))
}
