//! What the benches of the gate have in common: topics, filling staging, and progress as it is seen from outside.
//!
//! Not in here: whose progress it is. Whoever takes part in a bench is looked at in the same way.

pub(crate) mod fill;
pub(crate) mod offsets;
pub(crate) mod topics;
