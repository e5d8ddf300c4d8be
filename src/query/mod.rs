//! Questions about the state and their answers, over HTTP (`pages`) as of a store that nobody has open.
//!
//! Promises: an answer is of one moment, and says where in changelog and input each partition stood then; no
//! question costs more than a bounded number of rows and bytes, paging goes on behind the last one; whatever a
//! symbol is called, it is asked for and told exactly. Deliberately absent: Kafka, and any write to the state.

mod addresses;
mod answer;
mod pages;
mod peers;
mod question;
mod read;
mod row;

pub(crate) use addresses::{ADDRESSES_MAX, look_up};
pub use answer::{Holder, PartitionState, Partitions, RawRow, RawRows, Refused, Symbols};
pub use pages::{Asked, routes};
pub(crate) use pages::{Pairs, answer, bad_path, bad_query};
pub use peers::Peers;
pub(crate) use peers::{ANSWER_BYTES_MAX, body_of};
pub use question::{Cursor, Question, RawQuestion};
pub(crate) use question::{distinct, level_of, limit, shown, unknown};
pub use read::{partitions, rows, symbols};
pub use row::SymbolState;

#[cfg(test)]
pub(crate) mod described;
#[cfg(test)]
mod tests;
