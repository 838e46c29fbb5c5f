//! MQ's encodings, as far as whole numbers go.

use crate::Error;

/// Big endian integers and decimals, IEEE floats: MQENC_NATIVE of most large machines.
pub const BIG: i32 = 0x111;
/// The same in little endian.
pub const LITTLE: i32 = 0x222;
/// As this machine writes them. (IBM's x86-64 Linux headers say 0x222 too.)
pub const NATIVE: i32 = if cfg!(target_endian = "big") {
    BIG
} else {
    LITTLE
};

/// The order of the bytes of a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endian {
    /// The first byte is the largest.
    Big,
    /// The first byte is the smallest.
    Little,
}

impl Endian {
    /// As an encoding says.
    pub fn of(encoding: i32) -> Result<Self, Error> {
        match encoding & 0xF {
            1 => Ok(Endian::Big),
            2 => Ok(Endian::Little),
            _ => Err(Error::Encoding(encoding)),
        }
    }

    /// Reads one at `at`.
    pub(crate) fn read(self, bytes: &[u8], at: usize) -> Result<i32, Error> {
        let short = || Error::Short {
            needed: at.saturating_add(4),
            there: bytes.len(),
        };
        let four = bytes
            .get(at..)
            .and_then(|rest| rest.first_chunk::<4>())
            .ok_or_else(short)?;
        Ok(match self {
            Endian::Big => i32::from_be_bytes(*four),
            Endian::Little => i32::from_le_bytes(*four),
        })
    }

    /// Writes one.
    pub(crate) fn write(self, number: i32, to: &mut Vec<u8>) {
        to.extend(match self {
            Endian::Big => number.to_be_bytes(),
            Endian::Little => number.to_le_bytes(),
        });
    }
}
