//! Two kinds of time that must never be mixed: when a trade happened, and what the clock on the wall says.

/// When a trade happened: milliseconds since 1970-01-01T00:00:00Z, rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(pub i64);

/// What the clock on the wall says: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub i64);
