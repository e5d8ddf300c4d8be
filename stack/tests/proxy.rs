//! The proxy over real sockets: a server that answers every request, and clients that see what each fault
//! does to them.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tickgate_stack::{Proxy, Request, ports};

const PATIENCE: Duration = Duration::from_mins(1);
/// What is not there after this long counts as withheld.
const WITHHELD: Duration = Duration::from_millis(300);
const HEARTBEAT: i16 = 12;
const END_TXN: i16 = 26;

/// Answers every request with its correlation id, and remembers it.
struct Server {
    port: u16,
    heard: Arc<Mutex<Vec<i32>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let (heard, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let serving = (Arc::clone(&heard), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            let (heard, ended) = serving;
            for client in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (heard, client) = (Arc::clone(&heard), client.unwrap());
                // Ends with the proxy's side of the connection.
                thread::spawn(move || answer(client, &heard));
            }
        });
        Self { port, heard, ended, thread: Some(thread) }
    }

    fn heard(&self) -> Vec<i32> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port))); // wakes it
        let _ = self.thread.take().unwrap().join();
    }
}

fn answer(mut client: TcpStream, heard: &Mutex<Vec<i32>>) {
    while let Ok(frame) = read_frame(&mut client) {
        heard.lock().unwrap().push(i32::from_be_bytes(frame[4..8].try_into().unwrap()));
        let reply = [&[0, 0, 0, 6], &frame[4..8], b"ok"].concat();
        if client.write_all(&reply).is_err() {
            return;
        }
    }
}

fn read_frame(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    from.read_exact(&mut size)?;
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(size)).unwrap()];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

/// A server behind a proxy.
fn proxied() -> (Server, Proxy) {
    let ports = ports::take(2).unwrap();
    (Server::start(ports[0]), Proxy::start(ports[1], ports[0]).unwrap())
}

fn connect(proxy: &Proxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Sends a request of the client "me" with a body.
fn send(to: &mut TcpStream, key: i16, id: i32, body: &[u8]) {
    let header = [&key.to_be_bytes()[..], &[0, 1], &id.to_be_bytes(), b"\0\x02me"].concat();
    let size = i32::try_from(header.len() + body.len()).unwrap();
    to.write_all(&[&size.to_be_bytes()[..], &header, body].concat()).unwrap();
}

/// Ends the transaction of the id "gate.0".
fn end_transaction(to: &mut TcpStream, id: i32, commit: bool) {
    send(to, END_TXN, id, &[b"\0\x06gate.0".as_slice(), &[0; 10], &[u8::from(commit)]].concat());
}

/// The id of the next reply.
fn reply(from: &mut TcpStream) -> i32 {
    i32::from_be_bytes(read_frame(from).unwrap()[..4].try_into().unwrap())
}

fn assert_closed(client: &mut TcpStream) {
    let error = read_frame(client).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
}

fn assert_nothing_comes(client: &mut TcpStream) {
    client.set_read_timeout(Some(WITHHELD)).unwrap();
    let error = client.peek(&mut [0]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    client.set_read_timeout(Some(PATIENCE)).unwrap();
}

/// Waits until the proxy refuses connections.
fn wait_refused(proxy: &Proxy) {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(proxy.address()).is_ok() {
        assert!(Instant::now() < deadline, "connections are still taken");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the proxy takes connections.
fn wait_taken(proxy: &Proxy) -> TcpStream {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(proxy.address()).is_err() {
        assert!(Instant::now() < deadline, "no connection is taken");
        thread::sleep(Duration::from_millis(5));
    }
    connect(proxy)
}

#[test]
fn all_passes_whole_and_in_order() {
    let (server, proxy) = proxied();
    let (mut first, mut second) = (connect(&proxy), connect(&proxy));
    let large = vec![7; 300_000];
    for id in 0..100 {
        send(&mut first, HEARTBEAT, id, &large);
        send(&mut second, HEARTBEAT, 1000 + id, b"");
    }
    for id in 0..100 {
        assert_eq!(reply(&mut first), id);
        assert_eq!(reply(&mut second), 1000 + id);
    }
    assert_eq!(server.heard().len(), 200);
}

#[test]
fn a_cut_closes_what_is_open_and_refuses_what_comes() {
    let (_server, proxy) = proxied();
    let mut client = connect(&proxy);
    send(&mut client, HEARTBEAT, 1, b"");
    assert_eq!(reply(&mut client), 1);
    proxy.cut();
    assert_closed(&mut client);
    wait_refused(&proxy);
    proxy.mend();
    let mut client = wait_taken(&proxy);
    send(&mut client, HEARTBEAT, 2, b"");
    assert_eq!(reply(&mut client), 2);
}

#[test]
fn a_stall_holds_everything_back_and_loses_nothing() {
    let (server, proxy) = proxied();
    let mut client = connect(&proxy);
    send(&mut client, HEARTBEAT, 1, b"");
    assert_eq!(reply(&mut client), 1);
    proxy.stall();
    send(&mut client, HEARTBEAT, 2, b"");
    let mut late = connect(&proxy);
    send(&mut late, HEARTBEAT, 3, b"");
    assert_nothing_comes(&mut client);
    assert_nothing_comes(&mut late);
    assert_eq!(server.heard(), [1]);
    proxy.mend();
    assert_eq!(reply(&mut client), 2);
    assert_eq!(reply(&mut late), 3);
}

#[test]
fn a_delay_holds_each_frame_back_both_ways() {
    const DELAY: Duration = Duration::from_millis(100);
    let (_server, proxy) = proxied();
    proxy.delay(DELAY);
    let mut client = connect(&proxy);
    let began = Instant::now();
    for id in 0..20 {
        send(&mut client, HEARTBEAT, id, b"");
    }
    for id in 0..20 {
        assert_eq!(reply(&mut client), id);
    }
    assert!(began.elapsed() >= DELAY * 2, "{:?}", began.elapsed());
}

#[test]
fn the_reply_to_a_commit_is_lost_after_the_commit() {
    let (server, proxy) = proxied();
    proxy.lose_replies(Request::Commit, 2);
    for id in [1, 2] {
        let mut client = connect(&proxy);
        // What was answered before still arrives.
        send(&mut client, HEARTBEAT, 10 * id, b"");
        end_transaction(&mut client, 10 * id + 1, false);
        end_transaction(&mut client, 10 * id + 2, true);
        assert_eq!(reply(&mut client), 10 * id);
        assert_eq!(reply(&mut client), 10 * id + 1);
        assert_closed(&mut client);
    }
    assert_eq!(proxy.lost(), 2);
    let mut client = connect(&proxy);
    end_transaction(&mut client, 3, true);
    assert_eq!(reply(&mut client), 3);
    assert_eq!(server.heard(), [10, 11, 12, 20, 21, 22, 3]);
    assert_eq!(proxy.lost(), 2);
}

#[test]
fn a_lost_request_is_never_heard_of() {
    let (server, proxy) = proxied();
    proxy.lose_requests(Request::Commit, 5);
    let mut client = connect(&proxy);
    end_transaction(&mut client, 1, false);
    assert_eq!(reply(&mut client), 1);
    end_transaction(&mut client, 2, true);
    assert_closed(&mut client);
    assert_eq!(proxy.lost(), 1);
    proxy.mend();
    let mut client = connect(&proxy);
    end_transaction(&mut client, 3, true);
    assert_eq!(reply(&mut client), 3);
    assert_eq!(server.heard(), [1, 3]);
    assert_eq!(proxy.lost(), 1);
    proxy.lose_requests(Request::Heartbeat, 1);
    assert_eq!(proxy.lost(), 0);
    send(&mut client, HEARTBEAT, 4, b"");
    assert_closed(&mut client);
    assert_eq!(proxy.lost(), 1);
}

#[test]
fn a_server_that_is_down_closes_its_connections_and_may_come_back() {
    let ports = ports::take(2).unwrap();
    let proxy = Proxy::start(ports[1], ports[0]).unwrap();
    assert_closed(&mut connect(&proxy));
    let _server = Server::start(ports[0]);
    let mut client = connect(&proxy);
    send(&mut client, HEARTBEAT, 1, b"");
    assert_eq!(reply(&mut client), 1);
    // A proxy that goes leaves neither its port nor a connection.
    let address = proxy.address();
    drop(proxy);
    assert_closed(&mut client);
    assert!(TcpStream::connect(address).is_err());
}
