//! `--until-caught-up`: the instance stops, as if told to, once the group has committed all that there was.
//!
//! It works as a member like any other meanwhile, and leaves in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::super::caught_up::CaughtUp;
use super::{Failure, Shared, TakesAll};
use crate::journal::kafka::client;
use crate::journal::kafka::owners::Owners;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// A run that ends by itself.
pub(super) struct Batch {
    is_over: Arc<AtomicBool>,
}

impl Batch {
    /// Starts the thread that looks; it ends with the instance.
    pub(super) fn begin(shared: &Arc<Shared>) -> Result<Self, Failure> {
        let config = &shared.config;
        let owners = Owners::new(client::base_config(&config.kafka, "process-batch"), &config.process.group)
            .map_err(Failure::settings)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let caught_up = CaughtUp::with(&config.topics.staging);
        let (shared, told) = (Arc::clone(shared), Arc::clone(&is_over));
        let look = move || watch(&shared, &owners, caught_up, &told);
        thread::Builder::new().name("batch".to_owned()).spawn(look).map_err(Failure::breach)?;
        Ok(Self { is_over })
    }

    /// Whether the group has caught up.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

fn watch(shared: &Shared, owners: &Owners, mut caught_up: CaughtUp, is_over: &AtomicBool) {
    // A defect in here would leave a batch that never ends.
    let _takes_all = TakesAll(shared.shutdown.clone());
    while !shared.shutdown.is_requested() {
        match caught_up.look(owners) {
            Ok(true) => {
                tracing::info!("caught up: the group has committed all that was there at the start");
                is_over.store(true, Ordering::SeqCst);
                return;
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "a question about offsets is asked again"),
        }
        shared.shutdown.wait(PAUSE);
    }
}
