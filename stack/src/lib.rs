//! Starts, breaks and stops the real servers that tickgate is developed and tested against.
