//! How a command ends when it does not succeed, and with which exit code.

use std::{fmt, process::ExitCode};

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub enum Failure {
    /// Refused, failed, or of unknown outcome: exit 1.
    Refused(String),
    /// Asked for in a way that makes no sense: exit 2.
    Usage(String),
    /// No leader, or nobody reachable; worth a retry: exit 3.
    Unreachable(String),
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Refused(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Unreachable(_) => 3,
        }
    }

    /// The same with something said before it.
    pub fn about(self, what: impl fmt::Display) -> Failure {
        let with = |text: String| format!("{what}: {text}");
        match self {
            Failure::Refused(text) => Failure::Refused(with(text)),
            Failure::Usage(text) => Failure::Usage(with(text)),
            Failure::Unreachable(text) => Failure::Unreachable(with(text)),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(text) | Failure::Usage(text) | Failure::Unreachable(text) => {
                f.write_str(text)
            }
        }
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> ExitCode {
        ExitCode::from(failure.code())
    }
}
