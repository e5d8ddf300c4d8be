//! The gate's decisions. Pure: no IO, clock, chance, async, or order that a hash map chose; `model` is the
//! only room of ours it sees.
//!
//! A shell feeds [`Processor::handle`] and carries out what [`Processor::poll_effect`] gives, one effect at a
//! time; [`Processor::poll_timeout`] says when to come back. Real Kafka and the simulation drive the same code.

pub mod calendar;
pub mod class;
mod deadlines;
pub mod effect;
mod feeds;
mod freshness;
pub mod input;
mod judging;
mod listing;
mod noticing;
pub mod output;
pub mod processor;
pub mod record;
mod round;
pub mod rules;
pub mod settings;
mod takeover;
mod task;
#[cfg(test)]
mod tests;

pub use calendar::Calendar;
pub use class::{Class, Classes};
pub use effect::{Effect, Output, Stop};
pub use input::{Generation, Input, Now};
pub use processor::{Processor, Wake};
pub use record::Record;
pub use settings::Settings;
