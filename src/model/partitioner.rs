//! Where Kafka's Java client puts a key: murmur2, made positive, modulo the partitions. Every producer of
//! `staging` places records like this, so that a symbol has one home whoever sends it. (librdkafka's own
//! default is another hash.) Source: Apache Kafka, `org.apache.kafka.common.utils.Utils.murmur2`.

use super::Partition;

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;

/// The partition of `key` among `partitions`; 0 when there are fewer than two.
#[allow(clippy::cast_possible_wrap)] // the sign bit is cleared
pub fn partition_of(key: &[u8], partitions: i32) -> Partition {
    let positive = (murmur2(key) & 0x7fff_ffff) as i32;
    if partitions > 1 { positive % partitions } else { 0 }
}

/// The 32-bit murmur2 of `bytes` with Kafka's seed.
#[allow(clippy::cast_possible_truncation)] // the length is mixed in modulo 2^32, as Java's int is
pub fn murmur2(bytes: &[u8]) -> u32 {
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ word.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |last, byte| last << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Kafka's own `UtilsTest.testMurmur2`, as signed Java ints.
    #[test]
    #[allow(clippy::cast_sign_loss)] // the same 32 bits
    fn hashes_as_java_does() {
        let rows: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in rows {
            assert_eq!(murmur2(key), hash as u32, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn clears_the_sign_before_it_divides() {
        // -973932308 & 0x7fffffff = 1173551340
        assert_eq!(partition_of(b"21", 85), 1_173_551_340 % 85);
        assert_eq!(partition_of(b"21", 1), 0);
        assert_eq!(partition_of(b"21", 0), 0);
        assert_eq!(partition_of(b"21", -3), 0);
    }
}
