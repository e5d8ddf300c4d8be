//! The header `tg-replay` of a record that was put back on staging: which run put it there, where on `bad_data`
//! it stood, and how often it has been replayed by then.

use serde::{Deserialize, Serialize};

use super::{Offset, Partition};

/// Where a replayed record came from. A record that is replayed again carries one for each time, the newest last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// The run's name.
    pub run: String,
    /// The name of `bad_data`.
    pub topic: String,
    /// Its partition.
    pub partition: Partition,
    /// The offset there.
    pub offset: Offset,
    /// 1 for a record that had never been replayed before.
    pub generation: u32,
}

impl Replayed {
    /// The header's value.
    pub fn to_header(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers can always be written as JSON")
    }

    /// Reads the header back; `None` when it is no such JSON, as a forged one may be.
    pub fn from_header(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_header_reads_back(
            (run, topic) in any::<(String, String)>(),
            (partition, offset, generation) in any::<(i32, i64, u32)>(),
        ) {
            let replayed = Replayed { run, topic, partition, offset, generation };
            prop_assert_eq!(Replayed::from_header(&replayed.to_header()), Some(replayed));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Replayed::from_header(&bytes);
        }
    }

    #[test]
    fn headers_read_back() {
        let replayed =
            Replayed { run: "r1".into(), topic: "bad_data".into(), partition: 3, offset: 42, generation: 1 };
        let header = replayed.to_header();
        let expected = r#"{"run":"r1","topic":"bad_data","partition":3,"offset":42,"generation":1}"#;
        assert_eq!(String::from_utf8(header.clone()).unwrap(), expected);
        assert_eq!(Replayed::from_header(&header), Some(replayed));
        assert_eq!(Replayed::from_header(b"{\"generation\":-1}"), None);
    }
}
