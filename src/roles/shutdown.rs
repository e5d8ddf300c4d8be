//! The wish to stop, for threads and for tasks.

use std::{
    process,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// Whether this process was asked to stop. Clones are the same wish.
#[derive(Debug, Clone)]
pub struct Shutdown {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tasks: watch::Sender<bool>,
    threads: (Mutex<bool>, Condvar),
}

impl Shutdown {
    /// One that only [`Shutdown::request`] sets.
    pub fn new() -> Self {
        let shared =
            Shared { tasks: watch::Sender::new(false), threads: (Mutex::new(false), Condvar::new()) };
        Self { shared: Arc::new(shared) }
    }

    /// One that SIGTERM and SIGINT set; a second signal ends the process at once. Needs to be called within
    /// a tokio runtime.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::new();
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::spawn(shutdown.clone().follow(terminate, interrupt));
        Ok(shutdown)
    }

    /// Asks for the stop.
    pub fn request(&self) {
        let (asked, woken) = &self.shared.threads;
        *asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        woken.notify_all();
        self.shared.tasks.send_replace(true);
    }

    /// Whether it was asked for; true from when a thread or a task that waited was woken.
    pub fn is_requested(&self) -> bool {
        // What threads wait for is set first, so whoever was woken by either finds it here.
        *self.shared.threads.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For tasks: waits until it is asked for.
    pub async fn requested(&self) {
        // The sender lives in `self`, so waiting can't fail.
        let _ = self.shared.tasks.subscribe().wait_for(|asked| *asked).await;
    }

    /// For threads: waits for at most `timeout`; whether it was asked for.
    pub fn wait(&self, timeout: Duration) -> bool {
        let (asked, woken) = &self.shared.threads;
        let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = woken.wait_timeout_while(asked, timeout, |asked| !*asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    async fn follow(self, mut terminate: Signal, mut interrupt: Signal) {
        for is_first in [true, false] {
            let (name, number) = tokio::select! {
                _ = terminate.recv() => ("SIGTERM", 15),
                _ = interrupt.recv() => ("SIGINT", 2),
            };
            if is_first {
                tracing::info!("stopping after {name}; a second signal stops at once");
                self.request();
            } else {
                tracing::warn!("stopped at once after a second signal, {name}");
                process::exit(128 + number);
            }
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_request_wakes_threads_and_tasks() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.wait(Duration::from_millis(1)));
        let waiting = shutdown.clone();
        let thread = thread::spawn(move || waiting.wait(Duration::from_mins(1)));
        shutdown.request();
        assert!(thread.join().unwrap());
        assert!(shutdown.is_requested());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(shutdown.requested());
    }

    #[test]
    fn who_was_woken_finds_it_requested() {
        for _ in 0..10_000 {
            let shutdown = Shutdown::new();
            let waiting = shutdown.clone();
            let thread = thread::spawn(move || {
                while !waiting.wait(Duration::ZERO) {}
                waiting.is_requested()
            });
            shutdown.request();
            assert!(thread.join().unwrap());
        }
    }
}
