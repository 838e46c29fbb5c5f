//! Error of a message's HTTP form: the part that can't be read.

use http::HeaderName;

/// Part of a message that can't be read; its text completes "the request has ...".
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Item of the list of types that has no type.
    #[error("{0:?} in its quorate-headers-typed, where NAME=TYPE such as x-delay=long is wanted")]
    NotTyped(String),
    /// Name of a header of the message's own.
    #[error("a header named {0}, which is no percent-encoded UTF-8")]
    BadHeaderName(String),
    /// List with other characters.
    #[error("a {0} that is not ASCII")]
    NotAscii(HeaderName),
    /// Value in the query that is too long.
    #[error("a value of {bytes} bytes for {name} in its query; at most {most} are allowed")]
    LongValue {
        /// Name of the value.
        name: String,
        /// Length of the value.
        bytes: usize,
        /// Longest value, in bytes.
        most: usize,
    },
    /// Message id that is too long.
    #[error("a message id of {bytes} bytes; at most {most} are allowed")]
    LongId {
        /// Length of the id.
        bytes: usize,
        /// Longest id, in bytes.
        most: usize,
    },
    /// Property with two values.
    #[error("the property {0} twice")]
    Twice(String),
    /// Header whose value is no text.
    #[error("a {0} that is no UTF-8")]
    NotUtf8(String),
}
