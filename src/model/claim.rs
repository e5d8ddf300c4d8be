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

/// Between the id, which has none of it, and each mark.
const SEPARATOR: char = ';';
const RELEASED: &str = "rel";

impl Claim {
    /// The metadata's text.
    pub fn encode(&self) -> String {
        let id = &self.transactional_id;
        if self.released { format!("{id}{SEPARATOR}{RELEASED}") } else { id.clone() }
    }

    /// Reads metadata; `None` when there is none (a plain committed offset names no owner). Marks of newer versions
    /// say nothing here.
    pub fn decode(metadata: &str) -> Option<Self> {
        let mut parts = metadata.split(SEPARATOR);
        let id = parts.next().filter(|id| !id.is_empty())?;
        Some(Self { transactional_id: id.to_owned(), released: parts.any(|mark| mark == RELEASED) })
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
    fn a_mark_that_is_not_known_is_no_part_of_the_id() {
        let claim = |text| Claim::decode(text).map(|claim| (claim.transactional_id, claim.released));
        assert_eq!(claim("a;moved"), Some(("a".to_owned(), false)));
        assert_eq!(claim("a;moved;rel"), Some(("a".to_owned(), true)));
    }

    #[test]
    fn no_metadata_names_no_owner() {
        assert_eq!(Claim::decode(""), None);
        assert_eq!(Claim::decode(";rel"), None);
    }
}
