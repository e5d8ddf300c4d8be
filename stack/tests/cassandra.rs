//! A real Cassandra: what it acknowledged survives `kill -9`, its proxy breaks the line, it asks for
//! passwords and certificates, and nothing of it is left behind.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use openssl::ssl::{SslContextBuilder, SslFiletype, SslMethod, SslVerifyMode};
use scylla::client::{session::Session, session_builder::SessionBuilder};
use tickgate_stack::{Cassandra, StackError, process::Process};

const KEYSPACE: &str =
    "CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}";
const TABLE: &str = "CREATE TABLE k.t (id int PRIMARY KEY)";

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let node = Cassandra::builder().proxied().start().unwrap();
    let first = Process::find(node.pid().unwrap()).unwrap();
    let session = plain(&node.contact_point()).await;
    session.query_unpaged(KEYSPACE, ()).await.unwrap();
    session.query_unpaged(TABLE, ()).await.unwrap();

    // Writers go on until the kill takes the node from under them.
    let session = Arc::new(session);
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let session = Arc::clone(&session);
            tokio::spawn(async move {
                let insert = session.prepare("INSERT INTO k.t (id) VALUES (?)").await.unwrap();
                let mut acknowledged = Vec::new();
                for id in (writer..).step_by(8) {
                    if session.execute_unpaged(&insert, (id,)).await.is_err() {
                        break;
                    }
                    acknowledged.push(id);
                }
                acknowledged
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    node.kill().unwrap();
    assert!(!first.alive());
    assert!(matches!(node.kill().unwrap_err(), StackError::CassandraDown));
    let mut acknowledged: Vec<i32> = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());

    let contact = node.contact_point();
    node.start().unwrap();
    node.wait_ready().unwrap();
    assert_eq!(node.contact_point(), contact);
    let session = plain(&contact).await;
    let rows = session.query_unpaged("SELECT id FROM k.t", ()).await.unwrap().into_rows_result().unwrap();
    let mut found: Vec<i32> = rows.rows::<(i32,)>().unwrap().map(|row| row.unwrap().0).collect();
    found.sort_unstable();
    let lost = acknowledged.iter().filter(|id| found.binary_search(id).is_err()).count();
    assert_eq!(lost, 0, "of {}", acknowledged.len());

    line_breaks(&node, &session).await;
    let second = Process::find(node.pid().unwrap()).unwrap();
    let dir = node.dir().to_owned();
    drop(node);
    assert!(!second.alive());
    assert!(!dir.exists());
}

/// A delay is felt, a cut is refused, a paused node does not answer; and each ends.
async fn line_breaks(node: &Cassandra, session: &Session) {
    let ask = || session.query_unpaged("SELECT key FROM system.local", ());
    let proxy = node.proxy().unwrap();
    proxy.delay(Duration::from_millis(200));
    let began = Instant::now();
    ask().await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    proxy.cut();
    assert!(ask().await.is_err());
    proxy.mend();
    node.pause().unwrap();
    assert!(node.pid().is_some());
    let direct = node.direct();
    let direct = tokio::time::timeout(Duration::from_secs(1), plain(&direct));
    assert!(direct.await.is_err());
    node.resume().unwrap();
    node.wait_ready().unwrap();
    plain(&node.direct()).await;
}

#[tokio::test]
async fn passwords_and_certificates_are_asked_for() {
    let node = Cassandra::builder().login().client_certificates().start().unwrap();
    let authority = node.authority().unwrap();
    let identity = authority.client("reader").unwrap();
    let context = |shows: bool| {
        let mut context = SslContextBuilder::new(SslMethod::tls_client()).unwrap();
        context.set_ca_file(authority.certificate_file()).unwrap();
        context.set_verify(SslVerifyMode::PEER);
        if shows {
            context.set_certificate_file(&identity.certificate, SslFiletype::PEM).unwrap();
            context.set_private_key_file(&identity.key, SslFiletype::PEM).unwrap();
        }
        Some(context.build())
    };
    let connect = async |shows: bool, password: &str| {
        let mut builder = SessionBuilder::new().known_node(node.contact_point());
        builder = builder.tls_context(context(shows)).user(Cassandra::USER, password);
        builder.build().await
    };
    connect(true, Cassandra::PASSWORD).await.unwrap();
    assert!(connect(true, "wrong").await.is_err());
    assert!(connect(false, Cassandra::PASSWORD).await.is_err());
}

#[test]
fn the_command_prints_a_contact_point_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stack"))
        .arg("cassandra")
        .env("TMPDIR", home.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(command.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    std::net::TcpStream::connect(&line).unwrap();
    let folder = std::fs::read_dir(home.path()).unwrap().next().unwrap().unwrap().path();
    let node = Process::load(&folder.join("cassandra/pid")).unwrap();
    kill(Pid::from_raw(i32::try_from(command.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(command.wait().unwrap().success());
    assert!(!node.alive());
    assert!(
        std::fs::read_dir(home.path()).unwrap().all(|left| !left.unwrap().path().join("cassandra").exists())
    );
}

#[test]
fn a_dead_owner_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let mut owner = Command::new(env!("CARGO_BIN_EXE_stack"))
        .args(["cassandra", "--data"])
        .arg(home.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    let node = loop {
        if let Some(node) = Process::load(&home.path().join("cassandra/pid")) {
            break node;
        }
        assert!(Instant::now() < deadline, "no process in {}", home.path().display());
        std::thread::sleep(Duration::from_millis(20));
    };
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(node.wait_gone(Duration::from_secs(10)), "{node:?} outlived its owner");
}

#[test]
fn a_start_that_fails_shows_the_log_and_leaves_nothing_running() {
    let home = tempfile::tempdir().unwrap();
    let failed = Cassandra::builder().dir(home.path()).setting("no_such_setting", "1").start().unwrap_err();
    let StackError::Cassandra { tail, log, .. } = failed else { panic!("{failed}") };
    assert!(tail.contains("no_such_setting"), "{tail}");
    assert!(log.exists());
    assert_eq!(Process::load(&home.path().join("cassandra/pid")), None);
}

async fn plain(contact: &str) -> Session {
    SessionBuilder::new().known_node(contact).build().await.unwrap()
}
