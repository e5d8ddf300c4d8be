//! The question whether a node serves, in as much of the native protocol as it takes: version 4, `OPTIONS`,
//! and a login where one is asked for.
//!
//! Source: `native_protocol_v4.spec` of Cassandra's documentation.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use openssl::ssl::SslConnector;

use super::Cassandra;
use crate::{Authority, StackError};

/// How long a node may take for a connection, and for each answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes.
const BODY_MAX: usize = 1 << 20;
const VERSION: u8 = 4;
/// Set in the version of what a server sends.
const RESPONSE: u8 = 0x80;

const ERROR: u8 = 0x00;
const STARTUP: u8 = 0x01;
const AUTHENTICATE: u8 = 0x03;
const OPTIONS: u8 = 0x05;
const SUPPORTED: u8 = 0x06;
const AUTH_RESPONSE: u8 = 0x0f;
const AUTH_SUCCESS: u8 = 0x10;

/// How a node is asked.
#[derive(Debug)]
pub(super) struct Probe {
    port: u16,
    login: bool,
    connector: Option<Connector>,
}

/// Speaks TLS as a client of the node.
struct Connector(SslConnector);

impl std::fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Connector")
    }
}

impl Probe {
    pub(super) fn new(port: u16, login: bool, authority: Option<&Authority>) -> Result<Self, StackError> {
        let connector = authority.map(|authority| authority.connector("probe").map(Connector)).transpose()?;
        Ok(Self { port, login, connector })
    }

    /// Whether the node answers as it should; else what it did instead.
    pub(super) fn ask(&self) -> Result<(), String> {
        let said = |error: io::Error| error.to_string();
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(said)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(said)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(said)?;
        match &self.connector {
            None => converse(stream, self.login).map_err(said),
            Some(Connector(tls)) => {
                let stream = tls.connect("127.0.0.1", stream).map_err(|error| error.to_string())?;
                converse(stream, self.login).map_err(said)
            }
        }
    }
}

fn converse<S: Read + Write>(mut stream: S, login: bool) -> io::Result<()> {
    exchange(&mut stream, OPTIONS, &[], SUPPORTED)?;
    if login {
        let options = [1_u16.to_be_bytes().to_vec(), string("CQL_VERSION"), string("3.0.0")].concat();
        exchange(&mut stream, STARTUP, &options, AUTHENTICATE)?;
        // SASL's PLAIN, as `PasswordAuthenticator` takes it, in `[bytes]`.
        let token = format!("\0{}\0{}", Cassandra::USER, Cassandra::PASSWORD);
        let length = i32::try_from(token.len()).expect("a few letters");
        let token = [&length.to_be_bytes(), token.as_bytes()].concat();
        exchange(&mut stream, AUTH_RESPONSE, &token, AUTH_SUCCESS)?;
    }
    Ok(())
}

/// Sends a frame and reads the answer, which must be of the kind `expected`.
fn exchange<S: Read + Write>(stream: &mut S, opcode: u8, body: &[u8], expected: u8) -> io::Result<()> {
    let length = u32::try_from(body.len()).expect("a few letters");
    let header = [VERSION, 0, 0, 0, opcode]; // version, flags, two bytes for the stream's number
    stream.write_all(&[&header, &length.to_be_bytes()[..], body].concat())?;
    stream.flush()?;
    let mut header = [0; 9];
    stream.read_exact(&mut header)?;
    let [version, _, _, _, found, length @ ..] = header;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if version & RESPONSE == 0 || length > BODY_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not an answer of the native protocol"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    if found == expected {
        return Ok(());
    }
    // An error's code in four bytes, and its words behind their length in two.
    let words = if found == ERROR { body.get(6..).unwrap_or_default() } else { &[] };
    let words = String::from_utf8_lossy(words);
    Err(io::Error::other(format!("answered {found:#04x} to {opcode:#04x}: {words}")))
}

fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a few letters");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// What was sent, and what is to be answered.
    struct Peer(Vec<u8>, Cursor<Vec<u8>>);

    impl Read for Peer {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1.read(buffer)
        }
    }

    impl Write for Peer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn options_are_asked_for_and_an_error_is_told() {
        let mut peer = Peer(Vec::new(), Cursor::new(b"\x84\0\0\0\x06\0\0\0\x02\0\0".to_vec()));
        exchange(&mut peer, OPTIONS, &[], SUPPORTED).unwrap();
        assert_eq!(peer.0, b"\x04\0\0\0\x05\0\0\0\0");

        let mut peer = Peer(Vec::new(), Cursor::new(b"\x84\0\0\0\0\0\0\0\x09\0\0\x01\0\0\x03bad".to_vec()));
        let told = exchange(&mut peer, AUTH_RESPONSE, &[], AUTH_SUCCESS).unwrap_err().to_string();
        assert_eq!(told, "answered 0x00 to 0x0f: bad");

        let mut peer = Peer(Vec::new(), Cursor::new(b"HTTP/1.1 400".to_vec()));
        assert!(exchange(&mut peer, OPTIONS, &[], SUPPORTED).is_err());
    }
}
