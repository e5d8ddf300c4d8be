//! When clocks were read: wall times, which may be wrong, and when that was in truth.

use std::collections::BTreeMap;

/// The looks at staging's ends, by the wall time that they took place at for who looked.
#[derive(Debug, Default)]
pub struct Looks(BTreeMap<i64, Vec<i64>>);

impl Looks {
    /// A look at this wall time (ms since 1970), so many ms after the start.
    pub fn note(&mut self, wall: i64, at_ms: i64) {
        let at = self.0.entry(wall).or_default();
        if at.last() != Some(&at_ms) {
            at.push(at_ms);
        }
    }

    /// Whether it is so at every look at this wall time; with clocks that leapt there may be several. `None` where
    /// nobody looked.
    pub fn all(&self, wall: i64, is_so: impl Fn(i64) -> bool) -> Option<bool> {
        self.0.get(&wall).map(|at| at.iter().all(|at_ms| is_so(*at_ms)))
    }
}
