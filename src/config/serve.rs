//! `[serve]`

use std::{net::SocketAddr, time::Duration};

use super::{IngestConfig, ProcessConfig, Secret, SinkConfig, legal, reader::Section};

/// The page and its API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeConfig {
    /// `http`: where the page, `/v1`, `/metrics`, `/livez` and `/readyz` answer. Default: `127.0.0.1:8080`.
    pub http: SocketAddr,
    /// `instances`: the `http` addresses of `process`, `ingest` and `sink` that the page shows. Default: those that
    /// these settings give these three, but for port 0.
    pub instances: Vec<String>,
    /// `history`: where charts have the past from. `"cassandra"`: the table that `[sink]` names. `"memory"`: what
    /// this process has read of `stock_data`, bounded. Default: `memory`.
    pub history: HistoryKind,
    /// `look_back`: how far back `stock_data` and `bad_data` are read at the start. Default: `24h`.
    pub look_back: Duration,
    /// `look_back_records`: of each of the two topics at most so many, the newest. Default: 2000000.
    pub look_back_records: u32,
    /// `connections_max`: connections at a time; what is beyond waits. Default: 256.
    pub connections_max: u32,
    /// `streams_max`: pages that are kept up to date at a time; what is beyond is refused. Default: 64.
    pub streams_max: u32,
    /// Who may look.
    pub access: Access,
}

/// Where charts have the past from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryKind {
    /// What was read of `stock_data`.
    Memory,
    /// The table.
    Cassandra,
}

/// Who may look; keys of `[serve]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// `auth`: `"required"` asks everybody for `token`, or for `user` and `password`. `"none"` asks nobody, wherever
    /// the page is bound. `"auto"` asks where one of them is set, and needs one where `http` is not a loopback
    /// address. Default: `auto`.
    pub is_asked: bool,
    /// `token`, or `token_file`: programs send it as `Authorization: Bearer …`; browsers ask for it as a password, of
    /// any user.
    pub token: Option<Secret>,
    /// `user` and `password`, or `password_file`: asked for by browsers.
    pub login: Option<(String, Secret)>,
}

impl ServeConfig {
    pub(super) fn read(
        section: &mut Section<'_>,
        process: &ProcessConfig,
        ingest: &IngestConfig,
        sink: &SinkConfig,
    ) -> Self {
        let ours = [process.http, ingest.http, sink.http];
        let ours: Vec<String> =
            ours.iter().filter(|address| address.port() != 0).map(ToString::to_string).collect();
        let defaults: Vec<&str> = ours.iter().map(String::as_str).collect();
        let instances = section.list("instances", &defaults);
        if let Some(wrong) = instances.iter().find(|instance| !legal::is_address(instance)) {
            let expected = "addresses such as `127.0.0.1:9464`, comma-separated";
            section.reject_together("instances", format!("`{wrong}`"), expected);
        }
        let history = section.legal_text("history", "memory", "`memory` or `cassandra`", |text| {
            ["memory", "cassandra"].contains(&text)
        });
        let http = section.address("http", "127.0.0.1:8080");
        Self {
            http,
            instances,
            history: if history == "memory" { HistoryKind::Memory } else { HistoryKind::Cassandra },
            look_back: section.duration("look_back", "24h", Duration::ZERO..=Duration::from_hours(24 * 30)),
            look_back_records: section.number("look_back_records", 2_000_000, 0..=100_000_000),
            connections_max: section.number("connections_max", 256, 1..=10_000),
            streams_max: section.number("streams_max", 64, 1..=10_000),
            access: Access::read(section, http),
        }
    }
}

impl Access {
    fn read(section: &mut Section<'_>, http: SocketAddr) -> Self {
        let auth = section.legal_text("auth", "auto", "`auto`, `required` or `none`", |text| {
            ["auto", "required", "none"].contains(&text)
        });
        let token = section.secret("token");
        let user = section.legal_text("user", "", "a name without a colon", |text| !text.contains(':'));
        let password = section.secret("password");
        if user.is_empty() != password.is_none() {
            section.reject_together("user", "one of the two", "`serve.user` and `serve.password` together");
        }
        let login = password.filter(|_| !user.is_empty()).map(|password| (user, password));
        let has_secret = token.is_some() || login.is_some();
        let is_needed = auth == "required" || (auth == "auto" && !http.ip().is_loopback());
        if is_needed && !has_secret {
            let found = format!("`{auth}` with `serve.http = \"{http}\"`, and neither token nor password");
            let expected = "`serve.token`, or `serve.user` and `serve.password`, for everybody who reaches the address \
                            can look; or `none`, if everybody may";
            section.reject_together("auth", found, expected);
        }
        Self { is_asked: auth != "none" && has_secret, token, login }
    }
}
