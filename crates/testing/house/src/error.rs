//! Errors of reading a checkout: each names the file and what would be right.

use std::{io, path::PathBuf};

/// Reasons why a checkout cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum HouseError {
    /// A file or folder could not be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// A folder could not be walked.
    #[error("cannot list the checkout: {0}")]
    Walk(walkdir::Error),
    /// A manifest is not what cargo would accept.
    #[error("{}: {error}", path.display())]
    Manifest {
        /// The `Cargo.toml`.
        path: PathBuf,
        /// The reason.
        error: Box<toml::de::Error>,
    },
    /// A workspace member has no package.
    #[error("{}: no [package] in it; members of a workspace need one", path.display())]
    NoPackage {
        /// The `Cargo.toml`.
        path: PathBuf,
    },
    /// A file is not Rust.
    #[error("{path}:{line}: not Rust that can be parsed: {error}")]
    Syntax {
        /// The file, from the checkout's root.
        path: String,
        /// The line at which parsing stopped.
        line: usize,
        /// The reason.
        error: syn::Error,
    },
    /// A file is no sequence of tokens.
    #[error("{path}:{line}: no Rust tokens: {error}")]
    Tokens {
        /// The file, from the checkout's root.
        path: String,
        /// The line at which reading stopped.
        line: usize,
        /// The reason.
        error: proc_macro2::LexError,
    },
}
