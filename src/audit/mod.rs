//! Proves that every input has exactly one output, from records alone.
//!
//! A [`PartitionCheck`] is fed with one partition's changelog, inputs and outputs, in this order, and says what
//! it found: a [`Breach`] for what cannot be in a whole system, a count by reason for what it cannot judge.
//! Nothing passes silently.
//!
//! What is proved, per partition, for the inputs below the *cut* (an offset that the group has committed):
//! - each has exactly one output, found by the last `tg-src`, in the topic that judging it again calls for, in
//!   the input's partition and order, with key, value, headers and time unaltered and our headers last;
//! - a rejection's rules equal those of judging again; so do the suspect rules, where the symbol's history since
//!   its first quote or its last removal is still on staging;
//! - no visible output stands for an input that the group has not committed;
//! - `stale` is unique by (symbol, `last_seen`, level) between two removals of the symbol, no lower level follows a higher
//!   one, and each names a last-seen that the symbol really had and, by the calendar, how long the silence was; every
//!   `recovered` follows its own `stale` and names the highest level; what a row calls reported has its event;
//! - the changelog's checkpoint is not below the cut and not beyond what is committed after reading;
//! - each symbol's row equals the highest event time of its accepted inputs since its last removal.
//!
//! The rows stand for the inputs below the *checkpoint's* next offset, not for those below the cut: with a
//! running group the checkpoint moves on between the two looks. So the inputs are read up to the further of
//! the two, and last-seen is computed over those below the checkpoint.
//!
//! A [`TableCheck`] does the same for the tables that the sink fills.
//!
//! What is not proved, but counted: silences that nobody reported though these settings would (they may have been
//! others then), suspect rules whose history is not all there, the bytes of what was unsendable, and everything whose
//! counterpart retention has taken. Deliberately absent: Kafka, clocks, judging; the role brings them.

mod check;
mod event;
mod expected;
mod feed;
mod last_seen;
mod message;
mod output;
mod report;
mod rows;
mod suspects;
mod table;

pub use check::{Ends, PartitionCheck, Scope};
pub use message::{Header, Message};
pub use report::{Breach, BreachKind, Count, Findings, Report, Topic, TopicNames, Unjudged};
pub use table::{Loadable, TableCheck};
