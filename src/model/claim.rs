//! Who owns a partition: the text that every committed offset carries as its metadata.

/// The owner of a partition as its committed offset names it: `<transactional id>`, or
/// `<transactional id>;rel` once the owner has given the partition up in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The transactional id of the worker that committed last.
    pub transactional_id: String,
    /// Whether it had finished with the partition.
    pub released: bool,
}

const RELEASED: &str = ";rel";

impl Claim {
    /// The metadata's text.
    pub fn encode(&self) -> String {
        let mark = if self.released { RELEASED } else { "" };
        format!("{}{mark}", self.transactional_id)
    }

    /// Reads metadata; `None` when there is none (a plain committed offset names no owner).
    pub fn decode(metadata: &str) -> Option<Self> {
        let (id, released) = metadata.strip_suffix(RELEASED).map_or((metadata, false), |id| (id, true));
        (!id.is_empty()).then(|| Self { transactional_id: id.to_owned(), released })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trips(id in "[a-zA-Z0-9._-]{1,60}", released: bool) {
            let claim = Claim { transactional_id: id, released };
            prop_assert_eq!(Claim::decode(&claim.encode()), Some(claim));
        }
    }

    #[test]
    fn no_metadata_names_no_owner() {
        assert_eq!(Claim::decode(""), None);
        assert_eq!(Claim::decode(";rel"), None);
    }
}
