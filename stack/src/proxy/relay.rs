//! The proxy's connections: pieces in, pieces out, and what the weather does to them.

use std::{
    collections::HashSet,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::{self, Instant},
};

use super::{Line, Losses, Pieces, Way, Weather, listen, wire};

/// Pieces that a direction of a connection holds at most; a sender beyond that waits in TCP.
const PIECES_HELD: usize = 256;
/// What is read at once where there are no frames, in bytes.
const READ_MAX: usize = 16 << 10;
/// Kafka's own limit on a request (`socket.request.max.bytes`).
const FRAME_MAX: usize = 100 << 20;
/// Between two tries to listen again on the own port.
const LISTEN_PAUSE: Duration = Duration::from_millis(10);

/// What every connection needs to know.
#[derive(Clone)]
pub(super) struct Relay {
    pub(super) pieces: Pieces,
    pub(super) port: u16,
    pub(super) server: u16,
    pub(super) weather: watch::Receiver<Weather>,
    pub(super) losses: Arc<Losses>,
}

impl Relay {
    /// Takes connections until the proxy is dropped.
    pub(super) async fn serve(mut self, first: std::net::TcpListener) {
        let mut listener = TcpListener::from_std(first);
        while let Ok(listening) = &listener {
            if !self.accept(listening).await {
                return;
            }
            // Only a listener that is gone refuses connections.
            drop(listener);
            if self.weather.wait_for(|now| now.line != Line::Cut).await.is_err() {
                return;
            }
            listener = self.listen_again().await;
        }
    }

    /// Takes connections until the line is cut; false when the proxy is dropped instead.
    async fn accept(&mut self, listener: &TcpListener) -> bool {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                cut = self.weather.wait_for(|now| now.line == Line::Cut) => return cut.is_ok(),
            };
            if let Ok((client, _)) = accepted {
                tokio::spawn(self.clone().connect(client));
            }
        }
    }

    async fn listen_again(&self) -> io::Result<TcpListener> {
        loop {
            if let Ok(listener) = listen(self.port) {
                return TcpListener::from_std(listener);
            }
            time::sleep(LISTEN_PAUSE).await;
        }
    }

    /// Serves one client until either side closes, the line is cut, or something of it is swallowed.
    async fn connect(self, client: TcpStream) {
        // A server that is down: the client finds its connection closed.
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.server)).await else { return };
        let (Ok(()), Ok(())) = (client.set_nodelay(true), server.set_nodelay(true)) else { return };
        let watched = Mutex::default();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let mut weather = self.weather.clone();
        tokio::select! {
            _ = self.forward(Way::Request, from_client, to_server, &watched) => {}
            _ = self.forward(Way::Reply, from_server, to_client, &watched) => {}
            _ = weather.wait_for(|now| now.line == Line::Cut) => {}
        }
    }

    /// Forwards one direction until it ends. What was read before the end is still forwarded.
    async fn forward(
        &self,
        way: Way,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        watched: &Watched,
    ) -> io::Result<()> {
        let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_HELD);
        let reading = async move {
            while let Some(piece) = self.read(&mut from).await? {
                let due = Instant::now() + self.weather.borrow().delay;
                if self.swallows(way, &piece, watched) || queue.send((due, piece)).await.is_err() {
                    break;
                }
            }
            io::Result::Ok(())
        };
        let writing = async {
            let mut weather = self.weather.clone();
            while let Some((due, piece)) = queued.recv().await {
                time::sleep_until(due).await;
                if weather.wait_for(|now| now.line != Line::Stalled).await.is_err() {
                    break;
                }
                to.write_all(&piece).await?;
            }
            io::Result::Ok(())
        };
        tokio::try_join!(reading, writing).map(|_| ())
    }

    async fn read(&self, from: &mut OwnedReadHalf) -> io::Result<Option<Vec<u8>>> {
        match self.pieces {
            Pieces::KafkaFrames => read_frame(from).await,
            Pieces::AsRead => read_some(from).await,
        }
    }

    fn swallows(&self, way: Way, frame: &[u8], watched: &Watched) -> bool {
        if self.pieces != Pieces::KafkaFrames {
            return false;
        }
        let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
        match way {
            Way::Request => {
                if self.losses.takes_request(frame) {
                    return true;
                }
                if let Some(id) = wire::request_id(frame).filter(|_| self.losses.watches_reply(frame)) {
                    watched.insert(id);
                }
                false
            }
            Way::Reply => {
                wire::reply_id(frame).is_some_and(|id| watched.remove(&id)) && self.losses.takes_reply()
            }
        }
    }
}

/// Correlation ids of a connection's requests whose replies may have to be swallowed.
type Watched = Mutex<HashSet<i32>>;

/// The next frame with its size before it; `None` at the end of the stream.
async fn read_frame(from: &mut OwnedReadHalf) -> io::Result<Option<Vec<u8>>> {
    let mut size = [0; 4];
    if let Err(error) = from.read_exact(&mut size).await {
        return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    }
    let length = usize::try_from(i32::from_be_bytes(size)).unwrap_or(usize::MAX);
    if length > FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a frame of Kafka's protocol"));
    }
    let mut frame = vec![0; size.len() + length];
    frame[..size.len()].copy_from_slice(&size);
    from.read_exact(&mut frame[size.len()..]).await?;
    Ok(Some(frame))
}

/// What is there, or the next that comes; `None` at the end of the stream.
async fn read_some(from: &mut OwnedReadHalf) -> io::Result<Option<Vec<u8>>> {
    let mut piece = vec![0; READ_MAX];
    let length = from.read(&mut piece).await?;
    piece.truncate(length);
    Ok(Some(piece).filter(|piece| !piece.is_empty()))
}
