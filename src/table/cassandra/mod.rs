//! Apache Cassandra, by the scylla driver: the session and its security, the schema, and single attempts at
//! writing. Whatever is tried again, how often and when, is decided elsewhere: the driver retries nothing.

mod history;
mod read;
pub mod schema;
mod security;
mod session;
mod write;

pub use history::Point;
pub use read::ReadError;
pub use schema::{Difference, SchemaError};
pub use session::{Cassandra, ConnectError};
pub use write::{Reason, WriteError};
