//! NameValueCCSID: the character set of a header's folders.

use std::borrow::Cow;

use crate::{ByteOrder, Rfh2Error};

/// Byte order mark that some programs write at the beginning of UTF-16; no part of the text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Character set of folders, one of the four that MQ has.
///
/// Numbers and texts of a header are in the same byte order. IBM leaves characters beyond U+FFFF
/// out of all four; they are read and written here as UTF-16 and UTF-8 have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FolderCharset {
    /// 1208: UTF-8.
    #[default]
    Utf8,
    /// 1200: UTF-16.
    Utf16,
    /// 13488: UTF-16 with the characters of Unicode 2.0.
    Utf16Unicode2,
    /// 17584: UTF-16 with the characters of Unicode 3.0.
    Utf16Unicode3,
}

impl FolderCharset {
    /// All character sets.
    pub const ALL: [FolderCharset; 4] = [
        FolderCharset::Utf8,
        FolderCharset::Utf16,
        FolderCharset::Utf16Unicode2,
        FolderCharset::Utf16Unicode3,
    ];

    /// Returns the character set of this number.
    pub fn from_ccsid(ccsid: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.ccsid() == ccsid)
    }

    /// Returns the number of the character set.
    pub fn ccsid(self) -> i32 {
        match self {
            FolderCharset::Utf8 => 1208,
            FolderCharset::Utf16 => 1200,
            FolderCharset::Utf16Unicode2 => 13488,
            FolderCharset::Utf16Unicode3 => 17584,
        }
    }

    /// Decodes the text of the folder at `at`.
    pub(crate) fn decode(
        self,
        bytes: &[u8],
        endian: ByteOrder,
        at: usize,
    ) -> Result<Cow<'_, str>, Rfh2Error> {
        if self == FolderCharset::Utf8 {
            let text = std::str::from_utf8(bytes).map_err(|_| Rfh2Error::Utf8(at))?;
            return Ok(Cow::Borrowed(text));
        }
        let unit = match endian {
            ByteOrder::Big => u16::from_be_bytes,
            ByteOrder::Little => u16::from_le_bytes,
        };
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units = pairs.iter().map(|pair| unit(*pair));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        let text = text.ok().filter(|_| rest.is_empty());
        let text = text.ok_or(Rfh2Error::Utf16(at))?;
        Ok(Cow::Owned(match text.strip_prefix(BYTE_ORDER_MARK) {
            Some(text) => text.to_owned(),
            None => text,
        }))
    }

    /// Encodes the text of a folder.
    pub(crate) fn encode(self, text: &str, endian: ByteOrder) -> Vec<u8> {
        let unit = match (self, endian) {
            (FolderCharset::Utf8, _) => return text.as_bytes().to_vec(),
            (_, ByteOrder::Big) => u16::to_be_bytes,
            (_, ByteOrder::Little) => u16::to_le_bytes,
        };
        text.encode_utf16().flat_map(unit).collect()
    }
}
