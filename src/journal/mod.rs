//! Where topics live.

pub mod kafka;
