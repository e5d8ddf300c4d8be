//! Every crate we build has a licence we accept, comes from crates.io and is not banned: what `deny.toml`
//! says, held without cargo-deny, which takes minutes to build. Known vulnerabilities are not looked up
//! here: `./check --all` does that.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

use std::process::Command;

use serde_json::Value;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[test]
fn what_is_built_obeys_deny_toml() {
    let policy: toml::Table = std::fs::read_to_string("deny.toml").unwrap().parse().unwrap();
    let allowed: Vec<&str> =
        policy["licenses"]["allow"].as_array().unwrap().iter().filter_map(toml::Value::as_str).collect();
    let banned: Vec<&str> = policy["bans"]["deny"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["crate"].as_str())
        .collect();
    let packages = packages();
    assert!(packages.len() > 100, "cargo metadata lists {} packages", packages.len());
    let faults: Vec<String> =
        packages.iter().filter_map(|package| fault(package, &allowed, &banned)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What is wrong with a package of `cargo metadata`.
fn fault(package: &Value, allowed: &[&str], banned: &[&str]) -> Option<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let license = package["license"].as_str().unwrap_or_default();
    if !accepts(license, allowed) {
        return Some(format!("`{name}`: the licence `{license}` is not among deny.toml's"));
    }
    if banned.contains(&name) {
        return Some(format!("`{name}` is banned by deny.toml"));
    }
    match package["source"].as_str() {
        None | Some(CRATES_IO) => None,
        Some(other) => Some(format!("`{name}` comes from `{other}`, not from crates.io")),
    }
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether the SPDX expression can be met with the allowed licences; `/` is an old way to write `OR`.
fn accepts(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    let accepted = any(&mut words, allowed);
    accepted && words.is_empty()
}

fn any(words: &mut Vec<&str>, allowed: &[&str]) -> bool {
    let mut accepted = all(words, allowed);
    while words.last() == Some(&"OR") {
        words.pop();
        accepted |= all(words, allowed);
    }
    accepted
}

fn all(words: &mut Vec<&str>, allowed: &[&str]) -> bool {
    let mut accepted = one(words, allowed);
    while words.last() == Some(&"AND") {
        words.pop();
        accepted &= one(words, allowed);
    }
    accepted
}

fn one(words: &mut Vec<&str>, allowed: &[&str]) -> bool {
    match words.pop() {
        Some("(") => any(words, allowed) & (words.pop() == Some(")")),
        Some(license) => {
            let mut accepted = allowed.contains(&license);
            if words.last() == Some(&"WITH") {
                // An exception is a licence of its own: none is on the list.
                accepted = false;
                words.truncate(words.len().saturating_sub(2));
            }
            accepted
        }
        None => false,
    }
}

#[test]
fn expressions_are_read_as_spdx_has_them() {
    let accepts = |expression| accepts(expression, &["MIT", "Zlib"]);
    for good in ["MIT", "GPL-3.0 OR MIT", "Apache-2.0/MIT", "MIT AND Zlib", "(MIT OR X) AND (Y OR Zlib)"] {
        assert!(accepts(good), "{good}");
    }
    assert!(accepts("Apache-2.0 WITH LLVM-exception OR MIT"));
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR X) AND Y", "MIT WITH x-exception", "(MIT"] {
        assert!(!accepts(bad), "{bad}");
    }
}

#[test]
fn a_fault_is_found() {
    let package = |name: &str, license: &str, source: &str| serde_json::json!({ "name": name, "license": license, "source": source });
    let fault = |package: &Value| fault(package, &["MIT"], &["banned"]);
    assert_eq!(fault(&package("good", "MIT", CRATES_IO)), None);
    assert!(fault(&package("good", "GPL-3.0", CRATES_IO)).unwrap().contains("licence"));
    assert!(fault(&package("banned", "MIT", CRATES_IO)).unwrap().contains("banned"));
    assert!(fault(&package("good", "MIT", "git+https://example.com/x")).unwrap().contains("comes from"));
}
