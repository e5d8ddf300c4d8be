//! Settings, one struct per concern.
