//! Errors of reading a checkout: each names the file and what would be right.

use std::{io, path::PathBuf};

/// Reasons why a checkout cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum HouseError {
    /// A file or folder could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A folder could not be walked.
    #[error("cannot list the checkout: {0}")]
    Walk(#[from] walkdir::Error),
    /// A manifest is not what cargo would accept.
    #[error("{}: {source}", path.display())]
    Manifest {
        /// The `Cargo.toml`.
        path: PathBuf,
        /// The reason.
        source: Box<toml::de::Error>,
    },
    /// A workspace member has no package.
    #[error("{}: no [package] in it; members of a workspace need one", path.display())]
    NoPackage {
        /// The `Cargo.toml`.
        path: PathBuf,
    },
    /// A file is not Rust.
    #[error("{path}:{line}: not Rust that can be parsed: {source}")]
    Syntax {
        /// The file, from the checkout's root.
        path: String,
        /// The line at which parsing stopped.
        line: usize,
        /// The reason.
        source: syn::Error,
    },
    /// A file is no sequence of tokens.
    #[error("{path}:{line}: no Rust tokens: {source}")]
    Tokens {
        /// The file, from the checkout's root.
        path: String,
        /// The line at which reading stopped.
        line: usize,
        /// The reason.
        source: proc_macro2::LexError,
    },
}
