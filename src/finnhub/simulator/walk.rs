//! The market's random walk: which trades come, in which order, at which price.
//!
//! Promises: the same seed and the same symbols give the same sequence of trades, whatever the rate, the
//! faults and the clock are; a price is exact (an integer of its last digit) and stays above 0.
//! Deliberately not in here: time, which the market stamps when it sends.

use std::fmt::Write as _;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Endless trades from a seed.
pub struct Walk {
    rng: ChaCha8Rng,
    instruments: Vec<Instrument>,
}

/// One trade, before its time and its faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Index of the symbol.
    pub symbol: usize,
    /// Price in units of 10^-`digits`.
    pub price: u64,
    /// Digits of the price behind the point.
    pub digits: u32,
    /// Volume in units of 10^-`volume_digits`; 0 is a price update without a trade.
    pub volume: u64,
    /// Digits of the volume behind the point.
    pub volume_digits: u32,
    /// The trade's conditions; `None` leaves `c` out.
    pub conditions: Option<&'static str>,
    /// Whether it shares its millisecond with the trade before it.
    pub same_moment: bool,
}

struct Instrument {
    price: u64,
    digits: u32,
    volume_digits: u32,
}

impl Walk {
    /// A walk over `symbols`, of which there must be one at least. A name with a colon (crypto, forex)
    /// trades fractions.
    pub fn new(seed: u64, symbols: &[String]) -> Self {
        assert!(!symbols.is_empty(), "a market has one symbol at least");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let instruments = symbols
            .iter()
            .map(|symbol| {
                let (digits, volume_digits) = if symbol.contains(':') { (5, 6) } else { (2, 0) };
                Instrument { price: rng.random_range(5..500) * 10_u64.pow(digits), digits, volume_digits }
            })
            .collect();
        Self { rng, instruments }
    }

    /// The next trade.
    pub fn next_tick(&mut self) -> Tick {
        // The lesser of two draws: some symbols trade more than others, as they do.
        let count = self.instruments.len();
        let symbol = self.rng.random_range(0..count).min(self.rng.random_range(0..count));
        let instrument = &mut self.instruments[symbol];
        let step = (instrument.price / 2_000).max(1);
        let moved = instrument.price + self.rng.random_range(0..=2 * step);
        instrument.price = moved.saturating_sub(step).max(10_u64.pow(instrument.digits));
        let unit = 10_u64.pow(instrument.volume_digits);
        let volume = match self.rng.random_range(0..20) {
            0 => 0,
            1..=8 => 100 * unit,
            _ => self.rng.random_range(1..=500 * unit),
        };
        let conditions = match self.rng.random_range(0..4) {
            0 => None,
            1 => Some(r#"["1"]"#),
            2 => Some(r#"["1","12"]"#),
            _ => Some("[]"),
        };
        Tick {
            symbol,
            price: instrument.price,
            digits: instrument.digits,
            volume,
            volume_digits: instrument.volume_digits,
            conditions,
            same_moment: self.rng.random_bool(0.2),
        }
    }
}

impl Tick {
    /// The price as Finnhub writes it: no zeros at the end, so that a whole one is an integer.
    pub fn price_text(&self) -> String {
        decimal(self.price, self.digits)
    }

    /// The volume, likewise.
    pub fn volume_text(&self) -> String {
        decimal(self.volume, self.volume_digits)
    }
}

/// `units` of 10^-`digits` as a decimal without zeros at its end.
fn decimal(units: u64, digits: u32) -> String {
    let one = 10_u64.pow(digits);
    let mut text = (units / one).to_string();
    let fraction = units % one;
    if fraction > 0 {
        write!(text, ".{fraction:0width$}", width = digits as usize).expect("a string takes every write");
        text.truncate(text.trim_end_matches('0').len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn symbols() -> Vec<String> {
        ["AAPL", "AMZN", "BINANCE:BTCUSDT"].map(str::to_owned).to_vec()
    }

    #[test]
    fn the_seed_decides_the_sequence() {
        let ticks = |seed| {
            let mut walk = Walk::new(seed, &symbols());
            std::iter::repeat_with(move || walk.next_tick()).take(1_000).collect::<Vec<_>>()
        };
        assert_eq!(ticks(7), ticks(7));
        assert_ne!(ticks(7), ticks(8));
        let all = ticks(7);
        assert!(all.iter().all(|tick| tick.price > 0));
        assert!(all.iter().any(|tick| tick.volume == 0));
        assert!(all.iter().any(|tick| tick.conditions.is_none()));
        assert!(all.iter().any(|tick| tick.same_moment));
        assert!((0..3).all(|symbol| all.iter().any(|tick| tick.symbol == symbol)));
    }

    #[test]
    fn decimals_are_written_as_finnhub_does() {
        assert_eq!(decimal(18_912, 2), "189.12");
        assert_eq!(decimal(18_910, 2), "189.1");
        assert_eq!(decimal(18_900, 2), "189");
        assert_eq!(decimal(5, 6), "0.000005");
        assert_eq!(decimal(0, 0), "0");
        assert_eq!(decimal(100, 0), "100");
    }

    proptest! {
        #[test]
        fn a_decimal_is_worth_its_units(units in 0..1_000_000_000_u64, digits in 0..7_u32) {
            let value: rust_decimal::Decimal = decimal(units, digits).parse().unwrap();
            prop_assert_eq!(value, rust_decimal::Decimal::new(i64::try_from(units).unwrap(), digits));
        }
    }
}
