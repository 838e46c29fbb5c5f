//! MQRFH2, the header that carries JMS messages through IBM MQ: bytes to values and back.
//!
//! A message whose descriptor (or whose header before) has the format `MQHRF2` begins with a fixed
//! part of 36 bytes, followed by *folders*: a length, then that many bytes of a small subset of
//! XML. JMS uses three of them: `mcd` has the class of the body, `jms` the fields of JMS that the
//! descriptor has not, and `usr` the sender's own properties with their types.
//!
//! ```text
//! offset  0  StrucId          "RFH "
//!         4  Version          2
//!         8  StrucLength      of the fixed part and all folders
//!        12  Encoding         how numbers are written in what follows the header
//!        16  CodedCharSetId   in which character set that is
//!        20  Format           8 characters: what that is
//!        28  Flags
//!        32  NameValueCCSID   the character set of the folders: UTF-8 or UTF-16
//!        36  NameValueLength  of the first folder, padded with blanks to a multiple of 4
//!        40  NameValueData    <mcd><Msd>jms_text</Msd></mcd>
//! ```
//!
//! The numbers of the header itself are in the encoding that the descriptor (or the header before)
//! gives, its two names in ASCII or, from a mainframe, in EBCDIC. Reading accepts any bytes: it
//! returns values or the reason why there are none, within the bounds of [`limits`], and never
//! panics.
#![forbid(unsafe_code)]
#![warn(unreachable_pub)]

mod byte_order;
mod error;
mod folder_charset;
mod folder_element;
mod header;
mod jms;
pub mod limits;
mod property_value;
mod xml;

pub use byte_order::{ByteOrder, ENCODING_BIG, ENCODING_LITTLE, ENCODING_NATIVE};
pub use error::Rfh2Error;
pub use folder_charset::FolderCharset;
pub use folder_element::FolderElement;
pub use header::{ContentDescriptor, FIXED_BYTES, FormatName, MQHRF2, Rfh2Header, read_all};
pub use jms::{JmsFolders, JmsMessageClass};
pub use property_value::PropertyValue;
