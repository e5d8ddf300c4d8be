//! Free ports, for servers that keep them across restarts.
//!
//! They lie below the range that the kernel gives to outgoing connections, which would else take the port
//! of a server that is down for a moment; and a counter in the machine's cache keeps those apart that
//! start at the same time.

use std::{fs, net::TcpListener};

use crate::{StackError, jars};

const FROM: u16 = 12_000;
const TO: u16 = 32_000;

/// `count` ports of 127.0.0.1 on which nothing listens and which nobody was given lately.
pub fn take(count: usize) -> Result<Vec<u16>, StackError> {
    let folder = jars::cache().join("ports");
    let _lock = jars::lock(&folder)?;
    let path = folder.join("next");
    let mut next = fs::read_to_string(&path)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .filter(|port| (FROM..TO).contains(port))
        .unwrap_or(FROM);
    let mut taken = Vec::with_capacity(count);
    for _ in FROM..TO {
        if taken.len() == count {
            break;
        }
        if TcpListener::bind(("127.0.0.1", next)).is_ok() {
            taken.push(next);
        }
        next = if next + 1 == TO { FROM } else { next + 1 };
    }
    fs::write(&path, next.to_string()).map_err(StackError::file("write", &path))?;
    if taken.len() == count { Ok(taken) } else { Err(StackError::Ports { from: FROM, to: TO }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_given_once() {
        let first = take(6).unwrap();
        let second = take(6).unwrap();
        assert_eq!(first.len(), 6);
        assert!(first.iter().all(|port| !second.contains(port)), "{first:?} {second:?}");
    }

    #[test]
    fn a_port_in_use_is_passed_over() {
        let next = take(1).unwrap()[0] + 1;
        let _listener = TcpListener::bind(("127.0.0.1", next));
        assert!(!take(1).unwrap().contains(&next));
    }
}
