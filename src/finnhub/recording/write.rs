//! Writes a recording.
//!
//! Promises: it makes a new file and never changes one that is there; what was flushed is on the disk, and can
//! be read back after a crash, packed or not.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};

use super::{Line, Packing};

/// How well zstd packs; its own default.
const ZSTD_LEVEL: i32 = 3;

/// A recording that grows.
pub struct Writer {
    path: PathBuf,
    packer: Packer,
}

enum Packer {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

/// A recording that can't be written.
#[derive(Debug, thiserror::Error)]
#[error("the recording `{}` can't be {what} ({cause})", path.display())]
pub struct WriterError {
    path: PathBuf,
    what: &'static str,
    cause: io::Error,
}

impl Writer {
    /// Makes the file, which must not be there yet.
    pub fn create(path: &Path) -> Result<Self, WriterError> {
        let failed = |cause| WriterError { path: path.to_owned(), what: "made", cause };
        let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
        let file = BufWriter::new(file);
        let packer = match Packing::of(path) {
            Packing::Plain => Packer::Plain(file),
            Packing::Gzip => Packer::Gzip(GzEncoder::new(file, Compression::default())),
            Packing::Zstd => Packer::Zstd(zstd::Encoder::new(file, ZSTD_LEVEL).map_err(failed)?),
        };
        Ok(Self { path: path.to_owned(), packer })
    }

    /// Adds a message; it may stay in memory until the next flush.
    pub fn write(&mut self, line: &Line) -> Result<(), WriterError> {
        let bytes = line.write();
        let written = match &mut self.packer {
            Packer::Plain(file) => file.write_all(&bytes),
            Packer::Gzip(packer) => packer.write_all(&bytes),
            Packer::Zstd(packer) => packer.write_all(&bytes),
        };
        self.done(written)
    }

    /// Brings everything to the disk.
    pub fn flush(&mut self) -> Result<(), WriterError> {
        let flushed = match &mut self.packer {
            Packer::Plain(file) => file.flush(),
            Packer::Gzip(packer) => packer.flush(),
            Packer::Zstd(packer) => packer.flush(),
        };
        let synced = flushed.and_then(|()| self.file().sync_data());
        self.done(synced)
    }

    /// Ends the file as its packing wants it, and brings it to the disk.
    pub fn finish(self) -> Result<(), WriterError> {
        let file = match self.packer {
            Packer::Plain(file) => Ok(file),
            Packer::Gzip(packer) => packer.finish(),
            Packer::Zstd(packer) => packer.finish(),
        };
        let synced = file.and_then(|mut file| {
            file.flush()?;
            file.get_ref().sync_all()
        });
        synced.map_err(|cause| WriterError { path: self.path, what: "finished", cause })
    }

    fn file(&self) -> &File {
        match &self.packer {
            Packer::Plain(file) => file.get_ref(),
            Packer::Gzip(packer) => packer.get_ref().get_ref(),
            Packer::Zstd(packer) => packer.get_ref().get_ref(),
        }
    }

    fn done(&self, result: io::Result<()>) -> Result<(), WriterError> {
        result.map_err(|cause| WriterError { path: self.path.clone(), what: "written", cause })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::finnhub::Bytes;

    fn line(at: i64) -> Line {
        Line { at, message: Bytes::from_static(br#"{"type":"ping"}"#) }
    }

    /// What can be read of a file, up to where it breaks off.
    fn readable(path: &Path) -> String {
        let file = File::open(path).unwrap();
        let mut reader: Box<dyn Read> = match Packing::of(path) {
            Packing::Plain => Box::new(file),
            Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
            Packing::Zstd => Box::new(zstd::Decoder::new(file).unwrap()),
        };
        let (mut text, mut byte) = (Vec::new(), [0]);
        while let Ok(1) = reader.read(&mut byte) {
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn what_was_flushed_can_be_read_however_it_is_packed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"] {
            let path = dir.path().join(name);
            let mut writer = Writer::create(&path).unwrap();
            for at in 0..100 {
                writer.write(&line(at)).unwrap();
            }
            writer.flush().unwrap();
            writer.write(&line(100)).unwrap();
            assert_eq!(readable(&path).lines().count(), 100, "{name}");
            assert!(Writer::create(&path).is_err());
            writer.finish().unwrap();
            assert_eq!(readable(&path).lines().count(), 101, "{name}");
        }
    }
}
