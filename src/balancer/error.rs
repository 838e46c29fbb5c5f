//! Errors of the balancer: of its start, its settings and HAProxy.

use std::{fmt, io, net::SocketAddr, path::PathBuf};

/// Reason why the balancer can't start. Each text has what was found and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum BalancerError {
    /// The settings can't be used; one line for each that is wrong.
    #[error("{}: {}", .path.display(), ProblemLines(.problems))]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        problems: Vec<String>,
    },
    /// Another balancer works in the same folder.
    #[error(
        "another balancer runs in {} (process {pid}); stop it first, or set `dir` to another folder",
        .dir.display()
    )]
    Taken {
        /// The folder.
        dir: PathBuf,
        /// The content of its `pid` file.
        pid: String,
    },
    /// The address can't be listened on.
    #[error(
        "can't listen on {bind}: {source}; set `bind` to an address that is free on this machine"
    )]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// There is no HAProxy, or none that can be used.
    #[error("{0}")]
    Program(String),
    /// HAProxy says that the configuration is wrong.
    #[error("HAProxy refuses the configuration {}: {message}", .path.display())]
    Refused {
        /// The refused file, kept to be looked at.
        path: PathBuf,
        /// What HAProxy said.
        message: String,
    },
    /// HAProxy ended, or gave no sign of life, right after its start.
    #[error("HAProxy did not start: {0}")]
    Start(String),
    /// A file can't be read or written.
    #[error("{what} {}: {source}", .path.display())]
    File {
        /// The action that failed.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// One problem on the same line, several below each other.
struct ProblemLines<'a>(&'a [String]);

impl fmt::Display for ProblemLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [one] => f.write_str(one),
            many => many
                .iter()
                .try_for_each(|problem| write!(f, "\n  {problem}")),
        }
    }
}
