//! JSON numbers as exact decimals. What a [`Decimal`] cannot hold exactly is refused, never rounded.

use rust_decimal::Decimal;

/// Digits that a number may have, before and after the point together and each alone.
pub const MAX_DIGITS: i64 = 28;

/// Why a text is not an exact decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not a JSON number at all.
    #[error("not a JSON number")]
    NotANumber,
    /// 10^28 or beyond, whichever way it is written.
    #[error("10^28 or beyond")]
    TooLarge,
    /// More than 28 significant digits, or a place after the 28th behind the point.
    #[error("more than 28 digits")]
    TooPrecise,
}

/// The number that `text` says, digit for digit. The places behind the point are kept as written
/// (`1.50` stays `1.50`) unless there are more than 28 of them and the last ones are zeros. Leading and
/// trailing zeros are not significant digits: they never make a number too precise.
pub fn parse(text: &str) -> Result<Decimal, NumberError> {
    match parse_short(text.as_bytes()) {
        Some(number) => Ok(number),
        None => parse_any(text),
    }
}

/// Numbers that surely fit 64 bits, without an exponent: nearly all.
fn parse_short(bytes: &[u8]) -> Option<Decimal> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let malformed = match digits {
        [b'0', b'0'..=b'9', ..] | [] => true,
        [first, .., last] => !first.is_ascii_digit() || !last.is_ascii_digit(),
        [only] => !only.is_ascii_digit(),
    };
    if malformed || digits.len() > 18 {
        return None;
    }
    let (mut mantissa, mut scale, mut point) = (0_i64, 0_u32, false);
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa * 10 + i64::from(byte - b'0');
                scale += u32::from(point);
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    Some(Decimal::new(if negative { -mantissa } else { mantissa }, scale))
}

fn parse_any(text: &str) -> Result<Decimal, NumberError> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (coefficient, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((coefficient, exponent)) => (coefficient, parse_exponent(exponent)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match coefficient.split_once('.') {
        Some((_, "")) => return Err(NumberError::NotANumber),
        Some(parts) => parts,
        None => (coefficient, ""),
    };
    let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !all_digits || whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
        return Err(NumberError::NotANumber);
    }
    let written_scale = length(fraction).saturating_sub(exponent);
    let Significant { digits, count, zeros } = significant(whole.bytes().chain(fraction.bytes()))?;
    if digits == 0 {
        return decimal(0, written_scale.clamp(0, MAX_DIGITS), false);
    }
    // The number is `digits` * 10^`power`.
    let power = zeros.saturating_sub(written_scale);
    if power < -MAX_DIGITS {
        return Err(NumberError::TooPrecise);
    }
    if power > MAX_DIGITS - count {
        return Err(NumberError::TooLarge);
    }
    let scale = written_scale.min(MAX_DIGITS - count - power).clamp((-power).max(0), MAX_DIGITS);
    let padding = u32::try_from(power + scale).map_err(|_| NumberError::TooPrecise)?;
    decimal(digits * 10_i128.pow(padding), scale, text.starts_with('-'))
}

/// `[+-]digits`, saturating: what is beyond 64 bits is beyond every limit too.
fn parse_exponent(text: &str) -> Result<i64, NumberError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NumberError::NotANumber);
    }
    let size = digits.parse().unwrap_or(i64::MAX);
    Ok(if text.starts_with('-') { -size } else { size })
}

/// The digits between the leading and the trailing zeros.
struct Significant {
    digits: i128,
    count: i64,
    /// How many zeros follow them.
    zeros: i64,
}

fn significant(all: impl Iterator<Item = u8>) -> Result<Significant, NumberError> {
    let mut found = Significant { digits: 0, count: 0, zeros: 0 };
    for byte in all {
        match (byte, found.digits) {
            (b'0', 0) => {}
            (b'0', _) => found.zeros += 1,
            _ => {
                found.count += found.zeros + 1;
                if found.count > MAX_DIGITS {
                    return Err(NumberError::TooPrecise);
                }
                while found.zeros > 0 {
                    found.digits *= 10;
                    found.zeros -= 1;
                }
                found.digits = found.digits * 10 + i128::from(byte - b'0');
            }
        }
    }
    Ok(found)
}

fn decimal(mantissa: i128, scale: i64, negative: bool) -> Result<Decimal, NumberError> {
    let scale = u32::try_from(scale).map_err(|_| NumberError::TooPrecise)?;
    let signed = if negative { -mantissa } else { mantissa };
    Decimal::try_from_i128_with_scale(signed, scale).map_err(|_| NumberError::TooLarge)
}

fn length(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keeps_every_digit() {
        let rows = [
            ("0", 0, 0),
            ("-0", 0, 0),
            ("-0.00", 0, 2),
            ("189.12", 18_912, 2),
            ("-189.120", -189_120, 3),
            ("100", 100, 0),
            ("1.5e2", 150, 0),
            ("1.5E+1", 15, 0),
            ("1.50e1", 150, 1),
            ("15e-3", 15, 3),
            ("1e27", 10_i128.pow(27), 0),
            ("0e999999999999999999999", 0, 0),
            ("0e-999999999999999999999", 0, 28),
            ("0.0000000000000000000000000001", 1, 28),
            ("9999999999999999999999999999", 10_i128.pow(28) - 1, 0),
            ("1.000000000000000000000000000", 10_i128.pow(27), 27),
            // More zeros than fit behind the point: the number is the same without them.
            ("1.0000000000000000000000000000000000", 10_i128.pow(27), 27),
            ("1234567890123456789012345678.0000", 1_234_567_890_123_456_789_012_345_678, 0),
            ("0.00000000000000000000000000010000", 1, 28),
        ];
        for (text, mantissa, scale) in rows {
            let number = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((number.mantissa(), number.scale()), (mantissa, scale), "{text}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_hold() {
        use NumberError::{NotANumber, TooLarge, TooPrecise};
        let rows = [
            ("1e400", TooLarge),
            ("-1e400", TooLarge),
            ("1e28", TooLarge),
            ("1e99999999999999999999", TooLarge),
            ("10000000000000000000000000000", TooLarge),
            ("12345678901234567890123456789", TooPrecise),
            ("1.2345678901234567890123456789", TooPrecise),
            ("1e-29", TooPrecise),
            ("1e-400", TooPrecise),
            ("1e-99999999999999999999", TooPrecise),
            ("1000000000000000000000000000.5", TooPrecise),
            ("", NotANumber),
            ("-", NotANumber),
            ("+1", NotANumber),
            ("01", NotANumber),
            ("-01.5", NotANumber),
            (".5", NotANumber),
            ("1.", NotANumber),
            ("1.e5", NotANumber),
            ("1e", NotANumber),
            ("1e+", NotANumber),
            ("1e1.5", NotANumber),
            ("1.2.3", NotANumber),
            ("1_000", NotANumber),
            ("0x10", NotANumber),
            ("NaN", NotANumber),
            ("Infinity", NotANumber),
            ("١", NotANumber),
        ];
        for (text, error) in rows {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn shown_decimals_read_back(mantissa in -(10_i128.pow(28) - 1)..10_i128.pow(28), scale in 0..=28_u32) {
            let number = Decimal::from_i128_with_scale(mantissa, scale);
            let read = parse(&number.to_string()).unwrap();
            prop_assert_eq!((read.mantissa(), read.scale()), (mantissa, scale));
        }

        #[test]
        fn both_ways_agree(text in "-?[0-9]{1,9}(\\.[0-9]{1,8})?") {
            if let Some(short) = parse_short(text.as_bytes()) {
                let any = parse_any(&text).unwrap();
                prop_assert_eq!((any.mantissa(), any.scale()), (short.mantissa(), short.scale()));
            } else {
                prop_assert_eq!(parse_any(&text), Err(NumberError::NotANumber));
            }
        }

        #[test]
        fn an_exponent_only_moves_the_point(digits in 1..1_000_000_000_i64, power in -15..=15_i64) {
            let number = parse(&format!("{digits}e{power}")).unwrap();
            let places = u32::try_from(power.abs()).unwrap();
            let expected = if power < 0 {
                Decimal::from_i128_with_scale(digits.into(), places)
            } else {
                Decimal::from_i128_with_scale(i128::from(digits) * 10_i128.pow(places), 0)
            };
            prop_assert_eq!(number, expected);
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eE]{0,60}") {
            let _ = parse(&text);
        }
    }
}
