//! TLS, certificates of both sides, user and password: who is who, and what is said where somebody isn't.

use std::fs;

use tickgate_stack::{Authority, Cassandra, Identity};

use crate::{
    cluster::Settings,
    feed::now_ms,
    sink::{
        loader::Loader,
        source::{Straight, append, tables, topics},
        tables::settings_on,
    },
};

fn refused(settings: &Settings, words: &[&str]) {
    let run = settings.run(&["sink"]).ended(2);
    for word in words {
        assert!(run.err.contains(word), "expected `{word}` in {}", run.err);
    }
    assert!(!run.err.contains("hunter2"), "{}", run.err);
}

fn with_identity(settings: &Settings, identity: &Identity) -> Settings {
    settings
        .clone()
        .with("SINK__TLS_CERTIFICATE", identity.certificate.to_str().unwrap())
        .with("SINK__TLS_KEY", identity.key.to_str().unwrap())
}

#[test]
fn only_the_right_node_and_the_right_user_will_do() {
    let node = Cassandra::builder().client_certificates().login().start().expect("a Cassandra node starts");
    let other = tempfile::tempdir().unwrap();
    let authority = node.authority().unwrap();
    let ca = authority.certificate_file();
    let password = other.path().join("password");
    fs::write(&password, format!("{}\n", Cassandra::PASSWORD)).unwrap();
    let plain = settings_on(&node, "sink-secured");
    let settings = plain
        .clone()
        .with("SINK__TLS", "true")
        .with("SINK__TLS_CA", ca.to_str().unwrap())
        .with("SINK__USER", Cassandra::USER)
        .with("SINK__PASSWORD_FILE", password.to_str().unwrap());
    let unidentified = topics(settings);
    let settings = with_identity(&unidentified, &authority.client("sink").unwrap());
    tables(&settings);
    append(&settings, (0..10).map(|number| Straight::quote("AAPL", number, now_ms(), 0)));
    Loader::catch_up(&settings);
    Loader::catch_up(&settings.clone().with("SINK__TLS_NAME", "localhost"));

    let wrong = settings.clone().with("SINK__PASSWORD_FILE", "").with("SINK__PASSWORD", "hunter2");
    refused(&wrong, &["refuses the user `cassandra`", "check `sink.user` and `sink.password`"]);
    let nobody = settings.clone().with("SINK__PASSWORD_FILE", "").with("SINK__USER", "");
    refused(&nobody, &["refuses a client without a user"]);
    refused(
        &settings.clone().with("SINK__TLS_NAME", "db.example.com"),
        &["can't be trusted", "hostname mismatch", "`sink.tls_name`"],
    );
    // The system's authorities have never heard of this one.
    refused(&settings.clone().with("SINK__TLS_CA", ""), &["can't be trusted", "`sink.tls_ca`"]);
    // The node asks who we are, too.
    refused(&unidentified, &["refuses a client without a certificate", "check `sink.tls_certificate`"]);
    // One that it doesn't know is an internal error of its own to Cassandra, so that is all that can be told.
    let stranger = Authority::new(&other.path().join("stranger")).unwrap().client("sink").unwrap();
    let stranger = with_identity(&unidentified, &stranger);
    let run = stranger.run(&["sink", "schema", "--apply", "--timeout", "3s"]).ended(3);
    assert!(run.err.contains("no node of") && run.err.contains("alert"), "{}", run.err);
    let run = plain.run(&["sink", "schema", "--apply", "--timeout", "3s"]).ended(3);
    assert!(run.err.contains("check `sink.contact_points`"), "{}", run.err);
}
