//! Values and their wire forms. Everything here is plain data: it can be made, compared, encoded and
//! decoded without a broker, a disk or a clock.

pub mod headers;
pub mod time;

pub use headers::Source;
pub use time::{EventTime, WallTime};

/// A partition of `staging`, and so of every topic that is laid out like it.
pub type Partition = i32;
/// A place in a partition's log.
pub type Offset = i64;
