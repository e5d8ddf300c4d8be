//! `--for`: the role stops, as if told to, when its time is over; and whether it could work in that time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::Instant;

use super::{Failure, Shutdown};
use crate::telemetry::health::Readiness;

/// How often the role is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A run that ends by itself.
pub(super) struct Term {
    lasts: Duration,
    readiness: Readiness,
    was_ready: Arc<AtomicBool>,
}

impl Term {
    /// Starts the time. Needs a tokio runtime.
    pub(super) fn begin(lasts: Duration, shutdown: &Shutdown, readiness: &Readiness) -> Self {
        let was_ready = Arc::new(AtomicBool::new(false));
        let term = Self { lasts, readiness: readiness.clone(), was_ready: Arc::clone(&was_ready) };
        let (shutdown, readiness) = (shutdown.clone(), readiness.clone());
        tokio::spawn(async move {
            let over = Instant::now() + lasts;
            let mut ask = tokio::time::interval(ASK_EVERY);
            while !shutdown.is_requested() && ask.tick().await < over {
                was_ready.fetch_or(readiness.awaited().is_none(), Ordering::SeqCst);
            }
            let words = humantime::format_duration(lasts);
            tracing::info!("stopping after {words}, as asked for");
            shutdown.request();
        });
        term
    }

    /// The end of a run that has delivered nothing: an error, with what it waited for last, unless it was ready once,
    /// fed or standing by for another ingester.
    pub(super) fn end(&self) -> Result<(), Failure> {
        if self.was_ready.load(Ordering::SeqCst) {
            return Ok(());
        }
        let words = humantime::format_duration(self.lasts);
        let awaited = self.readiness.awaited().unwrap_or_default();
        Err(Failure::unreachable(anyhow!("was never ready in {words}: {awaited}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_that_was_never_ready_says_what_it_waited_for() {
        for (is_ready, expected) in [(false, Some("feed waits for a connection")), (true, None)] {
            let (shutdown, readiness) = (Shutdown::new(), Readiness::default());
            readiness.awaits("feed", "a connection");
            let term = Term::begin(Duration::from_millis(200), &shutdown, &readiness);
            if is_ready {
                readiness.met("feed");
                while !term.was_ready.load(Ordering::SeqCst) {
                    tokio::task::yield_now().await;
                }
                readiness.awaits("feed", "a connection");
            }
            shutdown.requested().await;
            let ended = term.end().err().map(|failure| failure.to_string());
            assert_eq!(ended.is_some(), expected.is_some());
            assert!(expected.is_none_or(|words| ended.is_some_and(|ended| ended.contains(words))));
        }
    }
}
