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
    /// Where brokers connect, and clients unless there is a proxy.
    pub port: u16,
    /// Where controllers connect.
    pub controller_port: u16,
    /// Where clients connect instead, when there is a proxy before the broker.
    #[serde(default)]
    pub behind: Option<Behind>,
}

/// The ports of a node behind a proxy.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Behind {
    /// Where clients find the proxy; what the broker tells them.
    pub proxy_port: u16,
    /// Where the proxy finds the broker.
    pub client_port: u16,
}

impl Node {
    /// Where clients connect.
    pub(crate) fn public_port(&self) -> u16 {
        self.behind.map_or(self.port, |behind| behind.proxy_port)
    }
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
        let map = "BROKER:PLAINTEXT,CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT";
        line("listener.security.protocol.map", &map);
        let (port, controller) = (node.port, node.controller_port);
        let listeners = format!("BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}");
        if let Some(Behind { proxy_port, client_port }) = node.behind {
            line("listeners", &format!("{listeners},CLIENT://127.0.0.1:{client_port}"));
            let advertised = format!("BROKER://127.0.0.1:{port},CLIENT://127.0.0.1:{proxy_port}");
            line("advertised.listeners", &advertised);
        } else {
            line("listeners", &listeners);
        }
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

    /// Addresses of the nodes as clients take them: `127.0.0.1:p1,127.0.0.1:p2`.
    pub(crate) fn bootstrap(&self, port: impl Fn(&Node) -> u16) -> String {
        let addresses: Vec<String> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", port(node))).collect();
        addresses.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_nodes_vote_and_replicate() {
        let node = |port| Node { port, controller_port: port + 1, behind: None };
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
        assert!(!text.contains("advertised"), "{text}");
        assert_eq!(layout.bootstrap(Node::public_port), "127.0.0.1:10,127.0.0.1:20,127.0.0.1:30");
    }

    #[test]
    fn a_node_behind_a_proxy_sends_clients_there_and_brokers_to_itself() {
        let behind = Some(Behind { proxy_port: 12, client_port: 13 });
        let layout = Layout {
            cluster: String::new(),
            nodes: vec![Node { port: 10, controller_port: 11, behind }],
            heap: None,
            full_jit: false,
            properties: Vec::new(),
        };
        let text = layout.properties(1, Path::new("data"));
        for line in [
            "listeners=BROKER://127.0.0.1:10,CONTROLLER://127.0.0.1:11,CLIENT://127.0.0.1:13",
            "advertised.listeners=BROKER://127.0.0.1:10,CLIENT://127.0.0.1:12",
        ] {
            assert!(text.lines().any(|found| found == line), "`{line}` is missing in\n{text}");
        }
        assert_eq!(layout.bootstrap(Node::public_port), "127.0.0.1:12");
        assert_eq!(layout.bootstrap(|node| node.port), "127.0.0.1:10");
    }
}
