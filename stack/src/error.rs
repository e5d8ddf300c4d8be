//! What can go wrong with a stack: one fact each, and what to do about it.

use std::path::PathBuf;

/// Why a stack could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A stack has one or three brokers.
    #[error("expected 1 or 3 brokers, found {0}")]
    Brokers(usize),
    /// The folder has processes that still run.
    #[error(
        "`{dir}` holds a running stack (process {pid}): stop it with `stack down --dir {dir}`, or take another folder"
    )]
    Busy {
        /// The stack's folder.
        dir: PathBuf,
        /// One of its processes.
        pid: u32,
    },
    /// The folder was laid out for another number of brokers.
    #[error(
        "`{dir}` holds the data of {found} brokers, not {expected}: ask for {found}, or wipe it with `stack down --wipe --dir {dir}`"
    )]
    Layout {
        /// The stack's folder.
        dir: PathBuf,
        /// How many brokers were asked for.
        expected: usize,
        /// How many the folder has.
        found: usize,
    },
    /// There is no stack in the folder.
    #[error("`{dir}` holds no stack: start one with `stack up --dir {dir}`")]
    Absent {
        /// The folder.
        dir: PathBuf,
    },
    /// The stack's own file in the folder cannot be read.
    #[error("`{path}` is not a stack's description ({reason}): remove the folder by hand")]
    Description {
        /// The file.
        path: PathBuf,
        /// Where it broke.
        reason: String,
    },
    /// The broker is not running.
    #[error("broker {0} is not running: start it first")]
    Down(usize),
    /// The broker runs already.
    #[error("broker {id} runs already, as process {pid}")]
    Up {
        /// The broker.
        id: usize,
        /// Its process.
        pid: u32,
    },
    /// A broker ended or did not answer in time. The log is kept.
    #[error("broker {id} {what}; the end of `{log}`:\n{tail}")]
    Broker {
        /// The broker.
        id: usize,
        /// What it did instead of what was expected.
        what: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// Cassandra is not running.
    #[error("this Cassandra is not running: start it first")]
    CassandraDown,
    /// Cassandra runs already, from here or from another process that was given the same folder.
    #[error("the Cassandra in `{dir}` runs already, as process {pid}: stop it, or take another folder")]
    CassandraUp {
        /// Its folder.
        dir: PathBuf,
        /// Its process.
        pid: u32,
    },
    /// Cassandra ended or did not answer in time. The log is kept.
    #[error("Cassandra {what}; the end of `{log}`:\n{tail}")]
    Cassandra {
        /// What it did instead of what was expected.
        what: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// A key or a certificate could not be made or read.
    #[error("cannot {verb}: {source}")]
    Certificate {
        /// What was tried.
        verb: &'static str,
        /// OpenSSL's reason.
        source: openssl::error::ErrorStack,
    },
    /// The process did not end although it was killed.
    #[error("process {0} did not end: look for it with `ps`")]
    Alive(u32),
    /// A program that the stack needs failed or is missing.
    #[error("`{program}` failed ({reason}): `dev/setup` installs what is needed")]
    Program {
        /// What was run.
        program: String,
        /// Its status or the last of what it said.
        reason: String,
    },
    /// No free port was left.
    #[error("no free port between {from} and {to}: stop some stacks")]
    Ports {
        /// The first that was tried.
        from: u16,
        /// The one behind the last.
        to: u16,
    },
    /// The proxy's port is taken.
    #[error("cannot listen on port {port} ({source}): stop what listens there")]
    Listen {
        /// The port.
        port: u16,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file or folder could not be made, read or removed.
    #[error("cannot {verb} `{path}`: {source}")]
    File {
        /// What was tried.
        verb: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl StackError {
    /// An IO error together with what was tried on which path; made for `map_err`.
    pub(crate) fn file(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { verb, path, source }
    }
}
