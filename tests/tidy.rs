//! The house's order, as far as a text search can hold it: which room sees which, how long files and
//! functions are, what may not be named, and what the core may not touch.
//!
//! Each check takes a path and a text and returns what is wrong, so that the tests at the end can show each
//! of them fail. It reads lines as rustfmt leaves them; it does not parse Rust.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

use std::{
    fs,
    path::{Path, PathBuf},
};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const ROOMS: [&str; 11] =
    ["audit", "config", "core", "finnhub", "journal", "model", "query", "roles", "table", "telemetry", "web"];
const FORBIDDEN_NAMES: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "manager", "managers"];
/// What would make the core's answers depend on more than its inputs.
const IMPURE: [&str; 13] = [
    "SystemTime",
    "WallTime::now",
    "Instant::",
    "std::time::Instant",
    "rand::",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::fs",
    "std::net",
    "std::thread",
    "std::env",
    "tokio::",
    "async fn",
];
/// Where somebody's machine shows through; in pieces, so that this file passes.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];

#[test]
fn rooms_see_only_what_they_may() {
    report(rust_files().iter().flat_map(|(path, text)| walls(path, text)));
    report(core_beside_journal(&rust_files()));
}

#[test]
fn files_and_functions_fit() {
    report(rust_files().iter().flat_map(|(path, text)| sizes(path, text)));
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    let files = rust_files();
    let tests = test_modules(&files);
    report(
        files.iter().filter(|(path, _)| !tests.contains(path)).flat_map(|(path, text)| unwraps(path, text)),
    );
}

#[test]
fn names_say_what_things_are() {
    report(rust_files().iter().flat_map(|(path, text)| names(path, text)));
}

#[test]
fn the_core_is_pure() {
    report(rust_files().iter().flat_map(|(path, text)| impurities(path, text)));
}

#[test]
fn no_machine_shows_through() {
    report(files(&["rs", "md", "toml", "xml", "yml", "yaml", "json", ""]).iter().flat_map(machine_paths));
}

// ---- the checks ----

/// Rooms that `path` refers to but may not see.
fn walls(path: &str, text: &str) -> Vec<String> {
    let Some(room) = room(path) else { return Vec::new() };
    let seen = seen_rooms(path, text);
    let mut faults: Vec<String> = seen
        .iter()
        .filter(|seen| match room {
            "core" => **seen != "model" && **seen != "core",
            "model" => **seen != "model",
            "audit" => !["audit", "core", "model"].contains(seen),
            "table" => !["config", "model", "table"].contains(seen),
            "query" => !["model", "query", "telemetry"].contains(seen),
            "roles" => false,
            _ => **seen == "roles",
        })
        .map(|seen| format!("{path}: `{room}` may not see `{seen}`"))
        .collect();
    if room == "core" && code(text).any(|line| line.contains("tickgate_state")) {
        faults.push(format!("{path}: `core` may not see `tickgate_state`"));
    }
    faults
}

/// Rooms other than `roles` whose files, taken together, see both the core and the journal.
fn core_beside_journal(files: &[(String, String)]) -> Vec<String> {
    ROOMS
        .into_iter()
        .filter(|room| *room != "roles")
        .filter(|wanted| {
            let mine: Vec<_> = files.iter().filter(|(path, _)| room(path) == Some(*wanted)).collect();
            let sees = |other: &str| {
                *wanted == other || mine.iter().any(|(path, text)| seen_rooms(path, text).contains(&other))
            };
            sees("core") && sees("journal")
        })
        .map(|room| format!("src/{room}: only `roles` may see `core` and `journal` together"))
        .collect()
}

/// The rooms that a text names through `crate::` or, from as deep as its file lies, `super::`.
fn seen_rooms(path: &str, text: &str) -> Vec<&'static str> {
    let joined = product(text).map(without_comment).collect::<Vec<_>>().join(" ");
    let up = "super::".repeat(module_depth(path));
    let mut seen = Vec::new();
    for prefix in ["crate::", up.as_str()] {
        for (start, _) in joined.match_indices(prefix) {
            if joined[..start].ends_with("super::") {
                continue; // a longer chain, which leads elsewhere
            }
            let names = top_level_names(&joined[start + prefix.len()..]);
            seen.extend(ROOMS.into_iter().filter(|room| names.iter().any(|name| name == room)));
        }
    }
    seen.sort_unstable();
    seen.dedup();
    seen
}

/// The first names of a path or of a braced list of paths: `a::b` gives a; `{a::{b, c}, d}` gives a and d.
fn top_level_names(rest: &str) -> Vec<String> {
    let identifier = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(list) = rest.strip_prefix('{') else { return vec![identifier(rest)] };
    let mut names = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(identifier(&list[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(identifier(&list[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

fn sizes(path: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut faults = Vec::new();
    if lines.len() > FILE_LINES {
        faults.push(format!("{path}: {} lines, {FILE_LINES} at most", lines.len()));
    }
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let closing = format!("{indent}}}");
        let declared_only = lines[start..]
            .iter()
            .find(|line| line.ends_with(['{', '}', ';']))
            .is_some_and(|line| !line.ends_with('{'));
        let excused = lines[..start]
            .iter()
            .rev()
            .take_while(|line| line.trim_start().starts_with("#["))
            .any(|line| line.contains("allow(clippy::too_many_lines)"));
        if declared_only || excused {
            continue;
        }
        let length = lines[start..].iter().position(|line| **line == closing).map_or(0, |end| end + 1);
        if length > FUNCTION_LINES {
            faults
                .push(format!("{path}:{}: `{name}` has {length} lines, {FUNCTION_LINES} at most", start + 1));
        }
    }
    faults
}

/// The name of the function that a line begins.
fn function_name(line: &str) -> Option<String> {
    let (before, after) = line.trim_start().split_once("fn ")?;
    let qualifiers = ["pub", "const", "async", "extern", "default"];
    let plain = before
        .split_whitespace()
        .all(|word| qualifiers.contains(&word) || word.starts_with("pub(") || word == "\"C\"");
    let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (plain && !name.is_empty()).then_some(name)
}

fn unwraps(path: &str, text: &str) -> Vec<String> {
    if is_test(path) {
        return Vec::new();
    }
    product(text)
        .enumerate()
        .filter(|(_, line)| without_comment(line).contains(".unwrap()"))
        .map(|(at, _)| format!("{path}:{}: `unwrap` outside tests: say with `expect` why it holds", at + 1))
        .collect()
}

fn names(path: &str, text: &str) -> Vec<String> {
    let forbidden = |name: &str| {
        let name = name.trim_end_matches(".rs");
        words(name).iter().any(|word| FORBIDDEN_NAMES.contains(&word.as_str()))
    };
    let mut faults: Vec<String> = path
        .split('/')
        .filter(|part| forbidden(part))
        .map(|part| format!("{path}: `{part}` says nothing about what is in it"))
        .collect();
    for line in code(text) {
        let mut parts = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
        if let (Some("mod" | "struct" | "enum" | "trait" | "type"), Some(name)) = (parts.next(), parts.next())
        {
            let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if forbidden(&name) {
                faults.push(format!("{path}: `{name}` says nothing about what it is"));
            }
        }
    }
    faults
}

/// `snake_case` and `CamelCase` names, cut into their words, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c == '-' || c.is_uppercase() {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("there is always one word").extend(c.to_lowercase());
        }
    }
    words
}

fn impurities(path: &str, text: &str) -> Vec<String> {
    if room(path) != Some("core") || is_test(path) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (at, line) in product(text).map(without_comment).enumerate() {
        for word in IMPURE.iter().filter(|word| line.contains(**word)) {
            faults.push(format!("{path}:{}: the core may not use `{word}`", at + 1));
        }
    }
    faults.extend(hash_orders(path, text));
    faults
}

/// Places where the order of a hash map may reach the outside. A line that puts the order right, or does not
/// let it out, says so in a comment that begins with `order:`, on it or above it.
fn hash_orders(path: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = product(text).collect();
    let maps: Vec<&str> = lines
        .iter()
        .map(|line| without_comment(line))
        .filter(|line| line.contains("HashMap<") || line.contains("HashSet<"))
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(name, _)| name.split_whitespace().last())
        .collect();
    let walks =
        [".iter()", ".iter_mut()", ".keys()", ".values()", ".values_mut()", ".drain()", ".into_iter()"];
    let walked = |line: &str| {
        maps.iter().any(|map| {
            walks.iter().any(|walk| line.contains(&format!("{map}{walk}")))
                || line.split_once(" in ").is_some_and(|(_, what)| {
                    let what = what.trim_end_matches('{').trim().trim_start_matches('&');
                    what.trim_start_matches("mut ").trim_start_matches("self.") == *map
                })
        })
    };
    (0..lines.len())
        .filter(|&at| walked(without_comment(lines[at])))
        .filter(|&at| !lines[at].contains("// order:") && (at == 0 || !lines[at - 1].contains("// order:")))
        .map(|at| format!("{path}:{}: walks a hash map; say `// order: …` why that cannot be seen", at + 1))
        .collect()
}

fn machine_paths((path, text): &(String, String)) -> Vec<String> {
    let found = |line: &str| MACHINE_PATHS.iter().any(|machine| line.contains(machine));
    text.lines()
        .enumerate()
        .filter(|(_, line)| found(line))
        .map(|(at, line)| format!("{path}:{}: a path of some machine: {}", at + 1, line.trim()))
        .collect()
}

// ---- reading ----

fn report(faults: impl IntoIterator<Item = String>) {
    let faults: Vec<String> = faults.into_iter().collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The room of a path: `src/core/rules/mod.rs` lies in `core`.
fn room(path: &str) -> Option<&'static str> {
    let name = path.strip_prefix("src/")?.split('/').next()?.trim_end_matches(".rs");
    ROOMS.into_iter().find(|room| *room == name)
}

/// How many `super::` lead from a file's module to the crate's root.
fn module_depth(path: &str) -> usize {
    let parts = path.trim_start_matches("src/").split('/').count();
    if path.ends_with("/mod.rs") { parts - 1 } else { parts }
}

/// The files that another one declares as tests only: `#[cfg(test)]`, then `mod name;`.
fn test_modules(files: &[(String, String)]) -> Vec<String> {
    let mut modules = Vec::new();
    for (path, text) in files {
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = match file {
            "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
            _ => format!("{folder}/{}", file.trim_end_matches(".rs")),
        };
        let lines: Vec<&str> = text.lines().collect();
        let declared = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]").filter_map(|pair| {
            let name = pair[1].strip_prefix("mod ")?.strip_suffix(';')?;
            Some(format!("{folder}/{name}.rs"))
        });
        modules.extend(declared);
    }
    modules
}

fn is_test(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "benches" || part == "tests.rs")
}

/// The lines before the tests at a file's end.
fn product(text: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = text.lines().collect();
    let end = (0..lines.len())
        .find(|&at| {
            lines[at] == "#[cfg(test)]"
                && lines.get(at + 1).is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
        })
        .unwrap_or(lines.len());
    lines.into_iter().take(end)
}

fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(without_comment)
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") { "" } else { line.split(" //").next().unwrap_or(line) }
}

fn rust_files() -> Vec<(String, String)> {
    let files = files(&["rs"]);
    assert!(files.iter().any(|(path, _)| path == "src/lib.rs"), "run me in the checkout's root");
    files
}

/// Paths and texts of the checkout's files with one of these extensions.
fn files(extensions: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                let skipped = name == "target" || name == "data" || (name.starts_with('.') && name != ".ci");
                if !skipped {
                    folders.push(path);
                }
            } else if !name.starts_with('.')
                && extensions.contains(&extension.as_ref())
                && let Ok(text) = fs::read_to_string(&path)
            {
                found.push((path.strip_prefix(root).unwrap().to_string_lossy().into_owned(), text));
            }
        }
    }
    found
}

// ---- the checks can fail ----

#[test]
fn walls_stand() {
    let core = |text| walls("src/core/rules/mod.rs", text).len();
    assert_eq!(core("use crate::model::Quote;\nuse crate::core::record;\n// crate::journal\n"), 0);
    assert_eq!(core("use crate::{\n    model::Quote,\n    journal::{kafka, x},\n    roles,\n};"), 2);
    assert_eq!(core("use super::super::journal::kafka;"), 1);
    assert_eq!(core("use super::journal::kafka;"), 0);
    assert_eq!(core("use tickgate_state::Store;"), 1);
    assert_eq!(walls("src/model/quote.rs", "use crate::config::Kafka;").len(), 1);
    assert_eq!(walls("src/journal/mod.rs", "use crate::roles::process;").len(), 1);
    assert_eq!(
        walls("src/table/cassandra/write.rs", "use crate::{model::Row, journal, telemetry};").len(),
        2
    );
    assert_eq!(walls("src/roles/process.rs", "use crate::{core, journal};").len(), 0);
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let apart = [
        file("src/journal/a.rs", "use crate::model;"),
        file("src/roles/b.rs", "use crate::{core, journal};"),
    ];
    assert_eq!(core_beside_journal(&apart).len(), 0);
    assert_eq!(core_beside_journal(&[file("src/journal/a.rs", "use crate::core::record;")]).len(), 1);
    let split = [file("src/web/a.rs", "use crate::core;"), file("src/web/b.rs", "use crate::journal;")];
    assert_eq!(core_beside_journal(&split).len(), 1);
}

#[test]
fn long_things_are_found() {
    let function =
        |lines: usize| format!("    pub(crate) fn long() {{\n{}    }}\n", "        x();\n".repeat(lines));
    assert_eq!(sizes("a.rs", &function(FUNCTION_LINES - 2)).len(), 0);
    assert_eq!(sizes("a.rs", &function(FUNCTION_LINES - 1)).len(), 1);
    assert_eq!(sizes("a.rs", &format!("fn declared();\n{}", function(3))).len(), 0);
    let excused = format!("    #[allow(clippy::too_many_lines)] // a table\n{}", function(FUNCTION_LINES));
    assert_eq!(sizes("a.rs", &excused).len(), 0);
    assert_eq!(sizes("a.rs", &"\n".repeat(FILE_LINES + 1)).len(), 1);
}

#[test]
fn other_faults_are_found() {
    assert_eq!(unwraps("src/a.rs", "let a = b.unwrap();").len(), 1);
    assert_eq!(unwraps("src/a.rs", "#[cfg(test)]\nmod tests {\nlet a = b.unwrap();").len(), 0);
    assert_eq!(unwraps("tests/a.rs", "let a = b.unwrap();").len(), 0);
    let rules =
        ("src/core/rules/mod.rs".to_owned(), "#[cfg(test)]\nmod properties;\nmod codes;\n".to_owned());
    assert_eq!(test_modules(&[rules]), ["src/core/rules/properties.rs"]);
    assert_eq!(names("src/utils.rs", "").len(), 1);
    assert_eq!(
        names("src/a.rs", "pub(crate) struct TaskManager<T> {\nmod common;\nstruct Commonness;").len(),
        2
    );
    assert_eq!(impurities("src/core/a.rs", "let now = Instant::now();").len(), 1);
    assert_eq!(impurities("src/core/a.rs", "let now = WallTime::now();").len(), 1);
    assert_eq!(impurities("src/core/a.rs", "use std::collections::HashMap;").len(), 1);
    assert_eq!(impurities("src/roles/a.rs", "let now = Instant::now();").len(), 0);
    let field = "    overlay: HashMap<Symbol, Row>,\n";
    assert_eq!(hash_orders("a.rs", &format!("{field}for row in self.overlay.values() {{")).len(), 1);
    assert_eq!(hash_orders("a.rs", &format!("{field}for row in &self.overlay {{")).len(), 1);
    assert_eq!(
        hash_orders("a.rs", &format!("{field}// order: sorted below\nfor row in &self.overlay {{")).len(),
        0
    );
    assert_eq!(hash_orders("a.rs", &format!("{field}self.overlay.get(&symbol)")).len(), 0);
    let path = format!("see {}somebody/x", MACHINE_PATHS[0]);
    assert_eq!(machine_paths(&("README.md".to_owned(), path)).len(), 1);
}
