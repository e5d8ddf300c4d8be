//! `[sink]`

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{Secret, TopicsConfig, legal, reader::Section};

/// The way from `stock_data` into the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkConfig {
    /// `group`: the consumer group on `stock_data`. Default: `tickgate-sink`.
    pub group: String,
    /// `table`: `"cassandra"`.
    pub table: TableKind,
    /// `dead_letter`: the topic for records that the table refuses for good, laid out like `stock_data`.
    /// Default: the name of `stock_data` and `_dead`.
    pub dead_letter: String,
    /// `max_in_flight`: writes that the table has not answered yet, 1 to 10000. Default: 256.
    pub max_in_flight: u32,
    /// `http`: where `/metrics`, `/livez` and `/readyz` answer. Default: `127.0.0.1:9467`.
    pub http: SocketAddr,
    /// How to reach Cassandra.
    pub cassandra: CassandraConfig,
}

/// Where rows live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// Tables of Apache Cassandra.
    Cassandra,
}

/// A Cassandra cluster and the keyspace in it; keys of `[sink]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CassandraConfig {
    /// `contact_points`: nodes to start from, `host:port`. Default: `127.0.0.1:9042`.
    pub contact_points: Vec<String>,
    /// `keyspace` of the tables. Default: `stock_data`.
    pub keyspace: String,
    /// `replication_strategy` of a keyspace that `sink schema` makes: `NetworkTopologyStrategy` or
    /// `SimpleStrategy`. Default: `NetworkTopologyStrategy`.
    pub replication_strategy: String,
    /// `replication` of that keyspace: copies, `3`, or copies by data centre, `dc1:3,dc2:2`. Default: `3`.
    pub replication: Replication,
    /// `consistency` that a write must reach. Default: `LOCAL_QUORUM`.
    pub consistency: Consistency,
    /// `ttl`: how long a row is kept after it was written; `0s` is for ever. Default: `0s`.
    pub ttl: Duration,
    /// `user`; with `password`. Default: empty, no login.
    pub user: Option<String>,
    /// `password`, or `password_file`, a file that holds it.
    pub password: Option<Secret>,
    /// `tls`: `true` or `false`; the keys below are for `true`. Default: `false`.
    pub tls: Option<TlsConfig>,
}

/// How a node proves who it is, and how we do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsConfig {
    /// `tls_ca`: the authorities that may vouch for a node, PEM. Default: empty, those of the system.
    pub authorities: Option<PathBuf>,
    /// `tls_name`: the name that certificates of nodes must bear. Default: empty, each node's IP address.
    pub name: Option<String>,
    /// `tls_certificate` and `tls_key`: our own certificate and its key, PEM. Default: empty, none.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// How many copies there are, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replication {
    /// So many: in each data centre, or at all with `SimpleStrategy`.
    Everywhere(u32),
    /// So many in each of these data centres.
    ByDatacenter(Vec<(String, u32)>),
}

/// How many copies have to acknowledge a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // they are Cassandra's own
pub enum Consistency {
    One,
    Two,
    Three,
    Quorum,
    All,
    LocalOne,
    LocalQuorum,
    EachQuorum,
}

impl Consistency {
    const ALL: [(&'static str, Self); 8] = [
        ("ONE", Self::One),
        ("TWO", Self::Two),
        ("THREE", Self::Three),
        ("QUORUM", Self::Quorum),
        ("ALL", Self::All),
        ("LOCAL_ONE", Self::LocalOne),
        ("LOCAL_QUORUM", Self::LocalQuorum),
        ("EACH_QUORUM", Self::EachQuorum),
    ];
}

/// Cassandra's own longest time to live: 20 years of 365 days.
const TTL_MAX: Duration = Duration::from_hours(20 * 365 * 24);

impl SinkConfig {
    pub(super) fn read(section: &mut Section<'_>, topics: &TopicsConfig, gate: &str) -> Self {
        section.legal_text("table", "cassandra", "`cassandra`", |kind| kind == "cassandra");
        let dead = format!("{}_dead", topics.stock_data);
        let sink = Self {
            group: section.legal_text("group", "tickgate-sink", legal::ID_PART, legal::is_id_part),
            table: TableKind::Cassandra,
            dead_letter: section.legal_text("dead_letter", &dead, legal::TOPIC, legal::is_topic),
            max_in_flight: section.number("max_in_flight", 256, 1..=10_000),
            http: section.address("http", "127.0.0.1:9467"),
            cassandra: CassandraConfig::read(section),
        };
        if [&topics.staging, &topics.stock_data, &topics.bad_data].contains(&&sink.dead_letter) {
            let found = format!("`{}`", sink.dead_letter);
            section.reject_together("dead_letter", found, "a topic that isn't another's name already");
        }
        if sink.group == gate {
            let found = format!("`{gate}`");
            section.reject_together(
                "group",
                found,
                "a group other than `process.group`, which reads staging",
            );
        }
        sink
    }
}

impl CassandraConfig {
    fn read(section: &mut Section<'_>) -> Self {
        let contact_points = section.list("contact_points", &["127.0.0.1:9042"]);
        if contact_points.is_empty() || !contact_points.iter().all(|point| legal::is_address(point)) {
            let found = format!("`{}`", contact_points.join(","));
            let expected = "addresses such as `127.0.0.1:9042`, comma-separated";
            section.reject_together("contact_points", found, expected);
        }
        let names = Consistency::ALL.map(|(name, _)| name).join(", ");
        let consistency = section.legal_text("consistency", "LOCAL_QUORUM", &names, |text| {
            Consistency::ALL.iter().any(|(name, _)| *name == text)
        });
        let consistency = Consistency::ALL.iter().find(|(name, _)| *name == consistency);
        let strategies = ["NetworkTopologyStrategy", "SimpleStrategy"];
        let expected = "`NetworkTopologyStrategy` or `SimpleStrategy`";
        let strategy = section
            .legal_text("replication_strategy", strategies[0], expected, |text| strategies.contains(&text));
        Self {
            contact_points,
            keyspace: section.legal_text("keyspace", "stock_data", legal::KEYSPACE, legal::is_keyspace),
            replication: read_replication(section, strategy == strategies[1]),
            replication_strategy: strategy,
            consistency: consistency.map_or(Consistency::LocalQuorum, |(_, consistency)| *consistency),
            ttl: section.duration("ttl", "0s", Duration::ZERO..=TTL_MAX),
            ..Self::read_security(section)
        }
    }

    /// Who we are and who they are; the rest is empty.
    fn read_security(section: &mut Section<'_>) -> Self {
        let user = optional(section, "user");
        let password = section.secret("password");
        if user.is_some() != password.is_some() {
            section.reject_together("user", "one of the two", "`sink.user` and `sink.password` together");
        }
        let is_on = section.flag("tls", false);
        let authorities = optional(section, "tls_ca").map(PathBuf::from);
        let name = optional(section, "tls_name");
        let certificate = optional(section, "tls_certificate").map(PathBuf::from);
        let key = optional(section, "tls_key").map(PathBuf::from);
        if certificate.is_some() != key.is_some() {
            let expected = "`sink.tls_certificate` and `sink.tls_key` together";
            section.reject_together("tls_certificate", "one of the two", expected);
        }
        let tls = TlsConfig { authorities, name, identity: certificate.zip(key) };
        if !is_on && tls != TlsConfig::default() {
            section.reject_together("tls", "`false`", "`true`, as other keys of TLS are given");
        }
        Self {
            contact_points: Vec::new(),
            keyspace: String::new(),
            replication_strategy: String::new(),
            replication: Replication::Everywhere(1),
            consistency: Consistency::LocalQuorum,
            ttl: Duration::ZERO,
            user,
            password,
            tls: is_on.then_some(tls),
        }
    }
}

fn optional(section: &mut Section<'_>, name: &str) -> Option<String> {
    Some(section.legal_text(name, "", "a text", |_| true)).filter(|text| !text.is_empty())
}

fn read_replication(section: &mut Section<'_>, is_simple: bool) -> Replication {
    let items = section.list("replication", &["3"]);
    let copies = |text: &str| text.parse::<u32>().ok().filter(|copies| (1..=100).contains(copies));
    if let [only] = items.as_slice()
        && let Some(copies) = copies(only)
    {
        return Replication::Everywhere(copies);
    }
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let by_datacenter = items.iter().map(|item| {
        let (name, number) = item.split_once(':')?;
        Some((name.to_owned(), copies(number)?)).filter(|_| is_name(name))
    });
    match by_datacenter.collect::<Option<Vec<_>>>() {
        Some(known) if !known.is_empty() && !is_simple => Replication::ByDatacenter(known),
        _ => {
            let expected = if is_simple { "`1` to `100`" } else { "`1` to `100`, or such as `dc1:3,dc2:2`" };
            section.reject_together("replication", format!("`{}`", items.join(",")), expected);
            Replication::Everywhere(1)
        }
    }
}
