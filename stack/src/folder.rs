//! The folder of a started server: a given one, which keeps data and ports, or a temporary one; and the file
//! in it that describes what it was laid out for.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::StackError;

/// The absolute path of `asked`, made if need be; without it a new temporary folder, whose end is the
/// caller's.
pub(crate) fn make(asked: Option<&Path>) -> Result<PathBuf, StackError> {
    let Some(dir) = asked else {
        let parent = env::temp_dir();
        let made = tempfile::Builder::new().prefix("tickgate-stack.").tempdir();
        return Ok(made.map_err(StackError::file("make a folder in", parent))?.keep());
    };
    fs::create_dir_all(dir).map_err(StackError::file("make", dir))?;
    fs::canonicalize(dir).map_err(StackError::file("find", dir))
}

/// What [`describe`] wrote to `path`; `None` when nothing was.
pub(crate) fn description<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StackError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StackError::file("read", path)(error)),
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| StackError::Description { path: path.to_owned(), reason: error.to_string() })
}

/// Writes what a later start must find again.
pub(crate) fn describe<T: Serialize>(path: &Path, what: &T) -> Result<(), StackError> {
    let text = serde_json::to_string_pretty(what).expect("strings and numbers are JSON");
    fs::write(path, text).map_err(StackError::file("write", path))
}
