//! What deploys tickgate holds together: `docker-compose.yml`, `Dockerfile`, `deploy/` and `airflow/` name only settings,
//! commands, files, services and ports that there are.
//!
//! No container runs here. The image is built, and its parts run, by `deploy/test-image`; `airflow/dags` runs in
//! `tests/real/airflow.rs`; the file's form is held by `deploy/validate`.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod commands;
mod compose;
mod dag;
mod image;
mod monitoring;
mod rules;
mod wiring;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file or folder of the checkout.
pub fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file of the checkout.
pub fn read(path: &str) -> String {
    fs::read_to_string(checkout(path)).unwrap_or_else(|error| panic!("`{path}`: {error}"))
}
