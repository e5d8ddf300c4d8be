//! The binary: one role a run.

fn main() {}
