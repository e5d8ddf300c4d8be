//! The table of metrics, logs, health.
