//! Prices over time as bars: first, highest, lowest and last price and the volume of equal steps of time. Pure.

use std::collections::VecDeque;

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

/// Steps that a chart may have, in seconds.
const STEPS_S: [i64; 7] = [10, 60, 300, 900, 3_600, 14_400, 86_400];
/// A step of the fine bars, in seconds.
pub const FINE_S: i64 = STEPS_S[0];
/// A step of the coarse bars, in seconds.
pub const COARSE_S: i64 = STEPS_S[2];
/// Steps between the ends of a chart at most, where one of `STEPS_S` is long enough.
const CHART_STEPS_MAX: i64 = 400;

/// What the quotes of one step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// Where the step begins, in seconds since 1970.
    pub time: i64,
    /// The first price: every digit, as text.
    #[serde(serialize_with = "text")]
    pub open: Decimal,
    /// The highest.
    #[serde(serialize_with = "text")]
    pub high: Decimal,
    /// The lowest.
    #[serde(serialize_with = "text")]
    pub low: Decimal,
    /// The last.
    #[serde(serialize_with = "text")]
    pub close: Decimal,
    /// The volumes, added up.
    #[serde(serialize_with = "text")]
    pub volume: Decimal,
    /// How many quotes.
    pub quotes: u32,
}

/// How much of the past a chart shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// `1h`
    Hour,
    /// `1d`
    Day,
    /// `3d`
    ThreeDays,
    /// `all`
    All,
}

impl Range {
    /// The range of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "1h" => Some(Self::Hour),
            "1d" => Some(Self::Day),
            "3d" => Some(Self::ThreeDays),
            "all" => Some(Self::All),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "1d",
            Self::ThreeDays => "3d",
            Self::All => "all",
        }
    }

    /// Where it begins, in seconds since 1970; `None` for wherever the past does.
    pub fn from_s(self, now_s: i64) -> Option<i64> {
        match self {
            Self::Hour => Some(now_s - 3_600),
            Self::Day => Some(now_s - 86_400),
            Self::ThreeDays => Some(now_s - 3 * 86_400),
            Self::All => None,
        }
    }
}

impl Bar {
    /// The bar of one quote, in a step of so many seconds.
    pub fn of(time_ms: i64, step_s: i64, price: Decimal, volume: Decimal) -> Self {
        let time = floor(time_ms.div_euclid(1_000), step_s);
        Self { time, open: price, high: price, low: price, close: price, volume, quotes: 1 }
    }

    /// Adds a later bar of the same step.
    fn add_later(&mut self, other: &Self) {
        self.close = other.close;
        self.add(other);
    }

    /// Adds an earlier bar of the same step.
    pub fn add_earlier(&mut self, other: &Self) {
        self.open = other.open;
        self.add(other);
    }

    /// Adds a bar of the same step whose place in it nobody knows.
    fn add(&mut self, other: &Self) {
        self.high = self.high.max(other.high);
        self.low = self.low.min(other.low);
        self.volume = sum(self.volume, other.volume);
        self.quotes = self.quotes.saturating_add(other.quotes);
    }
}

/// The bars of one symbol, of steps of one length, the newest so many.
#[derive(Debug, Clone)]
pub struct Bars {
    step_s: i64,
    kept: VecDeque<Bar>,
    newest_ms: i64,
}

impl Bars {
    /// None yet.
    pub fn new(step_s: i64) -> Self {
        Self { step_s, kept: VecDeque::new(), newest_ms: i64::MIN }
    }

    /// Takes in a quote and keeps at most `keep` bars. One that is older than all that is kept is left out.
    pub fn take(&mut self, time_ms: i64, price: Decimal, volume: Decimal, keep: usize) {
        let one = Bar::of(time_ms, self.step_s, price, volume);
        let at = self.kept.partition_point(|bar| bar.time < one.time);
        let is_newest = time_ms >= self.newest_ms;
        let is_full = self.kept.len() >= keep;
        match self.kept.get_mut(at).filter(|bar| bar.time == one.time) {
            Some(bar) if is_newest => bar.add_later(&one),
            Some(bar) => bar.add(&one),
            None if at == 0 && is_full => return,
            None => self.kept.insert(at, one),
        }
        self.newest_ms = self.newest_ms.max(time_ms);
        while self.kept.len() > keep {
            self.kept.pop_front();
        }
    }

    /// The bars that begin at `from_s` or later, oldest first.
    pub fn since(&self, from_s: i64) -> impl Iterator<Item = Bar> {
        let at = self.kept.partition_point(|bar| bar.time < from_s);
        self.kept.range(at..).copied()
    }

    /// Where the oldest begins.
    pub fn first_s(&self) -> Option<i64> {
        self.kept.front().map(|bar| bar.time)
    }

    /// The price at a moment: the close of the last bar that had ended by then, where one of those is kept.
    pub fn price_at(&self, time_s: i64) -> Option<Decimal> {
        let at = self.kept.partition_point(|bar| bar.time + self.step_s <= time_s);
        at.checked_sub(1).and_then(|before| self.kept.get(before)).map(|bar| bar.close)
    }

    /// The first price that is kept.
    pub fn first_price(&self) -> Option<Decimal> {
        self.kept.front().map(|bar| bar.open)
    }
}

/// The shortest step, not below `least_s`, with which so long a time makes a chart.
pub fn step_for(span_s: i64, least_s: i64) -> i64 {
    let fits = |step: &&i64| **step >= least_s && span_s / **step <= CHART_STEPS_MAX;
    STEPS_S.iter().find(fits).copied().unwrap_or(STEPS_S[STEPS_S.len() - 1])
}

/// Bars in the order of time as bars of longer steps.
pub fn merge(bars: impl IntoIterator<Item = Bar>, step_s: i64) -> Vec<Bar> {
    let mut merged: Vec<Bar> = Vec::new();
    for bar in bars {
        let bar = Bar { time: floor(bar.time, step_s), ..bar };
        match merged.last_mut().filter(|last| last.time == bar.time) {
            Some(last) => last.add_later(&bar),
            None => merged.push(bar),
        }
    }
    merged
}

/// Two views of the same time, each in its order, with the same steps: of each step the bar that has seen more.
pub fn fuller(one: Vec<Bar>, other: Vec<Bar>) -> Vec<Bar> {
    let mut all: std::collections::BTreeMap<i64, Bar> = one.into_iter().map(|bar| (bar.time, bar)).collect();
    for bar in other {
        all.entry(bar.time)
            .and_modify(|known| {
                if bar.quotes > known.quotes {
                    *known = bar;
                }
            })
            .or_insert(bar);
    }
    all.into_values().collect()
}

/// What two volumes come to. Beyond 28 digits the last ones are rounded, beyond 10^28 it is the most there is.
pub fn sum(one: Decimal, other: Decimal) -> Decimal {
    one.checked_add(other).unwrap_or(Decimal::MAX)
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn text<S: Serializer>(number: &Decimal, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(number)
}

fn floor(time_s: i64, step_s: i64) -> i64 {
    time_s.div_euclid(step_s) * step_s
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(number: i64) -> Decimal {
        number.into()
    }

    fn bars(quotes: &[(i64, i64)]) -> Bars {
        let mut bars = Bars::new(FINE_S);
        for (ms, price) in quotes {
            bars.take(*ms, of(*price), of(1), 4);
        }
        bars
    }

    fn bar(time: i64, [open, high, low, close]: [i64; 4], quotes: u32) -> Bar {
        let [open, high, low, close] = [open, high, low, close].map(of);
        Bar { time, open, high, low, close, volume: quotes.into(), quotes }
    }

    #[test]
    fn quotes_of_a_step_make_a_bar() {
        let bars = bars(&[(1_000, 5), (9_999, 3), (5_000, 9), (10_000, 4)]);
        let all: Vec<Bar> = bars.since(0).collect();
        assert_eq!(all[0], bar(0, [5, 9, 3, 3], 3), "a late quote moves neither end");
        assert_eq!((all[1].time, all[1].open, all.len()), (10, of(4), 2));
    }

    #[test]
    fn only_the_newest_bars_are_kept() {
        let mut bars = bars(&[(0, 1), (10_000, 2), (30_000, 4), (40_000, 5), (20_000, 3)]);
        let times = |bars: &Bars| bars.since(0).map(|bar| bar.time).collect::<Vec<_>>();
        assert_eq!(times(&bars), [10, 20, 30, 40]);
        bars.take(1_000, of(1), of(1), 4);
        assert_eq!(times(&bars), [10, 20, 30, 40], "older than all that is kept");
        assert_eq!(bars.since(25).count(), 2);
        assert_eq!(
            [bars.price_at(19), bars.price_at(39), bars.price_at(40), bars.first_price()],
            [None, Some(of(3)), Some(of(4)), Some(of(2))]
        );
    }

    #[test]
    fn bars_merge_into_longer_steps() {
        let bars = bars(&[(0, 1), (20_000, 7), (59_000, 2), (60_000, 3)]);
        let merged = merge(bars.since(0), 60);
        assert_eq!((merged[0], merged[1].time, merged.len()), (bar(0, [1, 7, 1, 2], 3), 60, 2));
    }

    #[test]
    fn no_digit_is_lost() {
        let exact = |text: &str| Decimal::from_str_exact(text).unwrap();
        let mut bars = Bars::new(FINE_S);
        for (ms, price) in [(0, "0.1234567890123456789012345678"), (1, "1234567890123456789012345678")] {
            bars.take(ms, exact(price), exact("0.1"), 4);
        }
        bars.take(2, exact("1"), exact("0.2"), 4);
        let told = serde_json::to_value(bars.since(0).next().unwrap()).unwrap();
        let expected = serde_json::json!({
            "time": 0, "open": "0.1234567890123456789012345678", "high": "1234567890123456789012345678",
            "low": "0.1234567890123456789012345678", "close": "1", "volume": "0.4", "quotes": 3,
        });
        assert_eq!(told, expected);
        assert_eq!(sum(Decimal::MAX, Decimal::ONE), Decimal::MAX);
    }

    #[test]
    fn a_chart_has_as_many_steps_as_it_can_show() {
        assert_eq!([step_for(60, FINE_S), step_for(3_600, FINE_S), step_for(86_400, FINE_S)], [10, 10, 300]);
        assert_eq!([step_for(60, COARSE_S), step_for(3 * 86_400, FINE_S)], [300, 900]);
        assert_eq!(step_for(i64::MAX, FINE_S), 86_400);
    }

    #[test]
    fn of_two_views_the_fuller_one_is_shown() {
        let flat = |time, price, quotes| bar(time, [price; 4], quotes);
        let one = vec![flat(0, 1, 5), flat(10, 1, 1)];
        let other = vec![flat(10, 2, 3), flat(20, 2, 1)];
        let both: Vec<_> = fuller(one, other).iter().map(|bar| (bar.time, bar.open)).collect();
        assert_eq!(both, [(0, of(1)), (10, of(2)), (20, of(2))]);
    }
}
