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
    let bans = policy["bans"]["deny"].as_array().unwrap();
    let (wrapped, banned): (Vec<&toml::Value>, Vec<_>) =
        bans.iter().partition(|ban| ban.get("wrappers").is_some());
    let banned: Vec<&str> = banned.iter().filter_map(|ban| ban["crate"].as_str()).collect();
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "cargo metadata lists {} packages", packages.len());
    let mut faults: Vec<String> =
        packages.iter().filter_map(|package| fault(package, &allowed, &banned)).collect();
    for ban in wrapped {
        let name = ban["crate"].as_str().unwrap();
        let wrappers: Vec<&str> =
            ban["wrappers"].as_array().unwrap().iter().filter_map(toml::Value::as_str).collect();
        faults.extend(unwrapped(&metadata, name, &wrappers));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Who is built with `banned` as a direct dependency of its own, and is none of the `wrappers`.
fn unwrapped(metadata: &Value, banned: &str, wrappers: &[&str]) -> Vec<String> {
    let packages = metadata["packages"].as_array().unwrap();
    let name =
        |id: &Value| packages.iter().find(|package| &package["id"] == id).unwrap()["name"].as_str().unwrap();
    let depends = |node: &&Value| {
        node["deps"].as_array().unwrap().iter().any(|dependency| name(&dependency["pkg"]) == banned)
    };
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let dependents = nodes.iter().filter(depends).map(|node| name(&node["id"]));
    let others = dependents.filter(|dependent| !wrappers.contains(dependent));
    others.map(|other| format!("`{other}` depends on `{banned}`, which deny.toml bans")).collect()
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

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
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
fn a_wrapped_ban_holds_for_all_but_its_wrappers() {
    let metadata = serde_json::json!({
        "packages": [{ "id": "1", "name": "clock" }, { "id": "2", "name": "driver" }],
        "resolve": { "nodes": [{ "id": "1", "deps": [] }, { "id": "2", "deps": [{ "pkg": "1" }] }] },
    });
    assert_eq!(unwrapped(&metadata, "clock", &["driver"]), [""; 0]);
    assert_eq!(unwrapped(&metadata, "clock", &[]).len(), 1);
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
