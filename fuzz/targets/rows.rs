//! See `tests/fuzz/rows.rs`.
#![no_main]

#[path = "../../tests/fuzz/rows.rs"]
mod rows;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rows::run(bytes));
