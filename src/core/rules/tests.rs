//! A row for each rule, and several rules at once.

use super::view::MAX_DEPTH;
use super::*;
use crate::model::rejection::MAX_TEXT_BYTES;

/// 2026-11-22T14:00:00Z.
pub(super) const NOON: i64 = 1_795_356_000_000;

pub(super) fn settings() -> RuleSettings {
    RuleSettings::default()
}

pub(super) fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Record<'a> {
    Record { partition: 0, offset: 0, kafka_time: Some(NOON), key, value }
}

fn aapl(value: &[u8]) -> Record<'_> {
    record(Some(b"AAPL"), Some(value))
}

/// `rule field` of every broken rule; empty when the record was not rejected.
fn broken_by(record: &Record<'_>) -> Vec<String> {
    match judge(record, &settings()) {
        Verdict::Rejected(rejection) => {
            rejection.broken.iter().map(|one| format!("{} {}", one.rule.name(), one.field)).collect()
        }
        _ => Vec::new(),
    }
}

/// A good value whose field `name` says `raw`.
fn with(name: &str, raw: &str) -> String {
    let mut fields = [
        ("symbol", r#""AAPL""#),
        ("last_price", "189.12"),
        ("volume", "100"),
        ("timestamp", r#""2026-11-22T14:00:00Z""#),
    ];
    for field in &mut fields {
        if field.0 == name {
            field.1 = raw;
        }
    }
    let fields: Vec<_> = fields.iter().map(|(name, raw)| format!(r#""{name}":{raw}"#)).collect();
    format!("{{{}}}", fields.join(","))
}

#[test]
fn a_field_breaks_the_rule_it_should() {
    let digits = "1.2345678901234567890123456789";
    let rows = [
        ("symbol", "null", "null_field"),
        ("symbol", "1", "wrong_type"),
        ("symbol", r#"["AAPL"]"#, "wrong_type"),
        ("symbol", r#""""#, "wrong_type"),
        ("symbol", r#""\ud800""#, "not_utf8"),
        ("symbol", r#""\udc00\ud800""#, "not_utf8"),
        ("last_price", "null", "null_field"),
        ("last_price", r#""189.12""#, "wrong_type"),
        ("last_price", "true", "wrong_type"),
        ("last_price", r#"{"value":1}"#, "wrong_type"),
        ("last_price", "1e400", "not_finite"),
        ("last_price", "-1e400", "not_finite"),
        ("last_price", digits, "too_precise"),
        ("last_price", "1e-29", "too_precise"),
        ("last_price", "0", "price_not_positive"),
        ("last_price", "-0.0", "price_not_positive"),
        ("last_price", "0e5", "price_not_positive"),
        ("last_price", "-189.12", "price_not_positive"),
        ("volume", "null", "null_field"),
        ("volume", "false", "wrong_type"),
        ("volume", "1e400", "not_finite"),
        ("volume", digits, "too_precise"),
        ("volume", "-0.001", "negative_volume"),
        ("timestamp", "null", "null_field"),
        ("timestamp", "1795356000", "wrong_type"),
        ("timestamp", r#""""#, "bad_time"),
        ("timestamp", r#""2026-11-22T14:00:00""#, "bad_time"),
        ("timestamp", r#""2026-11-22 14:00:00Z""#, "bad_time"),
        ("timestamp", r#""2026-11-31T14:00:00Z""#, "bad_time"),
        ("timestamp", r#""2016-12-31T23:59:60Z""#, "bad_time"),
        ("timestamp", r#""2026-11-22T14:00:00\ud800""#, "not_utf8"),
        ("timestamp", r#""2026-11-22T14:00:05.001Z""#, "future_time"),
        ("timestamp", r#""9999-12-31T23:59:59Z""#, "future_time"),
    ];
    for (field, raw, rule) in rows {
        let value = with(field, raw);
        assert_eq!(broken_by(&aapl(value.as_bytes())), [format!("{rule} {field}")], "{value}");
    }
}

#[test]
fn a_value_breaks_the_rule_it_should() {
    let good = with("", "");
    let deep = |levels: usize| {
        format!(r#"{},"x":{}1{}}}"#, &good[..good.len() - 1], "[".repeat(levels), "]".repeat(levels))
    };
    let rows: [(Vec<u8>, &str); 24] = [
        (vec![], "not_json"),
        (b" ".to_vec(), "not_json"),
        (b"AAPL".to_vec(), "not_json"),
        (b"{".to_vec(), "not_json"),
        (b"{}{}".to_vec(), "not_json"),
        (b"[1,2".to_vec(), "not_json"),
        (b"{'symbol':1}".to_vec(), "not_json"),
        (with("last_price", "NaN").into(), "not_json"),
        (with("last_price", "-Infinity").into(), "not_json"),
        (with("last_price", "01").into(), "not_json"),
        (with("symbol", "\"AA\nPL\"").into(), "not_json"),
        (with("symbol", r#""\x""#).into(), "not_json"),
        (format!("\u{feff}{good}").into(), "not_json"),
        (format!("{good},").into(), "not_json"),
        (good.replace('}', ",}").into(), "not_json"),
        (b"null".to_vec(), "not_an_object"),
        (b" 17 ".to_vec(), "not_an_object"),
        (b"\"{}\"".to_vec(), "not_an_object"),
        (format!("[{good}]").into(), "not_an_object"),
        (vec![0xff], "not_utf8"),
        (
            good.replace("AAPL", "AA\u{0}L")
                .into_bytes()
                .into_iter()
                .map(|b| if b == 0 { 0xff } else { b })
                .collect(),
            "not_utf8",
        ),
        (deep(MAX_DEPTH).into(), "not_json"),
        (deep(20_000).into(), "not_json"),
        ("[".repeat(20_000).into(), "not_json"),
    ];
    for (value, rule) in rows {
        let shown = String::from_utf8_lossy(&value[..value.len().min(200)]).into_owned();
        assert_eq!(broken_by(&aapl(&value)), [format!("{rule} value")], "{shown}");
    }
    let nested = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    assert_eq!(broken_by(&aapl(nested.as_bytes())), ["not_json value"]);
    let known = with("volume", &nested);
    assert_eq!(broken_by(&aapl(known.as_bytes())), ["not_json value"]);
    assert_eq!(broken_by(&aapl(deep(MAX_DEPTH - 1).as_bytes())), [""; 0]);
    let brackets_in_a_string = format!(r#"{},"x":["\"{}"]}}"#, &good[..good.len() - 1], "[".repeat(500));
    assert_eq!(broken_by(&aapl(brackets_in_a_string.as_bytes())), [""; 0]);
}

#[test]
fn every_rule_that_is_broken_is_reported() {
    type Row<'a> = (Option<&'a [u8]>, &'a str, &'a [&'a str]);
    let rows: [Row<'_>; 7] = [
        (
            Some(b"AAPL"),
            r#"{"symbol":"AAPL","last_price":-1,"timestamp":"2027-01-01T00:00:00Z"}"#,
            &["price_not_positive last_price", "missing_field volume", "future_time timestamp"],
        ),
        (
            None,
            "{}",
            &[
                "missing_field symbol",
                "missing_field last_price",
                "missing_field volume",
                "missing_field timestamp",
                "missing_key key",
            ],
        ),
        (
            Some(b"MSFT"),
            r#"{"symbol":"AAPL","last_price":null,"volume":-1,"volume":2,"timestamp":"x"}"#,
            &["null_field last_price", "duplicate_field volume", "bad_time timestamp", "key_mismatch key"],
        ),
        (Some(b""), "nonsense", &["not_json value", "missing_key key"]),
        (None, "[]", &["not_an_object value", "missing_key key"]),
        // The same name, once written with an escape.
        (
            Some(b"A"),
            r#"{"symbol":"A","\u0073ymbol":"A","last_price":1,"volume":0,"timestamp":"2026-11-22T14:00:00Z"}"#,
            &["duplicate_field symbol"],
        ),
        // Nothing can be said about a key beside a symbol that is none.
        (
            Some(&[0xff]),
            r#"{"symbol":1,"last_price":1,"volume":0,"timestamp":"2026-11-22T14:00:00Z"}"#,
            &["wrong_type symbol"],
        ),
    ];
    for (key, value, rules) in rows {
        assert_eq!(broken_by(&record(key, Some(value.as_bytes()))), rules, "{value}");
    }
}

#[test]
fn the_key_must_be_the_symbol() {
    let value = with("", "");
    let rows: [(Option<&[u8]>, &[&str]); 6] = [
        (Some(b"AAPL"), &[]),
        (Some(b"aapl"), &["key_mismatch key"]),
        (Some(b"\"AAPL\""), &["key_mismatch key"]),
        (Some(&[0xff]), &["key_mismatch key"]),
        (Some(b""), &["missing_key key"]),
        (None, &["missing_key key"]),
    ];
    for (key, rules) in rows {
        assert_eq!(broken_by(&record(key, Some(value.as_bytes()))), rules, "{key:?}");
    }
    let escaped = with("symbol", r#""\u0041APL""#);
    assert_eq!(broken_by(&aapl(escaped.as_bytes())), [""; 0]);
}

#[test]
fn what_is_too_large_is_still_judged() {
    let long = "A".repeat(257);
    let value = with("symbol", &format!("\"{long}\""));
    assert_eq!(broken_by(&record(Some(long.as_bytes()), Some(value.as_bytes()))), ["too_large symbol"]);
    let fits = &long[..256];
    let value = with("symbol", &format!("\"{fits}\""));
    assert_eq!(broken_by(&record(Some(fits.as_bytes()), Some(value.as_bytes()))), [""; 0]);

    let mut value = with("last_price", "0");
    value.push_str(&" ".repeat(65_537 - value.len()));
    assert_eq!(broken_by(&aapl(value.as_bytes())), ["too_large value", "price_not_positive last_price"]);
    value.truncate(65_536);
    assert_eq!(broken_by(&aapl(value.as_bytes())), ["price_not_positive last_price"]);
}

#[test]
fn the_future_begins_after_the_skew() {
    let value = with("timestamp", r#""2026-11-22T14:00:05.000999Z""#);
    let mut near = aapl(value.as_bytes());
    assert_eq!(broken_by(&near), [""; 0]);
    near.kafka_time = Some(NOON - 1);
    assert_eq!(broken_by(&near), ["future_time timestamp"]);
    near.kafka_time = None;
    assert_eq!(broken_by(&near), [""; 0]);
    near.kafka_time = Some(i64::MAX);
    assert_eq!(broken_by(&near), [""; 0]);
    near.kafka_time = Some(i64::MIN);
    assert_eq!(broken_by(&near), ["future_time timestamp"]);
}

#[test]
fn a_tombstone_removes_the_symbol_of_its_key() {
    let judged = |key| judge(&record(key, None), &settings());
    assert_eq!(judged(Some("IC MARKETS:1".as_bytes())), Verdict::Removed { symbol: "IC MARKETS:1" });
    let long = "A".repeat(257);
    assert_eq!(broken_by(&record(None, None)), ["missing_key key"]);
    assert_eq!(broken_by(&record(Some(b""), None)), ["missing_key key"]);
    assert_eq!(broken_by(&record(Some(&[b'A', 0xc3]), None)), ["not_utf8 key"]);
    assert_eq!(broken_by(&record(Some(long.as_bytes()), None)), ["too_large key"]);
}

#[test]
fn a_record_in_another_partition_passes_marked() {
    let value = with("", "");
    let settings = RuleSettings { partitions: 85, ..settings() };
    let home = partition_of(b"AAPL", 85);
    for partition in 0..85 {
        let placed = Record { partition, ..aapl(value.as_bytes()) };
        let Verdict::Accepted { suspects, .. } = judge(&placed, &settings) else { panic!("rejected") };
        assert_eq!(suspects.contains(Rule::WrongPartition), partition != home);
        let Verdict::Accepted { suspects, .. } = judge(&placed, &self::settings()) else {
            panic!("rejected")
        };
        assert!(suspects.is_empty());
    }
}

#[test]
fn a_record_in_another_partition_is_rejected_or_not_looked_at_where_that_is_set() {
    let value = with("volume", "-1");
    let away = Record { partition: (partition_of(b"AAPL", 85) + 1) % 85, ..aapl(value.as_bytes()) };
    let rejects = RuleSettings { partitions: 85, rejects_wrong_partition: true, ..settings() };
    let Verdict::Rejected(Rejection { broken }) = judge(&away, &rejects) else { panic!("accepted") };
    let rules: Vec<_> = broken.iter().map(|one| one.rule).collect();
    assert_eq!(rules, [Rule::NegativeVolume, Rule::WrongPartition]);
    assert_eq!(broken[1].found, format!("partition {}", away.partition));
    let off = RuleSettings { suspects: Suspects::BY_HISTORY, ..rejects };
    let value = with("", "");
    let away = Record { value: Some(value.as_bytes()), ..away };
    assert!(matches!(judge(&away, &off), Verdict::Accepted { suspects, .. } if suspects.is_empty()));
}

#[test]
fn the_evidence_shows_what_was_there() {
    let evidence = |value: &[u8]| match judge(&aapl(value), &settings()) {
        Verdict::Rejected(Rejection { mut broken }) => {
            let one = broken.remove(0);
            (one.found, one.expected.into_owned())
        }
        other => panic!("{other:?}"),
    };
    let (found, expected) = evidence(with("last_price", "NaN").as_bytes());
    assert!(found.contains("\"last_price\":NaN,"), "{found}");
    assert!(expected.starts_with("JSON: expected value at line 1 column "), "{expected}");
    assert_eq!(evidence(b"{\"a\":\xff}"), ("byte 0xff at 5".into(), "UTF-8".into()));
    assert_eq!(evidence(with("volume", "-3").as_bytes()), ("-3".into(), "0 or more".into()));
    let (found, expected) = evidence(with("timestamp", "\"2026-11-22T14:00:06Z\"").as_bytes());
    assert_eq!(found, "2026-11-22T14:00:06Z");
    assert_eq!(expected, "at most 2026-11-22T14:00:05.000Z");
    let (found, _) = evidence(format!("\n\n  [\"{}\"", "é".repeat(3_000)).as_bytes());
    assert!(found.len() <= MAX_TEXT_BYTES, "{found}");
}
