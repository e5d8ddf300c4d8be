//! Whose store a folder holds, in a text file beside the database, so that another group's or a newer version's is
//! known even where the database cannot be opened.

/// The version of the folder's layout and of the database's keys.
pub(super) const FORMAT: u32 = 1;

/// Whose store it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreIdentity {
    /// The consumer group.
    pub group: String,
    /// The changelog topic.
    pub changelog: String,
    /// The Kafka cluster's id; empty where it is not known, and then not compared.
    pub cluster: String,
}

/// Why an identity file cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Newer(u32),
    Malformed,
}

impl StoreIdentity {
    pub(super) fn encode(&self) -> String {
        let Self { group, changelog, cluster } = self;
        format!(
            "tickgate-store {FORMAT}\ngroup {}\nchangelog {}\ncluster {}\n",
            group.escape_debug(),
            changelog.escape_debug(),
            cluster.escape_debug()
        )
    }

    /// Reads what `encode` wrote; what it escaped stays so.
    pub(super) fn decode_escaped(text: &str) -> Result<Self, Unreadable> {
        let mut lines = text.split('\n');
        let mut field = |name: &str| {
            let value = lines.next()?.strip_prefix(name)?.strip_prefix(' ')?;
            Some(value.to_owned())
        };
        let format = field("tickgate-store").and_then(|format| format.parse().ok());
        match format {
            Some(FORMAT) => {}
            Some(newer) if newer > FORMAT => return Err(Unreadable::Newer(newer)),
            _ => return Err(Unreadable::Malformed),
        }
        let mut rest = || {
            Some(Self { group: field("group")?, changelog: field("changelog")?, cluster: field("cluster")? })
        };
        rest().ok_or(Unreadable::Malformed)
    }

    /// Whether a folder that says `found` (as `decode_escaped` gives it) is this one's.
    pub(super) fn owns(&self, found: &Self) -> bool {
        let same = |own: &str, found: &str| own.escape_debug().eq(found.chars());
        same(&self.group, &found.group)
            && same(&self.changelog, &found.changelog)
            && (self.cluster.is_empty() || found.cluster.is_empty() || same(&self.cluster, &found.cluster))
    }
}

impl std::fmt::Display for StoreIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cluster = if self.cluster.is_empty() { "unknown" } else { &self.cluster };
        write!(f, "group `{}`, changelog `{}`, cluster `{cluster}`", self.group, self.changelog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity(group: &str, changelog: &str, cluster: &str) -> StoreIdentity {
        StoreIdentity { group: group.into(), changelog: changelog.into(), cluster: cluster.into() }
    }

    proptest! {
        #[test]
        fn an_identity_owns_its_file(group in any::<String>(), changelog in any::<String>(), cluster in any::<String>()) {
            let own = identity(&group, &changelog, &cluster);
            let found = StoreIdentity::decode_escaped(&own.encode()).expect("just encoded");
            prop_assert!(own.owns(&found));
            let other_group = identity(&format!("{group}x"), &changelog, &cluster);
            prop_assert!(!other_group.owns(&found));
        }
    }

    #[test]
    fn an_unknown_cluster_is_not_compared() {
        let known = identity("g", "c", "1");
        assert!(known.owns(&identity("g", "c", "")));
        assert!(identity("g", "c", "").owns(&known));
        assert!(!identity("g", "c", "2").owns(&known));
        assert!(!identity("g", "d", "1").owns(&known));
    }

    #[test]
    fn other_texts_are_refused() {
        let newer = "tickgate-store 2\nanything at all";
        assert_eq!(StoreIdentity::decode_escaped(newer), Err(Unreadable::Newer(2)));
        for text in ["", "tickgate-store 0\n", "tickgate-store 1\ngroup g\n", "group g\n"] {
            assert_eq!(StoreIdentity::decode_escaped(text), Err(Unreadable::Malformed), "{text:?}");
        }
    }
}
