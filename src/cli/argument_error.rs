//! Errors of command-line arguments that are parsed by functions of ours.

/// Reason why an argument is refused. Clap prints the argument and its value before the text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CliArgumentError {
    /// Not a log level.
    #[error("must be {}", crate::settings::LOG_LEVEL)]
    LogLevel,
    /// A setting without a key.
    #[error("write KEY=VALUE, for example log.level=debug")]
    Setting,
    /// A header or property without a name.
    #[error("must be NAME=VALUE")]
    NameAndValue,
    /// A count that is 0 or no number.
    #[error("must be a whole number above 0")]
    Count,
    /// A list of URLs without one.
    #[error("give at least one URL, for example http://127.0.0.1:17110")]
    NoUrl,
    /// Text that is not a URL.
    #[error("{text:?} is no URL ({cause}); write http://127.0.0.1:17110")]
    NotAUrl {
        /// The text as it was given.
        text: String,
        /// The parser's reason.
        cause: url::ParseError,
    },
    /// A URL of another scheme.
    #[error("{text:?}: the admin port speaks http or https; write http://127.0.0.1:17110")]
    Scheme {
        /// The text as it was given.
        text: String,
    },
    /// A URL with a path or a query, or without a host.
    #[error("{text:?}: give the scheme, host and port only, for example http://127.0.0.1:17110")]
    MoreThanHostAndPort {
        /// The text as it was given.
        text: String,
    },
}
