//! Errors of the balancer: of its start, its settings and HAProxy.

use std::{fmt, io, net::SocketAddr, path::PathBuf};

use super::front_certificate::FrontFileError;

/// Reason why the balancer can't start. Each text has what was found and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum BalancerError {
    /// The settings can't be used; one line for each that is wrong.
    #[error("{}: {}", .path.display(), ProblemLines(.problems))]
    Settings {
        /// The file.
        path: PathBuf,
        /// The bad settings.
        problems: Vec<BadBalancerSetting>,
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
        "can't listen on {bind}: {error}; set `bind` to an address that is free on this machine"
    )]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// The certificate by which members are asked can't be used.
    #[error(transparent)]
    Tls(quorate_tls::TlsError),
    /// There is no HAProxy, or none that can be used.
    #[error("{0}")]
    Program(String),
    /// HAProxy says that the configuration is wrong.
    #[error("HAProxy refuses the configuration {}: {error}", .path.display())]
    Refused {
        /// The refused file, kept to be looked at.
        path: PathBuf,
        /// HAProxy's own words.
        error: ConfigCheckError,
    },
    /// HAProxy ended, or gave no sign of life, right after its start.
    #[error("HAProxy did not start: {0}")]
    Start(String),
    /// The certificate of the front can't be used.
    #[error("tls: {}: {error}", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: FrontFileError,
    },
    /// A file can't be read or written.
    #[error("{what} {}: {error}", .path.display())]
    File {
        /// The action that failed.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

/// One bad setting of the balancer.
#[derive(Debug, thiserror::Error)]
pub enum BadBalancerSetting {
    /// The file is not TOML, or has a setting that does not exist.
    #[error("{}", .0.to_string().trim_end())]
    NotToml(toml::de::Error),
    /// `bind` is not an address.
    #[error("bind is {0:?}; it must be an IP address and a port, like \"127.0.0.1:11223\"")]
    NotAnAddress(String),
    /// `bind` has port 0.
    #[error("bind is {0:?}; the port must be from 1 to 65535")]
    PortZero(String),
    /// `bind` is open to the network, which `insecure` does not allow.
    #[error(
        "bind is {0:?}, which other machines reach, and requests would travel in the clear; \
         bind to a loopback address, give [tls] a cert and a key, or say insecure = true"
    )]
    Exposed(String),
    /// `members` is empty.
    #[error(
        "members is empty; give the admin URL of one member or more, \
         like members = [\"http://127.0.0.1:17110\"]"
    )]
    NoMembers,
    /// `members` has something that is not an admin URL.
    #[error(
        "members has {0:?}; an admin URL is like \"http://127.0.0.1:17110\", or \"https://10.0.0.1:17110\" with [members_tls]"
    )]
    NotAnAdminUrl(String),
    /// A URL's scheme and `members_tls` contradict each other.
    #[error(
        "members has {0:?}, and {1}; members with TLS need https and all of members_tls.ca, \
         members_tls.cert and members_tls.key (`quorate cert issue --balancer NAME` makes the last two)"
    )]
    OtherScheme(String, &'static str),
    /// `haproxy` is empty.
    #[error("haproxy is empty; give the program's name or path")]
    NoHaproxy,
    /// `trusted_proxies` has something that HAProxy can't match an address with.
    #[error(
        "trusted_proxies has {0:?}; it takes addresses and networks such as \
         \"10.0.0.5\", \"10.0.0.0/8\" or \"fd00::/8\""
    )]
    NotANetwork(String),
    /// A number is outside of its range.
    #[error("{name} is {value}; it must be from {from} to {to}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// The value that was given.
        value: u64,
        /// The least that is allowed.
        from: u64,
        /// The most that is allowed.
        to: u64,
    },
    /// The limit of open files can't be read.
    #[error("the limit of open files can't be read: {0}")]
    FileLimitUnknown(nix::Error),
    /// `maxconn` needs more files than the process may open.
    #[error(
        "maxconn is {maxconn}, but this process may open only {files} files; \
         it must be at most {most}, or raise the limit (ulimit -Hn)"
    )]
    TooFewFiles {
        /// The setting.
        maxconn: u64,
        /// The limit of open files.
        files: u64,
        /// The most connections within the limit.
        most: u64,
    },
}

/// Reason why HAProxy does not accept a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigCheckError {
    /// HAProxy refuses it, in these words.
    #[error("{0}")]
    Alerts(String),
    /// HAProxy could not be asked.
    #[error(transparent)]
    NotRun(Box<BalancerError>),
}

/// One problem on the same line, several below each other.
struct ProblemLines<'a>(&'a [BadBalancerSetting]);

impl fmt::Display for ProblemLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [one] => fmt::Display::fmt(one, f),
            many => many
                .iter()
                .try_for_each(|problem| write!(f, "\n  {problem}")),
        }
    }
}
