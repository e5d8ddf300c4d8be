//! The lease in the hands of whoever acts under it.
//!
//! Promises: what runs under a [`Held`] is not polled again once the lease may be another's, whatever has
//! stopped the process in between; a term that has ended never begins again. Time is the monotonic clock:
//! it stands still while a machine is suspended, which nothing here can see.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The lease, for as long as [`Held::holds`]. It goes to another only when the last clone is dropped, or when
/// the group has heard nothing from here for a session.
#[derive(Debug, Clone)]
pub struct Held {
    term: Arc<Term>,
}

/// The giver's end of a [`Held`].
#[derive(Debug)]
pub(super) struct Lent {
    term: Arc<Term>,
}

#[derive(Debug)]
struct Term {
    began: Instant,
    /// In ns since `began`.
    until: AtomicU64,
    is_over: watch::Sender<bool>,
}

/// A lease that holds until then, unless it is extended.
pub(super) fn lend(until: Instant) -> (Lent, Held) {
    let began = Instant::now();
    let term = Term { began, until: AtomicU64::new(0), is_over: watch::Sender::new(false) };
    let term = Arc::new(term);
    let lent = Lent { term: Arc::clone(&term) };
    lent.extend(until);
    (lent, Held { term })
}

impl Held {
    /// Whether the lease still holds.
    pub fn holds(&self) -> bool {
        self.term.holds()
    }

    /// Waits until it doesn't hold any more.
    pub async fn lost(&self) {
        let mut is_over = self.term.is_over.subscribe();
        while self.holds() {
            // Extended meanwhile, perhaps; an error can't be, the sender is in `self`.
            let over = is_over.wait_for(|is_over| *is_over);
            let _ = tokio::time::timeout_at(self.term.until().into(), over).await;
        }
    }

    /// Carries `acting` on while the lease holds, looking at the clock before each step of it. `None` when it
    /// was dropped in the middle of its work. It is dropped before this clone of the lease.
    pub async fn carry_on<F: Future>(self, acting: F) -> Option<F::Output> {
        let mut lost = pin!(self.lost());
        let mut acting = pin!(acting);
        poll_fn(|context| {
            // The timer alone would not do: a process that slept may be told of its socket first.
            if !self.holds() || lost.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            acting.as_mut().poll(context).map(Some)
        })
        .await
    }
}

impl Lent {
    pub(super) fn holds(&self) -> bool {
        self.term.holds()
    }

    /// Whether nobody acts under it any more.
    pub(super) fn is_back(&self) -> bool {
        Arc::strong_count(&self.term) == 1
    }

    /// Lets it hold until then at least; `false` when it has ended already.
    pub(super) fn extend(&self, until: Instant) -> bool {
        let until = until.saturating_duration_since(self.term.began).as_nanos();
        let holds = self.term.until.load(Ordering::SeqCst) == 0 || self.term.holds();
        if holds {
            let until = u64::try_from(until).unwrap_or(u64::MAX).max(1);
            self.term.until.fetch_max(until, Ordering::SeqCst);
        }
        holds
    }

    /// Whether it was ended, rather than has run out.
    pub(super) fn was_ended(&self) -> bool {
        *self.term.is_over.borrow()
    }

    /// Ends it now.
    pub(super) fn end(&self) {
        self.term.is_over.send_replace(true);
    }
}

impl Term {
    fn until(&self) -> Instant {
        self.began + Duration::from_nanos(self.until.load(Ordering::SeqCst))
    }

    fn holds(&self) -> bool {
        !*self.is_over.borrow() && Instant::now() < self.until()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_mins(1);

    /// Notes when it is dropped whether the lease was back by then.
    struct Socket(Arc<Mutex<Option<Lent>>>, Arc<Mutex<Option<bool>>>);

    impl Drop for Socket {
        fn drop(&mut self) {
            let is_back = self.0.lock().unwrap().as_ref().map(Lent::is_back);
            *self.1.lock().unwrap() = is_back;
        }
    }

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_lease_ends_by_itself_or_when_it_is_ended_and_never_begins_again() {
        let (lent, held) = lend(Instant::now() + SHORT);
        assert!(held.holds() && lent.extend(Instant::now() + SHORT * 2));
        run(held.lost());
        assert!(!held.holds() && !lent.extend(Instant::now() + LONG) && !held.holds());

        let (lent, held) = lend(Instant::now() + LONG);
        lent.end();
        run(held.lost());
        assert!(!lent.extend(Instant::now() + LONG) && !held.holds());
        assert!(!lent.is_back());
        drop(held);
        assert!(lent.is_back());
    }

    #[test]
    fn work_under_a_lease_ends_with_it_and_before_it_is_given_back() {
        let (lent, held) = lend(Instant::now() + LONG);
        let (lent, was_back) = (Arc::new(Mutex::new(Some(lent))), Arc::new(Mutex::new(None)));
        let socket = Socket(lent.clone(), was_back.clone());
        let work = async move {
            let _socket = socket;
            std::future::pending::<()>().await;
        };
        run(async {
            let working = tokio::spawn(held.carry_on(work));
            tokio::time::sleep(SHORT).await;
            assert!(!working.is_finished());
            lent.lock().unwrap().as_ref().unwrap().end();
            assert_eq!(working.await.unwrap(), None);
        });
        assert_eq!(*was_back.lock().unwrap(), Some(false));
        assert!(lent.lock().unwrap().as_ref().unwrap().is_back());
        let (_lent, held) = lend(Instant::now() + LONG);
        assert_eq!(run(held.carry_on(async { 7 })), Some(7));
    }

    #[test]
    fn who_slept_past_the_lease_takes_not_one_step_more() {
        let (_lent, held) = lend(Instant::now() + SHORT);
        let steps = Mutex::new(0);
        let work = async {
            loop {
                *steps.lock().unwrap() += 1;
                // Blocks the runtime, as a process does that is stopped; its timers have not fired yet then.
                thread::sleep(SHORT * 2);
                tokio::task::yield_now().await;
            }
        };
        assert_eq!(run(held.carry_on(work)), None::<()>);
        assert_eq!(*steps.lock().unwrap(), 1);
    }
}
