//! Errors in the settings, all of them at once.

use std::{fmt, io, path::PathBuf};

/// One bad setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSetting {
    /// The key, for example `http.bind`.
    pub key: String,
    /// The value that was given, as it was written; `None` when it is missing.
    pub value: Option<String>,
    /// The origin: `line 3`, `QUORATE_HTTP_BIND`, `--set`.
    pub origin: Option<String>,
    /// The rule that the value breaks.
    pub problem: String,
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        if let Some(origin) = &self.origin {
            write!(f, " ({origin})")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// An error in a host, an address, an interface or a library.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("must be the name of a host, for example console.example.com")]
    Host,
    #[error(
        "must be a file's name such as libmqic_r.so, an absolute path, or /FOLDER/** for everything below a folder"
    )]
    Library,
    #[error("must be an IP address of this host, the name of a network interface, or `*` for all")]
    Interface,
    #[error("has no port")]
    PortMissing,
    #[error("is a URL")]
    Url,
    #[error("{0:?} is no port")]
    Port(String),
    #[error("an IPv6 address stands in brackets")]
    Brackets,
    #[error("nobody can reach that address")]
    Unreachable,
    #[error("{0:?} is no host")]
    NotAHost(String),
}

/// Reason why there are no settings.
#[derive(Debug)]
pub enum SettingsError {
    /// The file can't be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// The file is not TOML.
    NotToml {
        /// The file.
        file: PathBuf,
        /// The parser's error, with its place.
        cause: toml::de::Error,
    },
    /// Settings that can't be used.
    Bad {
        /// The file, although some may come from the environment or from flags.
        file: PathBuf,
        /// The bad settings.
        errors: Vec<BadSetting>,
    },
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingsError::Unreadable { file, cause } => {
                write!(f, "can't read the settings in {}: {cause}", file.display())
            }
            SettingsError::NotToml { file, cause } => {
                write!(f, "{} is not TOML:\n{cause}", file.display())
            }
            SettingsError::Bad { file, errors } => {
                let count = errors.len();
                let plural = if count == 1 { "setting" } else { "settings" };
                write!(f, "{}: {count} bad {plural}", file.display())?;
                errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
        }
    }
}

impl std::error::Error for SettingsError {}
