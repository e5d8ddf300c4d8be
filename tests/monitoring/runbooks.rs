//! Each alert has a section in a runbook that says what people need, with commands that exist.

use std::{collections::BTreeSet, process::Command};

use crate::{files, read, rules};

/// What every section says, in this order.
const PARTS: [&str; 4] = ["**Meaning.**", "**Impact.**", "**Diagnosis.**", "**Mitigation.**"];
const PREFIX: &str = "{{ $externalLabels.runbooks }}/";

/// The sections of a page: the heading's anchor, as GitHub makes it, and the text.
fn sections(page: &str) -> Vec<(String, String)> {
    let parts = page.split("\n## ").skip(1);
    let section = |part: &str| {
        let (heading, text) = part.split_once('\n').unwrap();
        (heading.trim().to_lowercase().replace(' ', "-"), text.to_owned())
    };
    parts.map(section).collect()
}

#[test]
fn every_alert_leads_to_its_section_and_every_section_is_of_an_alert() {
    let mut reached = BTreeSet::new();
    for (name, rule) in rules::alerts() {
        let url = rule.annotations.runbook_url.unwrap();
        let link = url
            .strip_prefix(PREFIX)
            .unwrap_or_else(|| panic!("`{name}`: `{url}` does not begin with `{PREFIX}`"));
        let (page, anchor) = link.split_once('#').unwrap();
        assert_eq!(anchor, name.to_lowercase(), "a section is called as its alert");
        let sections = sections(&read(&format!("docs/runbooks/{page}")));
        let (_, text) = sections
            .iter()
            .find(|(found, _)| found == anchor)
            .unwrap_or_else(|| panic!("`docs/runbooks/{page}` has no section `{name}`"));
        let places: Vec<Option<usize>> = PARTS.iter().map(|part| text.find(part)).collect();
        assert!(
            places.iter().all(Option::is_some) && places.is_sorted(),
            "`{name}` has not {PARTS:?}: {places:?}"
        );
        assert!(reached.insert((page.to_owned(), anchor.to_owned())), "`{link}` belongs to two alerts");
    }
    let of_the_batch = "batch.md#tickgatebatchfailed";
    assert!(read("airflow/dags/tickgate_batch.py").contains(of_the_batch));
    let (page, anchor) = of_the_batch.split_once('#').unwrap();
    reached.insert((page.to_owned(), anchor.to_owned()));
    for file in files("docs/runbooks", ".md").iter().filter(|file| !file.ends_with("README.md")) {
        let page = file.rsplit('/').next().unwrap();
        for (anchor, _) in sections(&read(file)) {
            assert!(
                reached.contains(&(page.to_owned(), anchor.clone())),
                "`{file}`: `{anchor}` is no alert's"
            );
        }
    }
}

/// Whether the binary knows a command: its words up to the first option or value.
fn is_known(words: &[&str]) -> bool {
    let mut binary = Command::new(env!("CARGO_BIN_EXE_tickgate"));
    binary.args(words).arg("--help").output().unwrap().status.success()
}

/// The commands of ours that a page shows as code, each as its words and its options: `tickgate audit --rows` gives
/// `audit`, and `--rows`.
fn commands(page: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let fences: Vec<&str> = page.split("```").collect();
    let spans = fences.iter().step_by(2).flat_map(|text| text.split('`').skip(1).step_by(2));
    let lines = fences.iter().skip(1).step_by(2).flat_map(|block| block.lines());
    let prompts = lines.filter_map(|line| line.strip_prefix("$ "));
    let ours = spans.chain(prompts).filter_map(|code| code.strip_prefix("tickgate "));
    ours.map(command).collect()
}

/// The words up to the first that is an option or a value, and all options.
fn command(code: &str) -> (Vec<&str>, Vec<&str>) {
    let words: Vec<&str> = code.split('#').next().unwrap_or_default().split_whitespace().collect();
    let is_plain = |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase());
    let options = words.iter().filter(|word| word.starts_with("--")).copied().collect();
    (words.iter().take_while(is_plain).copied().collect(), options)
}

#[test]
fn commands_are_found_in_pages() {
    let page = "Text `tickgate audit --rows` and\n```\n$ tickgate config show   # what\n```\nthen `tickgate_lag` or tickgate up.";
    assert_eq!(commands(page), [(vec!["audit"], vec!["--rows"]), (vec!["config", "show"], vec![])]);
}

#[test]
fn commands_in_runbooks_exist() {
    let mut seen = 0;
    for file in files("docs/runbooks", ".md") {
        let page = read(&file);
        for (words, options) in commands(&page) {
            assert!(is_known(&words), "`{file}`: there is no `tickgate {}`", words.join(" "));
            let mut binary = Command::new(env!("CARGO_BIN_EXE_tickgate"));
            let help = binary.args(&words).arg("--help").output().unwrap().stdout;
            let help = String::from_utf8(help).unwrap();
            for option in options {
                assert!(help.contains(option), "`{file}`: `tickgate {}` has no `{option}`", words.join(" "));
            }
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} commands were found");
    assert!(!is_known(&["audti"]));
}
