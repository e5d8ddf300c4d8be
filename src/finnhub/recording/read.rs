//! Plays a recording: its messages in order, as far apart as they came, or as the speed says.
//!
//! Promises: a receiver that is slow delays the rest and loses nothing; memory holds a bounded number of
//! lines, and no line that is too long to be one; a file that breaks off is said to.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Take};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Line, Packing};
use crate::finnhub::Bytes;

/// A longer line is damaged: no message of the feed has so many bytes, however it is written.
const LINE_BYTES_MAX: usize = 64 << 20;
/// So much of a damaged line is handed on.
const DAMAGED_BYTES_MAX: usize = 64 << 10;
/// No process lives longer, and an instant can't take every duration.
const LONGEST: Duration = Duration::from_hours(24 * 3650);
/// Lines that are read ahead.
const LINES_MAX: usize = 64;

/// Which recording, and how fast.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// 1 is its own speed, 10 ten times as fast, 0 as fast as it is taken.
    pub speed: f64,
}

/// What a recording yields.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// One message, as it came.
    Received(Bytes),
    /// A line that is none.
    Damaged {
        /// Its number, from 1.
        line: u64,
        /// Its first bytes.
        bytes: Vec<u8>,
    },
    /// The end: so many lines were read.
    Finished {
        /// How many, damaged ones too.
        lines: u64,
    },
    /// Reading stopped before the end.
    Broken {
        /// After so many lines.
        lines: u64,
        /// The system's words, or the unpacker's.
        cause: String,
    },
}

/// A recording that can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("expected a recording in `{}`, which can't be opened ({cause})", path.display())]
pub struct BadFile {
    path: PathBuf,
    cause: std::io::Error,
}

/// Whether a recording can be opened.
pub fn check(path: &Path) -> Result<(), BadFile> {
    let bad = |cause| BadFile { path: path.to_owned(), cause };
    let is_folder = File::open(path).and_then(|file| file.metadata()).map_err(bad)?.is_dir();
    if is_folder { Err(bad(ErrorKind::IsADirectory.into())) } else { Ok(()) }
}

/// Plays it once, until whoever receives the events is gone or has closed the channel.
pub async fn run(settings: Settings, events: mpsc::Sender<Event>) {
    let (sender, mut lines) = mpsc::channel(LINES_MAX);
    let path = settings.path.clone();
    // A thread of its own, which nobody waits for: reading can block for long.
    std::thread::spawn(move || read(&path, &sender));
    let mut began = None;
    while let Some((at, event)) = lines.recv().await {
        if let Some(at) = at {
            let (start, first) = *began.get_or_insert((Instant::now(), at));
            tokio::select! {
                () = tokio::time::sleep_until(start + after(at.saturating_sub(first), settings.speed)) => {}
                () = events.closed() => return,
            }
        }
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// How long after the first message one is due that came so many ms after it.
fn after(ms: i64, speed: f64) -> Duration {
    let Ok(ms) = u64::try_from(ms) else { return Duration::ZERO };
    if speed <= 0.0 {
        return Duration::ZERO;
    }
    Duration::try_from_secs_f64(Duration::from_millis(ms).as_secs_f64() / speed)
        .unwrap_or(LONGEST)
        .min(LONGEST)
}

/// Reads all lines: what each is, and when it came if it says so.
fn read(path: &Path, lines: &mpsc::Sender<(Option<i64>, Event)>) {
    let mut count = 0;
    let ended = open(path).and_then(|mut reader| {
        let mut line = Vec::new();
        while next_line(&mut reader, &mut line)? {
            count += 1;
            let event = if let Some(Line { at, message }) = Line::read(&line) {
                (Some(at), Event::Received(message))
            } else {
                line.truncate(DAMAGED_BYTES_MAX);
                (None, Event::Damaged { line: count, bytes: line.clone() })
            };
            if lines.blocking_send(event).is_err() {
                return Ok(());
            }
        }
        Ok(())
    });
    let last = match ended {
        Ok(()) => Event::Finished { lines: count },
        Err(error) => Event::Broken { lines: count, cause: error.to_string() },
    };
    // Who is gone needs no end.
    let _ = lines.blocking_send((None, last));
}

fn open(path: &Path) -> std::io::Result<Box<dyn BufRead>> {
    let file = BufReader::new(File::open(path)?);
    Ok(match Packing::of(path) {
        Packing::Plain => Box::new(file),
        Packing::Gzip => Box::new(BufReader::new(MultiGzDecoder::new(file))),
        Packing::Zstd => Box::new(BufReader::new(zstd::Decoder::with_buffer(file)?)),
    })
}

/// Reads a line without its end into `line`; `false` at the end of the file. Of a line that is too long only
/// the beginning is kept.
fn next_line(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let limit = LINE_BYTES_MAX as u64;
    let mut limited: Take<&mut dyn BufRead> = Read::take(&mut *reader, limit);
    if limited.read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() == LINE_BYTES_MAX {
        skip_line(reader)?;
    }
    Ok(true)
}

fn skip_line(reader: &mut dyn BufRead) -> std::io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let (used, is_over) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        reader.consume(used);
        if is_over {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(name: &str, bytes: &[u8], speed: f64) -> (Vec<Event>, Duration) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        check(&path).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let began = Instant::now();
        let events = runtime.block_on(async {
            let (sender, mut events) = mpsc::channel(2);
            tokio::spawn(run(Settings { path, speed }, sender));
            let mut all = Vec::new();
            while let Some(event) = events.recv().await {
                all.push(event);
            }
            all
        });
        (events, began.elapsed())
    }

    const THREE: &[u8] =
        b"{\"at\":1000,\"message\":1}\n{\"at\":900,\"message\":2}\n{\"at\":1600,\"text\":\"3\"}\n";

    fn three() -> Vec<Event> {
        let received = |text: &'static str| Event::Received(Bytes::from(text));
        vec![received("1"), received("2"), received("3"), Event::Finished { lines: 3 }]
    }

    #[test]
    fn messages_come_as_far_apart_as_they_did() {
        let (events, took) = played("a.jsonl", THREE, 1.0);
        assert_eq!(events, three());
        assert!(took >= Duration::from_millis(600), "{took:?}");
        let (events, took) = played("a.jsonl", THREE, 0.0);
        assert_eq!(events, three());
        assert!(took < Duration::from_millis(500), "{took:?}");
        assert_eq!(after(10_000, 10.0), Duration::from_secs(1));
        assert!(after(i64::MAX, 1e-9) > Duration::from_hours(24));
    }

    #[test]
    fn packed_recordings_are_unpacked_and_one_that_breaks_off_is_noticed() {
        let gz = {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            std::io::Write::write_all(&mut encoder, THREE).unwrap();
            encoder.finish().unwrap()
        };
        let zst = zstd::encode_all(THREE, 0).unwrap();
        for (name, bytes) in [("a.gz", gz), ("a.jsonl.zst", zst)] {
            assert_eq!(played(name, &bytes, 0.0).0, three(), "{name}");
            let (events, _) = played(name, &bytes[..bytes.len() - 3], 0.0);
            assert!(matches!(events.last(), Some(Event::Broken { .. })), "{name}: {events:?}");
        }
        assert!(matches!(played("b.gz", b"no gzip", 0.0).0[..], [Event::Broken { lines: 0, .. }]));
    }

    #[test]
    fn a_damaged_line_costs_that_line() {
        let text = b"{\"at\":1,\"message\":1}\nnonsense\n\n{\"at\":2,\"message\":2}\n{\"at\":3,\"mess";
        let (events, _) = played("a", text, 0.0);
        let damaged = |line, bytes: &[u8]| Event::Damaged { line, bytes: bytes.to_vec() };
        let received = |text: &'static str| Event::Received(Bytes::from(text));
        let expected = [
            received("1"),
            damaged(2, b"nonsense"),
            damaged(3, b""),
            received("2"),
            damaged(5, b"{\"at\":3,\"mess"),
            Event::Finished { lines: 5 },
        ];
        assert_eq!(events, expected);
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(check(dir.path()).is_err());
        let error = check(&dir.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }
}
