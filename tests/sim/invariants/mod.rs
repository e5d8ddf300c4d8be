//! What must be true whatever happens, one file each. They look at what Kafka has decided to commit, not at
//! what its readers can see yet, so that they hold at every step.

pub mod drained;
pub mod feeds;
pub mod fencing;
pub mod listings;
pub mod living_owner;
pub mod one_output;
pub mod one_owner;
pub mod refusals;
pub mod routing;
pub mod silences;
pub mod store;
pub mod unclaims;

/// What an invariant found broken.
#[derive(Debug)]
pub struct Breach(pub String);

/// Ends the caller with a breach unless the condition holds.
pub fn hold(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), Breach> {
    if condition { Ok(()) } else { Err(Breach(otherwise())) }
}
