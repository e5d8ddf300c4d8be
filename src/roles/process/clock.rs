//! The clocks that the core is told: the wall's and a monotonic one.
//!
//! With the cargo feature `fault-points`, and only then, a test may inject the wall's: `CLOCK_FILE` names a file with a
//! moment in ms since 1970, from which both clocks go on; what is written into it later moves both alike, so that a day
//! passes in a minute and is no leap.

use std::time::Instant;

use crate::core::Now;
use crate::model::WallTime;

/// Both clocks of a process.
#[derive(Debug)]
pub(super) struct Clock {
    origin: Instant,
    #[cfg(feature = "fault-points")]
    injected: Option<Injected>,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            origin: Instant::now(),
            #[cfg(feature = "fault-points")]
            injected: Injected::from_environment(),
        }
    }

    pub(super) fn now(&self) -> Now {
        let elapsed_ms = i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX);
        #[cfg(feature = "fault-points")]
        if let Some(injected) = &self.injected {
            return injected.now(elapsed_ms);
        }
        Now { wall: WallTime::now(), monotonic_ms: elapsed_ms }
    }
}

#[cfg(feature = "fault-points")]
#[derive(Debug)]
struct Injected {
    file: std::path::PathBuf,
    began_ms: i64,
}

#[cfg(feature = "fault-points")]
impl Injected {
    fn from_environment() -> Option<Self> {
        let file = std::path::PathBuf::from(std::env::var_os("CLOCK_FILE")?);
        let began_ms = read(&file);
        Some(Self { file, began_ms })
    }

    fn now(&self, elapsed_ms: i64) -> Now {
        let at_ms = read(&self.file);
        Now { wall: WallTime(at_ms + elapsed_ms), monotonic_ms: at_ms - self.began_ms + elapsed_ms }
    }
}

#[cfg(feature = "fault-points")]
fn read(file: &std::path::Path) -> i64 {
    let text = std::fs::read_to_string(file).expect("a test that injects a clock has written its file");
    text.trim().parse().expect("a test that injects a clock writes milliseconds")
}
