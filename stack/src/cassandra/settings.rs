//! What Cassandra is told: `cassandra.yaml`, its logger's settings and the JVM's flags.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The ports of a node, as its folder keeps them (`cassandra.json`).
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Ports {
    /// Where it speaks the native protocol.
    pub(super) native: u16,
    /// Where nodes would find it.
    pub(super) storage: u16,
    /// Where clients find the proxy before it, when there is one.
    pub(super) proxy: Option<u16>,
}

/// What may differ from one start of a folder to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub(super) heap: Option<String>,
    pub(super) full_jit: bool,
    pub(super) login: bool,
    pub(super) encryption: Option<Encryption>,
    /// Top-level lines of `cassandra.yaml` in place of ours or beside them.
    pub(super) settings: Vec<(String, String)>,
}

/// Where the node finds its PEM files.
#[derive(Debug, Clone)]
pub(super) struct Encryption {
    /// The private key and its certificate in one file.
    pub(super) keystore: PathBuf,
    /// The certificate of the authority that signs clients' certificates.
    pub(super) truststore: PathBuf,
    pub(super) clients_too: bool,
}

const HEAP: &str = "768m";
/// Prints to the program's own log, and leaves out what Cassandra says of every table it opens and writes.
pub(super) const LOGGER: &str = r#"<configuration>
  <appender name="log" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %-5level %logger{0}: %msg%n</pattern></encoder>
  </appender>
  <logger name="org.apache.cassandra.db" level="WARN"/>
  <logger name="org.apache.cassandra.config" level="WARN"/>
  <root level="INFO"><appender-ref ref="log"/></root>
</configuration>
"#;
/// What Cassandra reaches into on a JDK of modules: its own `jdk17-server.options`.
const EXPORTS: [&str; 10] = [
    "java.base/jdk.internal.misc",
    "java.base/java.lang.ref",
    "java.base/java.lang.reflect",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.rmi/sun.rmi.transport.tcp",
    "java.sql/java.sql",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.unsupported/sun.misc",
];
const OPENS: [&str; 16] = [
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
];

impl Options {
    /// The text of `cassandra.yaml` for a node with its data below `dir`.
    pub(super) fn yaml(&self, ports: Ports, dir: &Path) -> String {
        let mut text = String::new();
        for (key, value) in self.lines(ports, dir) {
            if !self.settings.iter().any(|(ours, _)| *ours == key) {
                let _ = writeln!(text, "{key}: {value}"); // writing to a string does not fail
            }
        }
        for (key, value) in &self.settings {
            let _ = writeln!(text, "{key}: {value}");
        }
        text
    }

    /// The JVM's flags: a small heap and a quick start unless it was asked for more.
    pub(super) fn jvm(&self, dir: &Path) -> Vec<String> {
        let heap = self.heap.as_deref().unwrap_or(HEAP);
        let mut flags = vec![
            format!("-Xmx{heap}"),
            "-Xms128m".to_owned(), // Cassandra locks what it begins with into memory
            "-XX:+ExitOnOutOfMemoryError".to_owned(),
            "-Djdk.attach.allowAttachSelf=true".to_owned(),
            format!("-Dlogback.configurationFile=file://{}", dir.join("logback.xml").display()),
            format!("-Dcassandra.config=file://{}", dir.join("cassandra.yaml").display()),
            format!("-Dcassandra.storagedir={}", dir.display()),
            "-Dcassandra-foreground=yes".to_owned(),
            // There is nobody to gossip with, and nobody whose role could be overwritten by a default one.
            "-Dcassandra.skip_wait_for_gossip_to_settle=0".to_owned(),
            "-Dcassandra.superuser_setup_delay_ms=0".to_owned(),
            // What 5.0.9 finds by measuring for two seconds at each start.
            "-Dcassandra.memtable.row_overhead_size=180".to_owned(),
        ];
        if !self.full_jit {
            flags.push("-XX:+UseSerialGC".to_owned());
            flags.push("-XX:TieredStopAtLevel=1".to_owned());
        }
        flags.extend(EXPORTS.iter().map(|package| format!("--add-exports={package}=ALL-UNNAMED")));
        flags.extend(OPENS.iter().map(|package| format!("--add-opens={package}=ALL-UNNAMED")));
        flags
    }

    fn lines(&self, ports: Ports, dir: &Path) -> Vec<(&'static str, String)> {
        let Ports { native, storage, .. } = ports;
        let below = |name: &str| quoted(&dir.join(name).display().to_string());
        let seeds = format!("parameters: [{{seeds: \"127.0.0.1:{storage}\"}}]");
        let mut lines = vec![
            ("cluster_name", "tickgate".to_owned()),
            ("num_tokens", "1".to_owned()),
            ("partitioner", "org.apache.cassandra.dht.Murmur3Partitioner".to_owned()),
            ("endpoint_snitch", "SimpleSnitch".to_owned()),
            ("seed_provider", format!("[{{class_name: {SEED_PROVIDER}, {seeds}}}]")),
            ("auto_bootstrap", "false".to_owned()),
            ("listen_address", "127.0.0.1".to_owned()),
            ("storage_port", storage.to_string()),
            ("rpc_address", "127.0.0.1".to_owned()),
            ("native_transport_port", native.to_string()),
            ("data_file_directories", format!("[{}]", below("data"))),
            ("commitlog_directory", below("commitlog")),
            ("saved_caches_directory", below("saved_caches")),
            ("hints_directory", below("hints")),
            ("cdc_raw_directory", below("cdc_raw")),
            // The default, periodic, answers before the log is written: a kill loses what was acknowledged.
            ("commitlog_sync", "batch".to_owned()),
            ("commitlog_segment_size", "8MiB".to_owned()),
            ("commitlog_total_space", "256MiB".to_owned()),
            ("hinted_handoff_enabled", "false".to_owned()),
            ("auto_snapshot", "false".to_owned()),
            // A busy machine is no fault; whoever wants short ones asks for them.
            ("read_request_timeout", TIMEOUT.to_owned()),
            ("write_request_timeout", TIMEOUT.to_owned()),
            (
                "authenticator",
                if self.login { "PasswordAuthenticator" } else { "AllowAllAuthenticator" }.to_owned(),
            ),
        ];
        lines.extend(
            self.encryption.as_ref().map(|encryption| ("client_encryption_options", encryption.yaml())),
        );
        lines
    }
}

const SEED_PROVIDER: &str = "org.apache.cassandra.locator.SimpleSeedProvider";
const PEM_FILES: &str = "org.apache.cassandra.security.PEMBasedSslContextFactory";
const TIMEOUT: &str = "10s";

impl Encryption {
    fn yaml(&self) -> String {
        format!(
            "{{enabled: true, optional: false, require_client_auth: {}, keystore: {}, truststore: {}, \
             ssl_context_factory: {{class_name: {PEM_FILES}}}}}",
            self.clients_too,
            quoted(&self.keystore.display().to_string()),
            quoted(&self.truststore.display().to_string())
        )
    }
}

/// A string of YAML, whatever is in it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Ports = Ports { native: 10, storage: 11, proxy: Some(12) };

    fn yaml(options: &Options) -> String {
        options.yaml(PORTS, Path::new("/there/now"))
    }

    #[test]
    fn a_node_syncs_before_it_answers_and_listens_on_loopback_alone() {
        let text = yaml(&Options::default());
        for line in [
            "commitlog_sync: batch",
            "native_transport_port: 10",
            "storage_port: 11",
            "rpc_address: 127.0.0.1",
            "listen_address: 127.0.0.1",
            "commitlog_directory: \"/there/now/commitlog\"",
            "authenticator: AllowAllAuthenticator",
        ] {
            assert!(text.lines().any(|found| found == line), "`{line}` is missing in\n{text}");
        }
        assert!(!text.contains("encryption"), "{text}");
    }

    #[test]
    fn a_setting_takes_the_place_of_ours() {
        let settings = vec![("write_request_timeout".to_owned(), "100ms".to_owned())];
        let text = yaml(&Options { settings, login: true, ..Options::default() });
        assert_eq!(text.matches("write_request_timeout").count(), 1, "{text}");
        assert!(text.contains("write_request_timeout: 100ms\n"), "{text}");
        assert!(text.contains("authenticator: PasswordAuthenticator\n"), "{text}");
    }

    #[test]
    fn encryption_names_its_files() {
        let encryption = Encryption {
            keystore: "/there/server.pem".into(),
            truststore: "/there/ca.pem".into(),
            clients_too: true,
        };
        let text = yaml(&Options { encryption: Some(encryption), ..Options::default() });
        assert!(text.contains("require_client_auth: true, keystore: \"/there/server.pem\""), "{text}");
    }
}
