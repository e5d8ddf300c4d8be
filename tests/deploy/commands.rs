//! Commands of ours exist, with their options.

use std::process::Command;

use crate::compose::Compose;

/// Panics unless the binary has the command and its options.
pub fn assert_known(place: &str, arguments: &[String]) {
    let is_word = |word: &&String| word.chars().all(|c| c.is_ascii_lowercase());
    let words: Vec<&String> = arguments.iter().take_while(is_word).collect();
    let mut binary = Command::new(env!("CARGO_BIN_EXE_tickgate"));
    let output = binary.args(&words).arg("--help").output().unwrap();
    assert!(!words.is_empty() && output.status.success(), "{place}: there is no `tickgate {arguments:?}`");
    let help = String::from_utf8(output.stdout).unwrap();
    for option in arguments.iter().filter(|word| word.starts_with("--")) {
        assert!(
            help.contains(&format!("{option} ")) || help.contains(&format!("{option}\n")),
            "{place}: no `{option}`"
        );
    }
}

#[test]
fn every_command_in_the_compose_file_exists() {
    let compose = Compose::read();
    for (name, service) in compose.ours() {
        assert_known(name, &service.command);
        if !service.healthcheck.disable {
            assert_eq!(service.healthcheck.test[..2], ["CMD", "tickgate"], "`{name}`");
            assert_known(name, &service.healthcheck.test[2..]);
        }
    }
}
