//! Where rows live: tables of Apache Cassandra.

pub mod cassandra;
