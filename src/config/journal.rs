//! `[journal]`

use super::reader::Section;

/// Where topics live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalConfig {
    /// `kind`: `"kafka"`.
    pub kind: JournalKind,
}

/// The journals there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalKind {
    /// Topics on Kafka brokers.
    Kafka,
}

impl JournalConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        section.legal_text("kind", "kafka", "`kafka`", |kind| kind == "kafka");
        Self { kind: JournalKind::Kafka }
    }
}
