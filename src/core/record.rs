//! One record of `staging` as the core sees it.

use crate::model::{Offset, Partition};

/// A record of `staging`, borrowed from whoever fetched it.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Partition it was read from.
    pub partition: Partition,
    /// Its offset there.
    pub offset: Offset,
    /// The record's Kafka time in ms since 1970 (the broker's, as staging has `LogAppendTime`); `None`
    /// when the record has none.
    pub kafka_time: Option<i64>,
    /// Key bytes; the symbol, in a good record.
    pub key: Option<&'a [u8]>,
    /// Value bytes; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}
