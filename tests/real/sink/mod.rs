//! `tickgate sink` with a real Cassandra: what is in `stock_data` is in the tables, once and exactly, whatever
//! is killed, slow or wrong.

mod breaking;
mod killed;
mod latest;
mod loader;
mod refused;
mod schema;
mod secured;
mod slow;
mod source;
mod tables;
mod whole;
