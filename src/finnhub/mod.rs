//! The feed: Finnhub's messages, its websocket, its REST quotes, recordings, and a simulator that speaks its
//! wire formats.
//!
//! Knows nothing of Kafka, of settings files or of metrics: what happens is handed on as values, and
//! `roles` decides what it means.

pub mod message;
pub mod poll;
pub mod quote;
pub mod recording;
pub mod request;
pub mod simulator;
pub mod stream;
#[cfg(test)]
mod tests;

pub use message::{Message, NotATrade, Trade};
pub use request::Request;
pub use tokio_tungstenite::tungstenite::Bytes;

/// `text` without the token, should a server or a library have put it there, as it is or as part of an address.
pub fn without_token(text: &str, token: &str) -> String {
    if token.is_empty() {
        return text.to_owned();
    }
    text.replace(token, "…").replace(&percent_encoded(token), "…")
}

/// `text` as part of an address.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes every write");
        }
    }
    encoded
}
