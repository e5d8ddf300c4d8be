//! The gate's decisions. Pure: no IO, clock, chance, async, or order that a hash map chose; `model` is the
//! only room of ours it sees.

pub mod record;
pub mod rules;
