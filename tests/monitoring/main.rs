//! What `prometheus/`, `grafana/` and `docs/runbooks/` say holds together, and holds of what the roles export.
//!
//! Prometheus's own tools check what they can; the rest is read here. Alertmanager runs, without Prometheus: that alerts
//! reach people is `tests/real/alerts`'s to show.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

mod alerts;
mod dashboards;
mod expressions;
mod layout;
mod routing;
mod rules;
mod runbooks;
mod table;

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

/// The files of a folder of the checkout with this extension, in order.
pub fn files(folder: &str, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(checkout(folder)).unwrap().map(|entry| entry.unwrap().file_name());
    let names = entries.map(|name| name.into_string().unwrap());
    let mut files: Vec<String> =
        names.filter(|name| name.ends_with(extension)).map(|name| format!("{folder}/{name}")).collect();
    files.sort();
    assert!(!files.is_empty(), "`{folder}` has no file that ends with `{extension}`");
    files
}

/// Holds a file equal to what it is made from; `REGENERATE=1` writes it.
pub fn hold_generated(path: &str, made: &str) {
    if std::env::var_os("REGENERATE").is_some() {
        fs::create_dir_all(checkout(path).parent().unwrap()).unwrap();
        fs::write(checkout(path), made).unwrap();
    }
    let found = fs::read_to_string(checkout(path)).unwrap_or_default();
    assert!(
        found == made,
        "`{path}` is not what it is made from; make it anew with\n    \
         REGENERATE=1 cargo test --release --test monitoring"
    );
}
