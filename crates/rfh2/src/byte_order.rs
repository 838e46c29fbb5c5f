//! Byte order of whole numbers, by MQ's encodings.

use crate::Rfh2Error;

/// Big endian integers and decimals, IEEE floats: MQENC_NATIVE of most large machines.
pub const ENCODING_BIG: i32 = 0x111;
/// Little endian integers and decimals, IEEE floats.
pub const ENCODING_LITTLE: i32 = 0x222;
/// Encoding of this machine. (IBM's x86-64 Linux headers have 0x222 too.)
pub const ENCODING_NATIVE: i32 = if cfg!(target_endian = "big") {
    ENCODING_BIG
} else {
    ENCODING_LITTLE
};

/// Order of the bytes of a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Most significant byte first.
    Big,
    /// Least significant byte first.
    Little,
}

impl ByteOrder {
    /// Returns the byte order of an encoding.
    pub fn from_encoding(encoding: i32) -> Result<Self, Rfh2Error> {
        match encoding & 0xF {
            1 => Ok(ByteOrder::Big),
            2 => Ok(ByteOrder::Little),
            _ => Err(Rfh2Error::Encoding(encoding)),
        }
    }

    /// Reads a number at `at`.
    pub(crate) fn read(self, bytes: &[u8], at: usize) -> Result<i32, Rfh2Error> {
        let short = || Rfh2Error::Short {
            needed: at.saturating_add(4),
            there: bytes.len(),
        };
        let four = bytes
            .get(at..)
            .and_then(|rest| rest.first_chunk::<4>())
            .ok_or_else(short)?;
        Ok(match self {
            ByteOrder::Big => i32::from_be_bytes(*four),
            ByteOrder::Little => i32::from_le_bytes(*four),
        })
    }

    /// Writes a number.
    pub(crate) fn write(self, number: i32, to: &mut Vec<u8>) {
        to.extend(match self {
            ByteOrder::Big => number.to_be_bytes(),
            ByteOrder::Little => number.to_le_bytes(),
        });
    }
}
