//! Errors of commands, with their exit codes.

use std::{fmt, process::ExitCode};

/// Reason why a command did not do what it was asked for.
#[derive(Debug)]
pub enum CliError {
    /// Refused, failed, or of unknown outcome: exit 1.
    Refused(String),
    /// Asked for in a way that makes no sense: exit 2.
    Usage(String),
    /// No leader, or nobody reachable; worth a retry: exit 3.
    Unreachable(String),
}

impl CliError {
    /// Returns the exit code.
    pub fn code(&self) -> u8 {
        match self {
            CliError::Refused(_) => 1,
            CliError::Usage(_) => 2,
            CliError::Unreachable(_) => 3,
        }
    }

    /// Adds `what` before the text.
    pub fn about(self, what: impl fmt::Display) -> CliError {
        let with = |text: String| format!("{what}: {text}");
        match self {
            CliError::Refused(text) => CliError::Refused(with(text)),
            CliError::Usage(text) => CliError::Usage(with(text)),
            CliError::Unreachable(text) => CliError::Unreachable(with(text)),
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::Refused(text) | CliError::Usage(text) | CliError::Unreachable(text) => {
                f.write_str(text)
            }
        }
    }
}

impl From<CliError> for ExitCode {
    fn from(failure: CliError) -> ExitCode {
        ExitCode::from(failure.code())
    }
}
