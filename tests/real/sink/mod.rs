//! `tickgate sink` with a real Cassandra: what is in `stock_data` is in the tables, once and exactly, whatever
//! is killed, slow or wrong.

pub mod breaking;
mod brokers;
mod consistency;
mod expiry;
mod killed;
mod latest;
pub mod loader;
mod lost;
mod refused;
mod schema;
mod secured;
mod slow;
pub mod source;
pub mod tables;
mod whole;
