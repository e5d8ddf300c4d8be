//! The table of all rules, as it stands in `docs/rules.md`.

use std::fmt::Write as _;

use crate::config::Config;
use crate::model::{Rule, Severity};

const BEFORE: &str = "\
# Rules

<!-- Written by `tickgate rules list > docs/rules.md`; a test compares the two. -->

Every record of `staging` is judged by all of them. A record that breaks a rule of severity `reject` goes to
`bad_data`, with every rule that it broke; of each field only the first is reported. One that breaks only rules of
severity `suspect` passes, with their names in the header `tg-suspect`.

A verdict follows from the record, the settings and what was accepted before it, never from the clock on the wall:
the future is what is later than the record's own Kafka time.

| rule | a record breaks it when | severity | fields | settings and their defaults | metric |
|---|---|---|---|---|---|
";

const AFTER: &str = "
## What may be changed

Thresholds are settings, as the table says. Each suspect rule can be turned `off`; `wrong_partition` can also be
made to `reject`.

Why not the others:

- What a rule of severity `reject` turns away is no quote: it has no price, no time or no symbol that could be
  stored, or a time in the future, which would hide all silences until then.
- `late`, `price_jump` and `repeated_price` depend on what came before. A `price_jump` that rejected would compare
  every later price with one from before the jump, and reject them all. And where a record went could be
  proved only for as long as its symbol's whole history is kept; `tickgate audit` proves every route from the record
  alone.

Settings that change verdicts are part of the fingerprint in checkpoint rows: an audit with other settings says so.

## How the suspect rules judge

- The last price is that of the symbol's last accepted quote that was not late. A jump is judged exactly, in
  decimals: more than `price_jump_factor` times the last price, or less than one part in so many of it.
- `1.5` and `1.50` are the same price. A price stands still from the first quote that had it; a quote with the same
  price whose event time is more than `repeated_price_after` later is marked, and so are those after it.
- An event time equal to the last one is not late. A late quote is marked and passes; it moves neither last-seen nor
  last price.
- A symbol's first quote, and the first after a tombstone, has nothing to be compared with.

## As metrics

The rate of a rule is `sum by (rule) (rate(tickgate_rejections_total[5m]))`; as a share of all records it is divided
by `scalar(sum(rate(tickgate_records_total[5m])))`. The share of rejected records, each counted once, is
`sum(rate(tickgate_records_total{result=\"rejected\"}[5m])) / sum(rate(tickgate_records_total[5m]))`.
`tickgate_suspects_total` is read in the same way. `tickgate bad stats` counts what is in `bad_data` itself.

`tickgate rules test FILE` judges a file of records offline, these rules included.
";

/// The whole page.
pub(super) fn markdown() -> String {
    let mut page = BEFORE.to_owned();
    let config = Config::load(None, []).expect("the defaults are legal settings");
    for rule in Rule::ALL {
        let (severity, counters): (_, &[_]) = match (rule.severity(), rule.may_reject()) {
            (Severity::Reject, _) => ("`reject`", &["rejections"]),
            (Severity::Suspect, true) => ("`suspect`, may be `reject` or `off`", &["suspects", "rejections"]),
            (Severity::Suspect, false) => ("`suspect`, may be `off`", &["suspects"]),
        };
        let metrics = counters.iter().map(|of| format!("`tickgate_{of}_total{{rule=\"{}\"}}`", rule.name()));
        let fields: Vec<_> = rule.fields().iter().map(|field| format!("`{field}`")).collect();
        let settings: Vec<_> = settings_of(*rule)
            .iter()
            .filter_map(|key| config.settings().iter().find(|setting| setting.key == *key))
            .map(|setting| format!("`{} = {}`", setting.key, setting.value))
            .collect();
        let _ = writeln!(
            page,
            "| `{name}` | {meaning} | {severity} | {} | {} | {} |",
            fields.join(", "),
            settings.join(", "),
            metrics.collect::<Vec<_>>().join(" or "),
            name = rule.name(),
            meaning = rule.meaning(),
        );
    }
    page.push_str(AFTER);
    page
}

/// The settings that bear on a rule.
fn settings_of(rule: Rule) -> &'static [&'static str] {
    match rule {
        Rule::FutureTime => &["freshness.future_skew"],
        Rule::TooLarge => &["rules.max_value_bytes", "rules.max_symbol_bytes"],
        Rule::PriceJump => &["rules.price_jump", "rules.price_jump_factor"],
        Rule::Late => &["rules.late"],
        Rule::RepeatedPrice => &["rules.repeated_price", "rules.repeated_price_after"],
        Rule::WrongPartition => &["rules.wrong_partition", "topics.partitions"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rules.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == markdown(),
            "docs/rules.md is not what the rules are: run `target/release/tickgate rules list > docs/rules.md`"
        );
    }

    #[test]
    fn every_setting_of_a_rule_is_one_and_every_setting_of_the_rules_is_shown() {
        let config = Config::load(None, []).unwrap();
        let shown: Vec<_> = Rule::ALL.iter().flat_map(|rule| settings_of(*rule)).collect();
        for key in &shown {
            assert!(config.settings().iter().any(|setting| setting.key == **key), "{key}");
        }
        for setting in config.settings().iter().filter(|setting| setting.key.starts_with("rules.")) {
            assert!(shown.contains(&&setting.key.as_str()), "{}", setting.key);
        }
    }
}
