//! `tickgate rules test`, as whoever tunes thresholds runs it, and as CI does.

use std::fs;

use serde_json::Value;

use crate::cluster::Settings;

const GOOD: &str = r#"{"symbol":"AAPL","last_price":189.10,"volume":3,"timestamp":"2026-11-20T15:00:00Z"}"#;
/// Within the factor that is set by default.
const HIGHER: &str = r#"{"symbol":"AAPL","last_price":250.00,"volume":3,"timestamp":"2026-11-20T15:00:01Z"}"#;
const NEGATIVE: &str = r#"{"symbol":"AAPL","last_price":-1,"volume":3,"timestamp":"2026-11-20T15:00:02Z"}"#;

#[test]
fn a_file_is_judged_and_the_exit_code_says_how() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, lines: &[&str]| {
        let path = folder.path().join(name);
        fs::write(&path, lines.join("\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let settings = Settings::of("rules-test");
    let good = file("good.jsonl", &[GOOD, HIGHER]);
    let run = settings.run(&["rules", "test", &good]).ended(0);
    assert!(!run.out.contains("price_jump"), "{}", run.out);
    // A threshold is tried out; what it marks still passes.
    let run =
        settings.clone().with("RULES__PRICE_JUMP_FACTOR", "1.2").run(&["rules", "test", &good]).ended(0);
    assert!(run.out.contains("price_jump"), "{}", run.out);

    let mixed = file("mixed.jsonl", &[GOOD, NEGATIVE]);
    let run = settings.run(&["rules", "test", "--json", &mixed]).ended(1);
    let last: Value = serde_json::from_str(run.out.lines().last().unwrap()).unwrap();
    let last = &last["summary"];
    assert!(run.out.contains("price_not_positive") && last["records"] == 2, "{}", run.out);
    assert_eq!((&last["accepted"], &last["rejected"]), (&1.into(), &1.into()), "{last}");

    let missing = folder.path().join("none.jsonl");
    let missing = missing.to_str().unwrap();
    assert!(settings.run(&["rules", "test", missing]).ended(2).err.contains(missing));
    let wrong = settings.with("RULES__PRICE_JUMP_FACTOR", "0.5").run(&["rules", "test", &good]).ended(2);
    assert!(wrong.err.contains("rules.price_jump_factor"), "{}", wrong.err);
}
