//! How a run ends: the exit codes that scripts depend on.

use std::{fmt, process::ExitCode};

use crate::config::ConfigError;

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: all is whole.
    Whole,
    /// 1: a breach was found, or the role could not go on without one.
    Breach,
    /// 2: the settings, or what they point at, have to be changed first.
    Settings,
    /// 3: brokers could not be reached.
    Unreachable,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Whole => 0,
            Exit::Breach => 1,
            Exit::Settings => 2,
            Exit::Unreachable => 3,
        })
    }
}

/// Why a role ended early, and the exit code that follows from it.
///
/// There is no way from any error to this: whoever fails says which of the three it is.
#[derive(Debug)]
pub struct Failure {
    /// The code to end with; never [`Exit::Whole`].
    pub exit: Exit,
    /// What happened.
    pub cause: anyhow::Error,
}

impl Failure {
    /// Ends with 1.
    pub fn breach(cause: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Breach, cause: cause.into() }
    }

    /// Ends with 2.
    pub fn settings(cause: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Settings, cause: cause.into() }
    }

    /// Ends with 3.
    pub fn unreachable(cause: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Unreachable, cause: cause.into() }
    }
}

impl From<ConfigError> for Failure {
    fn from(cause: ConfigError) -> Self {
        Self::settings(cause)
    }
}

impl fmt::Display for Failure {
    /// The cause and what caused it, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.cause)
    }
}
