//! `[process]`

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{legal, reader::Section};

/// Which partitions an instance follows that it does not own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replicas {
    /// All: whatever it takes over is at hand.
    All,
    /// None: what it takes over is read from the changelog first.
    None,
}

/// How the group shares partitions out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupProtocol {
    /// Classic: all give everything up, and all have their shares anew.
    #[default]
    Range,
    /// Classic: only what moves is given up (`cooperative-sticky`).
    Cooperative,
    /// Kafka's newer protocol (KIP-848): the brokers share out, and set the session.
    Consumer,
}

/// The gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessConfig {
    /// `group`: the consumer group on staging; also in the changelog's name and in transactional ids.
    /// Default: `tickgate`.
    pub group: String,
    /// `workers`: threads of one instance, each a group member: 1 to 64. Default: 1.
    pub workers: u32,
    /// `state_dir`: the instance's own folder for its store; `{slot}` in it stands for the first number whose folder no
    /// other instance has, so that instances may be started alike. Default: `data/state`.
    pub state_dir: PathBuf,
    /// `commit_interval`: how long a round gathers records before it commits. Default: `100ms`.
    pub commit_interval: Duration,
    /// `round_max_records`: a round with this many records commits at once. Default: 100000.
    pub round_max_records: u32,
    /// `instance_id`: a name that survives restarts makes this a static group member, whose restart moves
    /// no partitions. Must differ between instances. Default: empty, a name of chance.
    pub instance_id: Option<String>,
    /// `group_protocol`: how the group shares out: `range`, by which all pause for a moment; `cooperative`, by which only
    /// what moves does, and who takes it over; `consumer` (KIP-848), by which the brokers share out and `session_timeout` is theirs to set. All
    /// instances must have the same. Default: `range`.
    pub group_protocol: GroupProtocol,
    /// `replicas`: `all` keeps a warm copy of the partitions that this instance does not own, so that taking one
    /// over costs what is new and not what is stored; `none` keeps what it has had itself. Default: `all`.
    pub replicas: Replicas,
    /// `http`: where `/metrics`, `/livez`, `/readyz` and the pages of `/v1` answer. Default: `127.0.0.1:9464`.
    pub http: SocketAddr,
    /// `peers`: the `http` addresses of all instances, its own may be among them: whom `?consistency=owner` asks for
    /// what this instance does not own. A name stands for all addresses that it has. Default: none.
    pub peers: Vec<String>,
    /// `session_timeout`: an instance that is silent for this long has lost its partitions. At least
    /// `6s`, the least that brokers allow by default. Default: `6s`.
    pub session_timeout: Duration,
    /// `transaction_timeout`: the broker ends a transaction that is older. Default: `60s`.
    pub transaction_timeout: Duration,
    /// `hot_symbols`: how many symbols' last-seen an instance keeps in memory before the store, some 220 bytes
    /// each. Default: 100000.
    pub hot_symbols: u32,
}

impl ProcessConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let seconds = Duration::from_secs;
        let instance_id = section
            .legal_text("instance_id", "", legal::ID_PART, |id| id.is_empty() || legal::is_id_part(id));
        let state_dir = section.legal_text("state_dir", "data/state", "a folder", |path| !path.is_empty());
        let replicas =
            section.legal_text("replicas", "all", "`all` or `none`", |text| ["all", "none"].contains(&text));
        let group_protocol =
            section.legal_text("group_protocol", "range", "`range`, `cooperative` or `consumer`", |text| {
                ["range", "cooperative", "consumer"].contains(&text)
            });
        let process = Self {
            group: section.legal_text("group", "tickgate", legal::ID_PART, legal::is_id_part),
            workers: section.number("workers", 1, 1..=64),
            state_dir: state_dir.into(),
            commit_interval: section.duration(
                "commit_interval",
                "100ms",
                Duration::from_millis(1)..=seconds(60),
            ),
            round_max_records: section.number("round_max_records", 100_000, 1..=10_000_000),
            instance_id: Some(instance_id).filter(|id| !id.is_empty()),
            group_protocol: match group_protocol.as_str() {
                "cooperative" => GroupProtocol::Cooperative,
                "consumer" => GroupProtocol::Consumer,
                _ => GroupProtocol::Range,
            },
            replicas: if replicas == "none" { Replicas::None } else { Replicas::All },
            http: section.address("http", "127.0.0.1:9464"),
            peers: section.list("peers", &[]),
            session_timeout: section.duration("session_timeout", "6s", seconds(6)..=seconds(30 * 60)),
            transaction_timeout: section.duration(
                "transaction_timeout",
                "60s",
                seconds(2)..=seconds(15 * 60),
            ),
            hot_symbols: section.number("hot_symbols", 100_000, 0..=100_000_000),
        };
        if let Some(wrong) = process.peers.iter().find(|peer| !legal::is_address(peer)) {
            let expected = "addresses such as `127.0.0.1:9464`, comma-separated";
            section.reject_together("peers", format!("`{wrong}`"), expected);
        }
        if process.instance_id.is_some() && process.group_protocol != GroupProtocol::Range {
            section.reject_together(
                "instance_id",
                "a name".to_owned(),
                "none, or `group_protocol = \"range\"`",
            );
        }
        if process.commit_interval > process.transaction_timeout / 2 {
            let found = format!("`{}`", humantime::format_duration(process.commit_interval));
            section.reject_together(
                "commit_interval",
                found,
                "at most half of `process.transaction_timeout`",
            );
        }
        process
    }
}
