//! Calls that librdkafka may never return from.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// One wait for a call's end: how long a wish to stop may go unheard.
const STEP: Duration = Duration::from_millis(100);

/// Why a call is not waited for any more. Where it was begun, it goes on by itself, and keeps what it was given.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GivenUp {
    /// It took too long.
    #[error("librdkafka has not come back from a call within {} s", .0.as_secs())]
    TooLong(Duration),
    /// Who waited may wait no longer.
    #[error("interrupted")]
    Interrupted,
    /// It could not be begun, or ended by a defect.
    #[error("{0}")]
    Failed(String),
}

/// Waits for the call's result, for `limit` at most and as long as `may_wait` says so. Time in which the process is
/// stopped does not count: what it waits for may be there when it goes on.
pub fn wait_for<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
    limit: Duration,
    may_wait: impl Fn() -> bool,
) -> Result<T, GivenUp> {
    let (tell, told) = mpsc::channel();
    let spawned = thread::Builder::new().name("call".to_owned()).spawn(move || drop(tell.send(call())));
    spawned.map_err(|error| GivenUp::Failed(format!("no thread could be started: {error}")))?;
    for _ in 0..limit.as_millis().div_ceil(STEP.as_millis()) {
        match told.recv_timeout(STEP) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(GivenUp::Failed("a call ended by a defect; its panic is above".to_owned()));
            }
            Err(RecvTimeoutError::Timeout) if !may_wait() => return Err(GivenUp::Interrupted),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    Err(GivenUp::TooLong(limit))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn a_call_that_ends_is_answered() {
        assert_eq!(wait_for(|| 7, LONG, || true), Ok(7));
    }

    #[test]
    fn a_call_that_does_not_end_is_given_up() {
        let endless = || loop {
            thread::park();
        };
        let limit = Duration::from_millis(300);
        let began = Instant::now();
        assert_eq!(wait_for::<()>(endless, limit, || true), Err(GivenUp::TooLong(limit)));
        assert!(began.elapsed() >= limit);
        assert_eq!(wait_for::<()>(endless, LONG, || false), Err(GivenUp::Interrupted));
    }

    #[test]
    fn a_call_that_panics_is_told_of() {
        let given_up = wait_for::<()>(|| panic!("on purpose"), LONG, || true);
        assert!(matches!(given_up, Err(GivenUp::Failed(_))), "{given_up:?}");
    }
}
