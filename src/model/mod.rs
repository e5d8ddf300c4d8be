//! Values and their wire forms. Everything here is plain data: it can be made, compared, encoded and
//! decoded without a broker, a disk or a clock.

pub mod claim;
pub mod event;
pub mod fnv;
pub mod headers;
pub mod number;
pub mod partitioner;
pub mod quote;
pub mod rejection;
pub mod replayed;
pub mod row;
pub mod rule;
pub mod time;

pub use claim::Claim;
pub use event::{Event, FeedSilence, Freshness, Level, NoticedBy};
pub use fnv::fnv1a;
pub use headers::{Kind, Source};
pub use partitioner::partition_of;
pub use quote::Quote;
pub use rejection::{Broken, Rejection};
pub use replayed::Replayed;
pub use row::Row;
pub use rule::{Rule, Severity};
pub use tickgate_state::rows::{CheckpointRow, ClassRow, Price, Reported, SymbolRow};
pub use time::{EventTime, WallTime};

/// A partition of `staging`, and so of every topic that is laid out like it.
pub type Partition = i32;
/// A place in a partition's log.
pub type Offset = i64;
