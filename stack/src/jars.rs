//! The servers' jars, in a cache of the machine and outside any checkout: fetched by Maven once for each state
//! of a pom, put in place by a rename, so that two runs at once end with one whole folder.

use std::{
    env, fs,
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::StackError;

const KAFKA: Pom = Pom { name: "kafka", text: include_str!("../kafka/pom.xml") };
const STREAMS: Pom = Pom { name: "streams", text: include_str!("../streams/pom.xml") };
const CASSANDRA: Pom = Pom { name: "cassandra", text: include_str!("../cassandra/pom.xml") };

/// Jars that Maven fetches together.
struct Pom {
    name: &'static str,
    text: &'static str,
}

/// The folder for what is made once a machine: `$TICKGATE_CACHE`, `$XDG_CACHE_HOME/tickgate` or
/// `~/.cache/tickgate`; a folder for temporary files where there is no home.
pub fn cache() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("TICKGATE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|base| base.join("tickgate")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/tickgate")))
        .unwrap_or_else(|| env::temp_dir().join("tickgate-cache"))
}

/// Whether the cache has the jars of the pinned Kafka.
pub fn has_kafka() -> bool {
    KAFKA.folder().is_dir()
}

/// The folder with the jars of the pinned Kafka; fetches them when the cache does not have them.
pub fn kafka() -> Result<PathBuf, StackError> {
    KAFKA.jars()
}

/// The folder with the jars of the pinned Kafka Streams, which benches measure beside tickgate; fetches them when
/// the cache does not have them.
pub fn streams() -> Result<PathBuf, StackError> {
    STREAMS.jars()
}

/// The folder with the jars of the pinned Cassandra; fetches them when the cache does not have them.
pub fn cassandra() -> Result<PathBuf, StackError> {
    CASSANDRA.jars()
}

impl Pom {
    fn jars(&self) -> Result<PathBuf, StackError> {
        let jars = self.folder();
        if !jars.is_dir() {
            let base = cache().join(self.name);
            let _lock = lock(&base)?;
            if !jars.is_dir() {
                self.fetch(&base, &jars)?;
            }
        }
        Ok(jars)
    }

    fn folder(&self) -> PathBuf {
        cache().join(self.name).join(format!("{:016x}", fnv1a(self.text.as_bytes())))
    }

    fn fetch(&self, base: &Path, jars: &Path) -> Result<(), StackError> {
        let work = tempfile::Builder::new()
            .prefix("fetching.")
            .tempdir_in(base)
            .map_err(StackError::file("make a folder in", base))?;
        let pom = work.path().join("pom.xml");
        fs::write(&pom, self.text).map_err(StackError::file("write", &pom))?;
        let fetched = work.path().join("jars");
        let output = Command::new("mvn")
            .args(["-q", "-B", "dependency:copy-dependencies", "-f"])
            .arg(&pom)
            .arg(format!("-DoutputDirectory={}", fetched.display()))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| StackError::Program { program: "mvn".to_owned(), reason: error.to_string() })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            let reason = said.lines().find(|line| line.contains("ERROR")).unwrap_or("it said nothing");
            return Err(StackError::Program { program: "mvn".to_owned(), reason: reason.to_owned() });
        }
        fs::rename(&fetched, jars).map_err(StackError::file("rename", fetched))
    }
}

/// Makes `folder` and holds its lock file until the answer is dropped; waits for whoever holds it.
pub(crate) fn lock(folder: &Path) -> Result<File, StackError> {
    fs::create_dir_all(folder).map_err(StackError::file("make", folder))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(StackError::file("make", &path))?;
    file.lock().map_err(StackError::file("lock", &path))?;
    Ok(file)
}

/// 64-bit FNV-1a: names the folder of a pom; the same on every machine and for every toolchain.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn a_lock_is_held_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        let other = File::open(folder.path().join("lock")).unwrap();
        assert!(other.try_lock().is_err());
        drop(held);
        assert!(other.try_lock().is_ok());
    }
}
