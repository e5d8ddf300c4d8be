//! `[rules]`

use std::time::Duration;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::reader::Section;
use crate::model::Rule;

/// What breaking a rule that can be chosen about does to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// The record goes to `bad_data`.
    Reject,
    /// The record passes, marked with the rule's name.
    Suspect,
    /// The rule is not judged.
    Off,
}

/// Thresholds of the rules, and what the suspect ones do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesConfig {
    /// `max_value_bytes`: a longer value is `too_large`: 1 to 100000000. Default: 65536.
    pub max_value_bytes: u32,
    /// `max_symbol_bytes`: a longer symbol is `too_large`: 1 to 4096, in bytes of UTF-8. Default: 256.
    pub max_symbol_bytes: u32,
    /// `late`: `suspect` or `off`. Default: `suspect`.
    pub late: Treatment,
    /// `price_jump`: `suspect` or `off`. Default: `suspect`.
    pub price_jump: Treatment,
    /// `price_jump_factor`, in thousandths: a price that is more than this many times the symbol's last one, or
    /// less than one part in so many of it, is a `price_jump`: 1.001 to 1000. Default: 2.
    pub price_jump_permille: i64,
    /// `repeated_price`: `suspect` or `off`. Default: `suspect`.
    pub repeated_price: Treatment,
    /// `repeated_price_after`: a price that has been the same for longer, by event time, is a `repeated_price`.
    /// Default: `1h`.
    pub repeated_price_after: Duration,
    /// `wrong_partition`: `suspect`, `reject` or `off`. Default: `suspect`.
    pub wrong_partition: Treatment,
}

impl RulesConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let factor =
            section.number("price_jump_factor", Decimal::TWO, Decimal::new(1_001, 3)..=Decimal::ONE_THOUSAND);
        let permille = factor * Decimal::ONE_THOUSAND;
        if permille.fract() != Decimal::ZERO {
            section.reject_together("price_jump_factor", format!("`{factor}`"), "at most 3 decimals");
        }
        Self {
            max_value_bytes: section.number("max_value_bytes", 65_536, 1..=100_000_000),
            max_symbol_bytes: section.number("max_symbol_bytes", 256, 1..=4_096),
            late: treatment(section, "late", false),
            price_jump: treatment(section, "price_jump", false),
            price_jump_permille: permille.to_i64().unwrap_or(2_000),
            repeated_price: treatment(section, "repeated_price", false),
            repeated_price_after: section.duration(
                "repeated_price_after",
                "1h",
                Duration::from_secs(1)..=Duration::from_hours(24) * 365,
            ),
            wrong_partition: treatment(section, "wrong_partition", true),
        }
    }

    /// The rules that can be chosen about, and what was chosen.
    pub fn treatments(&self) -> [(Rule, Treatment); 4] {
        [
            (Rule::PriceJump, self.price_jump),
            (Rule::Late, self.late),
            (Rule::RepeatedPrice, self.repeated_price),
            (Rule::WrongPartition, self.wrong_partition),
        ]
    }

    /// What of this changes verdicts, where it is not what holds by default: so the defaults have the
    /// fingerprint that they had before there was anything to set.
    pub(super) fn fingerprint_fields(&self) -> Vec<(String, String)> {
        let treated = |treatment: Treatment| match treatment {
            Treatment::Suspect => 0,
            Treatment::Reject => 1,
            Treatment::Off => 2,
        };
        let fields = [
            ("rules.late", treated(self.late), 0),
            ("rules.max_symbol_bytes", self.max_symbol_bytes.into(), 256),
            ("rules.max_value_bytes", self.max_value_bytes.into(), 65_536),
            ("rules.price_jump", treated(self.price_jump), 0),
            ("rules.price_jump_permille", self.price_jump_permille.unsigned_abs().into(), 2_000),
            ("rules.repeated_price", treated(self.repeated_price), 0),
            ("rules.repeated_price_after_ms", self.repeated_price_after.as_millis(), 3_600_000),
            ("rules.wrong_partition", treated(self.wrong_partition), 0),
        ];
        fields
            .into_iter()
            .filter(|(_, value, default)| value != default)
            .map(|(name, value, _): (&str, u128, u128)| (name.to_owned(), value.to_string()))
            .collect()
    }
}

fn treatment(section: &mut Section<'_>, name: &str, may_reject: bool) -> Treatment {
    let expected = if may_reject { "`suspect`, `reject` or `off`" } else { "`suspect` or `off`" };
    let read = |text: &str| match text {
        "suspect" => Some(Treatment::Suspect),
        "reject" if may_reject => Some(Treatment::Reject),
        "off" => Some(Treatment::Off),
        _ => None,
    };
    let text = section.legal_text(name, "suspect", expected, |text| read(text).is_some());
    read(&text).unwrap_or(Treatment::Suspect)
}
