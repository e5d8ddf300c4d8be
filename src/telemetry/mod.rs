//! What the outside sees of a process: the table of metrics, logs, the health endpoints.

pub mod health;
pub mod instance;
pub mod listener;
pub mod logs;
pub mod metrics;
pub mod rarely;
