//! A session with the cluster: how it is made, and the statements that live with it.

use std::error::Error as _;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::client::{PoolSize, WriteCoalescingDelay};
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, MetadataError,
    NewSessionError, PrepareError,
};
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency as Level, Statement};

use super::schema::SchemaError;
use super::security::{self, Refusals, TlsError};
use crate::config::{CassandraConfig, Consistency, Secret};

/// How long a node may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may stay without an answer; Cassandra's own bounds are 2 to 10 s.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection is tried so often, and given up when nothing comes back for as long again.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long nodes may take to agree on a schema that was changed.
const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// A keyspace of a cluster, and the statements that write to it.
#[derive(Debug)]
pub struct Cassandra {
    pub(super) session: Session,
    pub(super) keyspace: String,
    pub(super) insert_stock: PreparedStatement,
    pub(super) insert_latest: PreparedStatement,
}

/// A cluster that rows can't be written to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No node answers, or none is ready.
    #[error("no node of `{nodes}` answers ({cause}); check `sink.contact_points` and that they are up")]
    Unreachable {
        /// The addresses that were tried.
        nodes: String,
        /// The driver's words.
        cause: String,
    },
    /// A node refuses user or password.
    #[error("`{nodes}` refuses {who} ({cause}); check `sink.user` and `sink.password`")]
    Login {
        /// The addresses that were tried.
        nodes: String,
        /// The user, or that there is none.
        who: String,
        /// The node's words.
        cause: String,
    },
    /// A node can't prove who it is.
    #[error("`{nodes}` can't be trusted: {cause}; check `sink.tls_ca` and `sink.tls_name`")]
    Certificate {
        /// The addresses that were tried.
        nodes: String,
        /// What is wrong with its certificate.
        cause: String,
    },
    /// A node doesn't take our own certificate, or misses one.
    #[error("`{nodes}` refuses {who} ({cause}); check `sink.tls_certificate` and `sink.tls_key`")]
    Unidentified {
        /// The addresses that were tried.
        nodes: String,
        /// The certificate, or that there is none.
        who: &'static str,
        /// `OpenSSL`'s words for the node's.
        cause: String,
    },
    /// TLS can't be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The schema is missing, or another.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

impl ConnectError {
    /// Whether it may go away without anybody changing settings.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Schema(error) => error.is_passing(),
            Self::Login { .. } | Self::Certificate { .. } | Self::Unidentified { .. } | Self::Tls(_) => false,
        }
    }
}

impl Cassandra {
    /// Connects, holds the schema against what is expected, and prepares the statements. One attempt.
    pub async fn connect(config: &CassandraConfig) -> Result<Self, ConnectError> {
        let session = open(config).await?;
        super::schema::check(&session, &config.keyspace).await?;
        let prepare = async |cql: String| {
            let mut statement =
                session.prepare(Statement::new(cql)).await.map_err(|error| unprepared(config, &error))?;
            statement.set_is_idempotent(true);
            Ok::<_, ConnectError>(statement)
        };
        let insert_stock = prepare(super::write::insert_stock(config)).await?;
        let insert_latest = prepare(super::write::insert_latest(config)).await?;
        Ok(Self { session, keyspace: config.keyspace.clone(), insert_stock, insert_latest })
    }

    /// Whether the schema still is what statements were prepared for.
    pub async fn check_schema(&self) -> Result<(), SchemaError> {
        super::schema::check(&self.session, &self.keyspace).await
    }
}

/// A session, without any look at the keyspace.
pub(super) async fn open(config: &CassandraConfig) -> Result<Session, ConnectError> {
    let refusals = Refusals::default();
    let profile = ExecutionProfile::builder()
        .consistency(level(config.consistency))
        .request_timeout(Some(REQUEST_TIMEOUT))
        // It would hide what is going on: each failed attempt is to be counted and waited for.
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.contact_points)
        .default_execution_profile_handle(profile.into_handle())
        .connection_timeout(CONNECT_TIMEOUT)
        .pool_size(PoolSize::PerHost(NonZeroUsize::MIN))
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE)
        .schema_agreement_timeout(AGREEMENT_TIMEOUT)
        .write_coalescing_delay(WriteCoalescingDelay::SmallNondeterministic)
        // Where rows lie follows from the keyspace's replication; its tables are looked at by `schema`.
        .keyspaces_to_fetch([&config.keyspace]);
    if let (Some(user), Some(password)) = (&config.user, &config.password) {
        builder = builder.user(user, Secret::reveal(password));
    }
    if let Some(tls) = &config.tls {
        builder = builder.tls_context(Some(security::context(tls, &refusals)?));
    }
    builder.build().await.map_err(|error| failed(config, &error, &refusals))
}

fn failed(config: &CassandraConfig, error: &NewSessionError, refusals: &Refusals) -> ConnectError {
    let nodes = config.contact_points.join(",");
    if let Some(cause) = refusals.take() {
        return ConnectError::Certificate { nodes, cause };
    }
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
        last_connection_error,
    })) = error
    else {
        return ConnectError::Unreachable { nodes, cause: error.to_string() };
    };
    if let Some(cause) = refused_login(last_connection_error) {
        let who = config
            .user
            .as_ref()
            .map_or("a client without a user".to_owned(), |user| format!("the user `{user}`"));
        return ConnectError::Login { nodes, who, cause };
    }
    let cause = last_words(last_connection_error);
    match &config.tls {
        Some(tls) if security::is_about_our_certificate(&cause) => {
            let has_one = tls.identity.is_some();
            let who = if has_one { "our certificate" } else { "a client without a certificate" };
            ConnectError::Unidentified { nodes, who, cause }
        }
        _ => ConnectError::Unreachable { nodes, cause },
    }
}

fn refused_login(error: &ConnectionError) -> Option<String> {
    let ConnectionError::ConnectionSetupRequestError(setup) = error else { return None };
    match &setup.error {
        ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, words) => Some(words.clone()),
        ConnectionSetupRequestErrorKind::MissingAuthentication => Some("it asks for a user".to_owned()),
        _ => None,
    }
}

/// The innermost cause says most.
fn last_words(error: &ConnectionError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        cause = error.source();
    }
    text
}

fn unprepared(config: &CassandraConfig, error: &PrepareError) -> ConnectError {
    ConnectError::Unreachable { nodes: config.contact_points.join(","), cause: error.to_string() }
}

fn level(consistency: Consistency) -> Level {
    match consistency {
        Consistency::One => Level::One,
        Consistency::Two => Level::Two,
        Consistency::Three => Level::Three,
        Consistency::Quorum => Level::Quorum,
        Consistency::All => Level::All,
        Consistency::LocalOne => Level::LocalOne,
        Consistency::LocalQuorum => Level::LocalQuorum,
        Consistency::EachQuorum => Level::EachQuorum,
    }
}
