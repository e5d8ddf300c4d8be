//! Which of a seed's happenings take place. Each draws from a stream of its own, so that leaving one out
//! leaves the others as they are: that is what lets a failure be shortened.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The stream that a seed's shape is drawn from; happenings have those after it, the calm the last one.
const SHAPE: u64 = 0;
const CALM: u64 = u64::MAX;

/// A seed, whole or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    pub seed: u64,
    pub kept: Kept,
}

/// Happenings by their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    All,
    Only(BTreeSet<usize>),
}

impl From<u64> for Script {
    fn from(seed: u64) -> Self {
        Self { seed, kept: Kept::All }
    }
}

impl Script {
    pub fn only(seed: u64, numbers: impl IntoIterator<Item = usize>) -> Self {
        Self { seed, kept: Kept::Only(numbers.into_iter().collect()) }
    }

    pub fn keeps(&self, happening: usize) -> bool {
        match &self.kept {
            Kept::All => true,
            Kept::Only(numbers) => numbers.contains(&happening),
        }
    }

    pub fn shape(&self) -> ChaCha8Rng {
        self.stream(SHAPE)
    }

    pub fn chance(&self, happening: usize) -> ChaCha8Rng {
        self.stream(SHAPE + 1 + happening as u64)
    }

    pub fn calm(&self) -> ChaCha8Rng {
        self.stream(CALM)
    }

    fn stream(&self, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng
    }
}

/// Numbers and ranges of them: `3,7-12,40`.
impl fmt::Display for Kept {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Only(numbers) = self else { return write!(to, "all") };
        let mut runs: Vec<RangeInclusive<usize>> = Vec::new();
        for number in numbers {
            match runs.last_mut() {
                Some(run) if run.end() + 1 == *number => *run = *run.start()..=*number,
                _ => runs.push(*number..=*number),
            }
        }
        for (at, run) in runs.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            if run.start() == run.end() {
                write!(to, "{comma}{}", run.start())?;
            } else {
                write!(to, "{comma}{}-{}", run.start(), run.end())?;
            }
        }
        Ok(())
    }
}

impl FromStr for Kept {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<usize>().map_err(|error| format!("`{text}`: {error}"));
        let mut numbers = BTreeSet::new();
        for run in text.split(',').filter(|run| !run.is_empty()) {
            match run.split_once('-') {
                Some((first, last)) => numbers.extend(number(first)?..=number(last)?),
                None => drop(numbers.insert(number(run)?)),
            }
        }
        Ok(Self::Only(numbers))
    }
}

#[test]
fn what_is_kept_reads_back() {
    let kept = Script::only(0, [0, 1, 2, 7, 9, 10]).kept;
    assert_eq!(kept.to_string(), "0-2,7,9-10");
    assert_eq!(kept.to_string().parse(), Ok(kept));
    assert!("1,x".parse::<Kept>().is_err());
}
