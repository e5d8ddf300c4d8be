//! One function per role of the binary: wiring only.
