//! What the brokers are told: `server.properties` and the JVM's flags.

use std::{fmt::Write, path::Path};

use serde::{Deserialize, Serialize};

/// A stack as its folder describes it (`stack.json`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// Kafka's id of the cluster: 16 bytes in base64url, 22 characters.
    pub cluster: String,
    /// The nodes, from id 1 on.
    pub nodes: Vec<Node>,
    /// Largest heap of each JVM, as `-Xmx` takes it; `None` for what the number of brokers needs.
    pub heap: Option<String>,
    /// Compile fully and collect in parallel, as in production.
    pub full_jit: bool,
    /// Broker settings on top of ours.
    pub properties: Vec<(String, String)>,
}

/// The ports of one node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Where clients and brokers connect.
    pub port: u16,
    /// Where controllers connect.
    pub controller_port: u16,
}

impl Layout {
    /// The text of `server.properties` for node `id` with its data in `data`.
    pub(crate) fn properties(&self, id: usize, data: &Path) -> String {
        let node = &self.nodes[id - 1];
        let voters: Vec<String> = (1..)
            .zip(&self.nodes)
            .map(|(id, node)| format!("{id}@127.0.0.1:{}", node.controller_port))
            .collect();
        let count = self.nodes.len();
        let (min_isr, internal) = if count == 1 { (1, 1) } else { (2, 12) };
        let mut text = String::new();
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{key}={value}");
        };
        line("process.roles", &"broker,controller");
        line("node.id", &id);
        line("controller.quorum.voters", &voters.join(","));
        line("controller.listener.names", &"CONTROLLER");
        line("inter.broker.listener.name", &"BROKER");
        line("listener.security.protocol.map", &"BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT");
        let (port, controller) = (node.port, node.controller_port);
        line("listeners", &format!("BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"));
        line("log.dirs", &data.display());
        line("auto.create.topics.enable", &false);
        line("default.replication.factor", &count);
        line("min.insync.replicas", &min_isr);
        line("offsets.topic.replication.factor", &count);
        line("offsets.topic.num.partitions", &internal);
        line("transaction.state.log.replication.factor", &count);
        line("transaction.state.log.min.isr", &min_isr);
        line("transaction.state.log.num.partitions", &internal);
        line("group.initial.rebalance.delay.ms", &0);
        for (key, value) in &self.properties {
            line(key, value);
        }
        text
    }

    /// The JVM's flags: a small heap and a quick start unless the stack was asked for more.
    pub(crate) fn jvm(&self) -> Vec<String> {
        let single = self.nodes.len() == 1;
        let heap = self.heap.as_deref().unwrap_or(if single { "256m" } else { "512m" });
        let mut flags = vec![format!("-Xmx{heap}")];
        if single && !self.full_jit {
            flags.push("-XX:+UseSerialGC".to_owned());
            flags.push("-XX:TieredStopAtLevel=1".to_owned());
        }
        flags.push("-Dorg.slf4j.simpleLogger.showDateTime=true".to_owned());
        flags.push("-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS".to_owned());
        flags
    }

    /// The brokers' addresses as clients take them: `127.0.0.1:p1,127.0.0.1:p2`.
    pub(crate) fn bootstrap(&self) -> String {
        let addresses: Vec<String> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        addresses.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_nodes_vote_and_replicate() {
        let node = |port| Node { port, controller_port: port + 1 };
        let layout = Layout {
            cluster: String::new(),
            nodes: vec![node(10), node(20), node(30)],
            heap: None,
            full_jit: false,
            properties: vec![("log.segment.bytes".to_owned(), "1048576".to_owned())],
        };
        let text = layout.properties(2, Path::new("data"));
        for line in [
            "node.id=2",
            "controller.quorum.voters=1@127.0.0.1:11,2@127.0.0.1:21,3@127.0.0.1:31",
            "listeners=BROKER://127.0.0.1:20,CONTROLLER://127.0.0.1:21",
            "transaction.state.log.replication.factor=3",
            "transaction.state.log.min.isr=2",
            "log.segment.bytes=1048576",
        ] {
            assert!(text.lines().any(|found| found == line), "`{line}` is missing in\n{text}");
        }
        assert_eq!(layout.bootstrap(), "127.0.0.1:10,127.0.0.1:20,127.0.0.1:30");
    }
}
