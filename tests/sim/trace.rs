//! What happened, as a hash, and as text when somebody wants to read it.

use std::fmt::{Arguments, Write as _};

use tickgate::core::Effect;
use tickgate::core::input::Failure;

#[derive(Debug)]
pub struct Trace {
    pub hash: u64,
    pub lines: u64,
    prints: bool,
    /// What each process carried out, where somebody asks for it.
    pub carried_out: Option<Vec<(usize, String)>>,
    buffer: String,
}

impl Trace {
    pub fn new(prints: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: 0, prints, carried_out: None, buffer: String::new() }
    }

    /// For who reads it; no part of what happened.
    pub fn headline(&self, line: Arguments<'_>) {
        if self.prints {
            println!("---- {line}");
        }
    }

    pub fn effect(&mut self, process: usize, effect: &Effect, failure: Option<&Failure>) {
        if let Some(list) = &mut self.carried_out {
            let failure = failure.map_or(String::new(), |failure| format!(": {}", failure.name()));
            list.push((process, format!("{effect}{failure}")));
        }
    }

    pub fn note(&mut self, line: Arguments<'_>) {
        self.buffer.clear();
        self.buffer.write_fmt(line).expect("text can always be written");
        self.lines += 1;
        for byte in self.buffer.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.prints {
            println!("{:>6} {}", self.lines, self.buffer);
        }
    }
}
