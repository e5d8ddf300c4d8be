//! The image's recipe.

use crate::{checkout, read};

fn lines() -> Vec<String> {
    read("Dockerfile").replace("\\\n", " ").lines().map(str::to_owned).collect()
}

#[test]
fn the_image_is_built_from_the_lock_file_on_a_pinned_base_and_runs_as_nobody() {
    let lines = lines();
    let from: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("FROM ")).collect();
    for base in &from {
        let (image, _) = base.split_once(" AS ").unwrap();
        let (_, tag) = image.split_once(':').unwrap_or_else(|| panic!("`{image}` has no version"));
        assert!(tag.contains('.'), "`{image}` is not pinned");
    }
    assert!(from.last().unwrap().ends_with(" AS tickgate"), "what a plain build gives is the last stage");
    assert!(lines.iter().any(|line| line.contains("cargo build --locked --release")));
    let last = lines.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    let of = |word: &str| lines[last..].iter().filter(|line| line.starts_with(word)).count();
    assert_eq!((of("USER 10001:10001"), of("USER"), of("HEALTHCHECK"), of("ENTRYPOINT")), (1, 1, 1, 1));
    let health = lines.iter().find(|line| line.starts_with("HEALTHCHECK")).unwrap();
    let (_, command) = health.split_once("CMD ").unwrap();
    let command: Vec<String> = serde_json::from_str(command).unwrap();
    crate::commands::assert_known("Dockerfile", &command[1..]);
}

#[test]
fn what_the_build_needs_reaches_it_and_nothing_else() {
    let ignored = read(".dockerignore");
    let let_in: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(ignored.lines().any(|line| line == "*"));
    for path in &let_in {
        assert!(checkout(path).exists(), "`.dockerignore` lets in `{path}`, which is not there");
    }
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    for member in members.iter().map(|member| member.as_str().unwrap()).chain(["src", "dev", "Cargo.lock"]) {
        assert!(let_in.contains(&member), "the build has no `{member}`");
    }
}
