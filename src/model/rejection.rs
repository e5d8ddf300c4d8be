//! Why a record was turned away, and the header `tg-rejection` that says so beside the untouched record:
//! `{"rules":[{"rule":"…","field":"…","found":"…","expected":"…"}],"source":{"topic":"…","partition":0,"offset":0}}`.

use super::{Rule, Source};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;

/// The header's greatest size in bytes, whatever the record held.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Texts of the evidence end here, in bytes of UTF-8.
pub const MAX_TEXT_BYTES: usize = 256;

/// One rule that a record broke, with the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The rule.
    pub rule: Rule,
    /// The field it is about; `value` or `key` when it is about one of these as a whole.
    pub field: Cow<'static, str>,
    /// What was there, at most [`MAX_TEXT_BYTES`] of it.
    pub found: String,
    /// What should have been there.
    pub expected: Cow<'static, str>,
}

impl Broken {
    /// Evidence whose `found` is cut to [`MAX_TEXT_BYTES`].
    #[cold]
    pub fn new(rule: Rule, field: &'static str, found: &str, expected: impl Into<Cow<'static, str>>) -> Self {
        let found = cut(found).to_owned();
        Self { rule, field: Cow::Borrowed(field), found, expected: expected.into() }
    }
}

/// As in the header: `rule`, `field`, `found` and `expected`.
impl Serialize for Broken {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        RuleJson::of(self).serialize(to)
    }
}

/// All the rules that one record broke; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// In the order in which they were looked at: the value, its fields, the key.
    pub broken: Vec<Broken>,
}

/// What the header says: a rejection and where its record came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The rules that were broken, as far as the header names them.
    pub rejection: Rejection,
    /// How many more were broken than there was room for.
    pub truncated: usize,
    /// Topic the record was read from.
    pub topic: String,
    /// Its partition and offset there.
    pub source: Source,
}

/// Why bytes are not a `tg-rejection` header.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// Other JSON than the contract's, or none.
    #[error("the header is not of the form that `tg-rejection` has: {0}")]
    Form(#[from] serde_json::Error),
    /// A name that no rule has.
    #[error("the header names the rule `{0}`, which this version does not know")]
    UnknownRule(String),
}

impl Rejection {
    /// The header's bytes for a record of `topic` at `source`: at most [`MAX_HEADER_BYTES`]. Texts are cut
    /// to [`MAX_TEXT_BYTES`]; rules for which there is no room are only counted, as `truncated`.
    pub fn to_header(&self, topic: &str, source: Source) -> Vec<u8> {
        let rules: Vec<_> = self.broken.iter().map(RuleJson::of).collect();
        let source =
            SourceJson { topic: cut(topic).into(), partition: source.partition, offset: source.offset };
        let mut header = HeaderJson { rules, truncated: 0, source };
        loop {
            let json = serde_json::to_vec(&header).expect("texts and numbers can always be written as JSON");
            if json.len() <= MAX_HEADER_BYTES || header.rules.pop().is_none() {
                return json;
            }
            header.truncated += 1;
        }
    }

    /// Reads such a header back.
    pub fn from_header(bytes: &[u8]) -> Result<Evidence, EvidenceError> {
        let header: HeaderJson<'_> = serde_json::from_slice(bytes)?;
        let broken = header.rules.into_iter().map(RuleJson::into_broken).collect::<Result<_, _>>()?;
        let SourceJson { topic, partition, offset } = header.source;
        Ok(Evidence {
            rejection: Self { broken },
            truncated: header.truncated,
            topic: topic.into_owned(),
            source: Source { partition, offset },
        })
    }
}

/// The beginning of `text`, at most [`MAX_TEXT_BYTES`], ending at a character's end.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

#[derive(Serialize, Deserialize)]
struct HeaderJson<'a> {
    #[serde(borrow)]
    rules: Vec<RuleJson<'a>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    truncated: usize,
    source: SourceJson<'a>,
}

#[derive(Serialize, Deserialize)]
struct RuleJson<'a> {
    rule: Cow<'a, str>,
    field: Cow<'a, str>,
    found: Cow<'a, str>,
    expected: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct SourceJson<'a> {
    topic: Cow<'a, str>,
    partition: i32,
    offset: i64,
}

impl<'a> RuleJson<'a> {
    fn of(broken: &'a Broken) -> Self {
        Self {
            rule: broken.rule.name().into(),
            field: cut(&broken.field).into(),
            found: cut(&broken.found).into(),
            expected: cut(&broken.expected).into(),
        }
    }

    fn into_broken(self) -> Result<Broken, EvidenceError> {
        let rule =
            Rule::from_name(&self.rule).ok_or_else(|| EvidenceError::UnknownRule(self.rule.into_owned()))?;
        Ok(Broken {
            rule,
            field: self.field.into_owned().into(),
            found: self.found.into_owned(),
            expected: self.expected.into_owned().into(),
        })
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes references
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SOURCE: Source = Source { partition: 7, offset: 42 };

    #[test]
    fn writes_the_contract() {
        let rejection =
            Rejection { broken: vec![Broken::new(Rule::PriceNotPositive, "last_price", "-1", "above 0")] };
        let expected = concat!(
            r#"{"rules":[{"rule":"price_not_positive","field":"last_price","found":"-1","expected":"above 0"}],"#,
            r#""source":{"topic":"staging","partition":7,"offset":42}}"#
        );
        assert_eq!(String::from_utf8(rejection.to_header("staging", SOURCE)).unwrap(), expected);
    }

    #[test]
    fn counts_the_rules_it_has_no_room_for() {
        let found = "\u{1}".repeat(300);
        let broken = vec![Broken::new(Rule::NotJson, "value", &found, found.clone()); 10];
        let header = Rejection { broken: broken.clone() }.to_header("staging", SOURCE);
        assert!(header.len() <= MAX_HEADER_BYTES);
        let evidence = Rejection::from_header(&header).unwrap();
        assert_eq!(evidence.rejection.broken.len(), 5);
        assert_eq!(evidence.truncated, 5);
    }

    #[test]
    fn says_what_is_wrong_with_a_header() {
        let unknown = br#"{"rules":[{"rule":"ugly","field":"value","found":"","expected":""}],
            "source":{"topic":"t","partition":0,"offset":0}}"#;
        let error = Rejection::from_header(unknown).unwrap_err();
        assert!(matches!(error, EvidenceError::UnknownRule(name) if name == "ugly"));
        assert!(matches!(Rejection::from_header(b"{}"), Err(EvidenceError::Form(_))));
    }

    fn any_broken() -> impl Strategy<Value = Broken> {
        let text = || proptest::collection::vec(any::<char>(), 0..64).prop_map(String::from_iter);
        (0..Rule::ALL.len(), text(), text(), text()).prop_map(|(rule, field, found, expected)| Broken {
            rule: Rule::ALL[rule],
            field: field.into(),
            found,
            expected: expected.into(),
        })
    }

    proptest! {
        #[test]
        fn headers_read_back(broken in proptest::collection::vec(any_broken(), 0..4), topic in "[a-z._-]{1,249}") {
            let rejection = Rejection { broken };
            let evidence = Rejection::from_header(&rejection.to_header(&topic, SOURCE)).unwrap();
            prop_assert_eq!(evidence, Evidence { rejection, truncated: 0, topic, source: SOURCE });
        }

        #[test]
        fn headers_are_bounded(
            texts in proptest::collection::vec(proptest::collection::vec(any::<char>(), 0..2_000), 0..20),
        ) {
            let texts = texts.into_iter().map(String::from_iter);
            let broken: Vec<_> = texts
                .map(|text| Broken {
                    rule: Rule::NotJson,
                    field: text.clone().into(),
                    found: text.clone(),
                    expected: text.into(),
                })
                .collect();
            let header = Rejection { broken: broken.clone() }.to_header("staging", SOURCE);
            prop_assert!(header.len() <= MAX_HEADER_BYTES);
            let evidence = Rejection::from_header(&header).unwrap();
            prop_assert_eq!(evidence.rejection.broken.len() + evidence.truncated, broken.len());
            prop_assert!(evidence.rejection.broken.iter().all(|one| one.found.len() <= MAX_TEXT_BYTES));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Rejection::from_header(&bytes);
        }
    }
}
