//! Kafka Streams on the gate's job: `Peer.java`, compiled when a bench begins. The settings that make it fast stand
//! there.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use tickgate_stack::jars;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peer/Peer.java");

/// The compiled peer.
#[derive(Clone)]
pub(crate) struct Peer {
    classpath: String,
}

/// One instance of it.
pub(crate) struct Instance<'a> {
    pub(crate) brokers: &'a str,
    /// Its consumer group too.
    pub(crate) application: &'a str,
    /// The instance's own folder, for its stores.
    pub(crate) state: &'a Path,
    pub(crate) commit_interval_ms: u64,
    /// Copies of each store on other instances.
    pub(crate) standbys: u32,
    /// A name that survives restarts; none for a dynamic member.
    pub(crate) static_name: Option<&'a str>,
    /// Largest heap, as `-Xmx` takes it.
    pub(crate) heap: &'a str,
}

impl Peer {
    /// Compiles into a folder.
    pub(crate) fn build(into: &Path) -> anyhow::Result<Self> {
        let jars = jars::streams()?.join("*");
        let compiled = Command::new("javac").arg("-cp").arg(&jars).arg("-d").arg(into).arg(SOURCE).output();
        let output = match compiled {
            Err(error) if error.kind() == ErrorKind::NotFound => anyhow::bail!(
                "the peer needs a JDK of version 17 or later and there is no `javac`: `dev/setup --bench` installs \
                 one (openjdk-17-jdk-headless)"
            ),
            output => output.context("starting javac")?,
        };
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "compiling the peer failed:\n{said}");
        Ok(Self { classpath: format!("{}:{}", into.display(), jars.display()) })
    }

    /// Starts one instance.
    pub(crate) fn command(&self, instance: &Instance<'_>) -> anyhow::Result<Command> {
        // RocksDB's library is unpacked into it at each start, and stays there after a kill.
        let scratch = instance.state.join("tmp");
        std::fs::create_dir_all(&scratch)?;
        let mut command = Command::new("java");
        command
            .arg("-cp")
            .arg(&self.classpath)
            .arg(format!("-Xmx{}", instance.heap))
            .arg(format!("-Djava.io.tmpdir={}", scratch.display()))
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .args(["Peer", instance.brokers, instance.application])
            .arg(instance.state)
            .arg(instance.commit_interval_ms.to_string())
            .arg(instance.standbys.to_string())
            .arg(instance.static_name.unwrap_or_default());
        Ok(command)
    }
}
