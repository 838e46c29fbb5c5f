//! Errors of reading bytes as a header, and of writing values as one.

use thiserror::Error;

use crate::limits;

/// Error in a header, and its place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rfh2Error {
    /// The message ends too early.
    #[error("the MQRFH2 needs {needed} bytes, but only {there} are there")]
    Short {
        /// Bytes that the header needs.
        needed: usize,
        /// Bytes that are there.
        there: usize,
    },
    /// The descriptor's encoding names no order of bytes.
    #[error(
        "the encoding {0} has no known order of bytes for integers: its last hexadecimal digit must be 1 (big endian) or 2 (little endian)"
    )]
    Encoding(i32),
    /// The structure is another one.
    #[error("the structure id is {0:?}, not \"RFH \"")]
    StrucId(String),
    /// The version is another one, or the byte order is.
    #[error("the version is {0}, not 2: is the encoding in the message descriptor right?")]
    Version(i32),
    /// The length covers less than the fixed part.
    #[error("the structure's length is {0}; the fixed part alone has 36 bytes")]
    StrucLength(i32),
    /// The folders are in an unknown character set.
    #[error(
        "the folders are in the character set {0}; 1208 (UTF-8) and 1200, 13488 and 17584 (UTF-16) are read"
    )]
    NameValueCcsid(i32),
    /// A folder's length is negative or goes past the header's end.
    #[error("the folder at byte {at} says that it is {length} bytes long; {left} are left")]
    FolderLength {
        /// Offset of the length.
        at: usize,
        /// Length that it gives.
        length: i32,
        /// Bytes of the header that follow it.
        left: usize,
    },
    /// The header has more of something than is read.
    #[error("there are more than {0}")]
    TooMany(&'static str),
    /// A folder is too long.
    #[error("a folder has {0} bytes; at most {max} are read", max = limits::FOLDER_BYTES_MAX)]
    TooLong(usize),
    /// A folder is no UTF-8.
    #[error("the folder at byte {0} is not valid UTF-8")]
    Utf8(usize),
    /// A folder is no UTF-16 in the order of bytes of its header.
    #[error("the folder at byte {0} is not valid UTF-16")]
    Utf16(usize),
    /// A folder is not of the XML that folders are made of.
    #[error("at byte {at} of the folder {folder:?}: {what}")]
    Xml {
        /// Beginning of the folder.
        folder: String,
        /// Offset in the folder.
        at: usize,
        /// Error at that place.
        what: &'static str,
    },
    /// A value is not of the type that it claims.
    #[error("{name} = {text:?} is not of the type {kind:?}")]
    Typed {
        /// Name of the property.
        name: String,
        /// Type that it claims.
        kind: String,
        /// Value.
        text: String,
    },
    /// A name is none that an element can have.
    #[error(
        "{0:?} can't be the name of a JMS property: it must begin with a letter or _ and have only letters, digits and _"
    )]
    Name(String),
    /// A text can't be in XML.
    #[error("the value of {0} has a character that XML can't carry")]
    Character(String),
}
