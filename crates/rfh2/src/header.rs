//! MQRFH2 header: the fixed part and the folders as a whole.

use crate::{ByteOrder, FolderCharset, FolderElement, Rfh2Error, limits, xml};

/// Bytes of the fixed part.
pub const FIXED_BYTES: usize = 36;
/// Format of a message, or of the part behind a header, that begins with an MQRFH2.
pub const MQHRF2: FormatName = *b"MQHRF2  ";

/// Format name, padded with blanks.
pub type FormatName = [u8; 8];

/// MQCCSI_INHERIT: the character set of the structure before.
const INHERIT: i32 = -2;

/// Description of bytes by the message's descriptor or the header before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentDescriptor {
    /// Encoding of numbers.
    pub encoding: i32,
    /// Character set.
    pub ccsid: i32,
    /// Format.
    pub format: FormatName,
}

/// MQRFH2 header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rfh2Header {
    /// Description of the bytes behind the header.
    pub next: ContentDescriptor,
    /// Flags, of which none is defined.
    pub flags: i32,
    /// Character set of the folders.
    pub folder_charset: FolderCharset,
    /// Folders.
    pub folders: Vec<FolderElement>,
}

/// Converts a character of a format's name, which is the same in every EBCDIC code page.
fn ascii(ebcdic: u8) -> u8 {
    match ebcdic {
        0x40 => b' ',
        0xc1..=0xc9 => ebcdic - 0xc1 + b'A',
        0xd1..=0xd9 => ebcdic - 0xd1 + b'J',
        0xe2..=0xe9 => ebcdic - 0xe2 + b'S',
        0x81..=0x89 => ebcdic - 0x81 + b'a',
        0x91..=0x99 => ebcdic - 0x91 + b'j',
        0xa2..=0xa9 => ebcdic - 0xa2 + b's',
        0xf0..=0xf9 => ebcdic - 0xf0 + b'0',
        0x4b => b'.',
        0x6d => b'_',
        0 => 0,
        _ => b'?',
    }
}

/// Reads all headers at the beginning of a message. Returns them, the description of the rest, and
/// its offset.
pub fn read_all(
    message: &[u8],
    mut contents: ContentDescriptor,
) -> Result<(Vec<Rfh2Header>, ContentDescriptor, usize), Rfh2Error> {
    let (mut headers, mut at) = (Vec::new(), 0);
    while contents.format == MQHRF2 {
        if headers.len() == limits::HEADERS_MAX {
            return Err(Rfh2Error::TooMany("16 headers one after another"));
        }
        let (header, length) = Rfh2Header::read(message.get(at..).unwrap_or_default(), contents)?;
        at += length;
        contents = header.next;
        headers.push(header);
    }
    Ok((headers, contents, at))
}

impl Rfh2Header {
    /// Reads the header that `bytes` begin with; returns it and its length.
    pub fn read(bytes: &[u8], contents: ContentDescriptor) -> Result<(Self, usize), Rfh2Error> {
        let endian = ByteOrder::from_encoding(contents.encoding)?;
        let short = |needed: usize| Rfh2Error::Short {
            needed,
            there: bytes.len(),
        };
        let fixed = bytes
            .first_chunk::<FIXED_BYTES>()
            .ok_or_else(|| short(FIXED_BYTES))?;
        let ebcdic = match &fixed[..4] {
            b"RFH " => false,
            b"\xd9\xc6\xc8\x40" => true,
            other => return Err(Rfh2Error::StrucId(other.escape_ascii().to_string())),
        };
        let number = |at| endian.read(fixed, at);
        let version = number(4)?;
        if version != 2 {
            return Err(Rfh2Error::Version(version));
        }
        let length = number(8)?;
        let whole = usize::try_from(length)
            .ok()
            .filter(|whole| *whole >= FIXED_BYTES)
            .ok_or(Rfh2Error::StrucLength(length))?;
        let header = bytes.get(..whole).ok_or_else(|| short(whole))?;
        let ccsid = match number(16)? {
            INHERIT => contents.ccsid,
            own => own,
        };
        let mut format = FormatName::default();
        format.copy_from_slice(&fixed[20..28]);
        if ebcdic {
            format = format.map(ascii);
        }
        let next = ContentDescriptor {
            encoding: number(12)?,
            ccsid,
            format,
        };
        let folder_ccsid = number(32)?;
        let mut header_read = Rfh2Header {
            next,
            flags: number(28)?,
            // A header without folders may have any character set.
            folder_charset: match FolderCharset::from_ccsid(folder_ccsid) {
                Some(known) => known,
                None if whole == FIXED_BYTES => FolderCharset::default(),
                None => return Err(Rfh2Error::NameValueCcsid(folder_ccsid)),
            },
            folders: Vec::new(),
        };
        let mut at = FIXED_BYTES;
        for count in 0.. {
            if at == whole {
                break;
            }
            if count == limits::FOLDERS_MAX {
                return Err(Rfh2Error::TooMany("64 folders in a header"));
            }
            at = header_read.read_folder(header, at, endian)?;
        }
        Ok((header_read, whole))
    }

    /// Reads the folder whose length is at `at`; returns it and its end.
    fn read_folder(
        &mut self,
        header: &[u8],
        at: usize,
        endian: ByteOrder,
    ) -> Result<usize, Rfh2Error> {
        let length = endian.read(header, at)?;
        let from = at + 4;
        let left = header.len() - from;
        let to = usize::try_from(length)
            .ok()
            .filter(|length| *length <= left)
            .map(|length| from + length)
            .ok_or(Rfh2Error::FolderLength { at, length, left })?;
        if to - from > limits::FOLDER_BYTES_MAX {
            return Err(Rfh2Error::TooLong(to - from));
        }
        let charset = self.folder_charset;
        let text = charset.decode(&header[from..to], endian, from)?;
        self.folders.extend(xml::read(&text)?);
        Ok(to)
    }

    /// Writes the header, with numbers, and folders in UTF-16, in this byte order.
    pub fn write(&self, endian: ByteOrder) -> Result<Vec<u8>, Rfh2Error> {
        let mut folders = Vec::new();
        for folder in &self.folders {
            let mut text = String::new();
            xml::write(folder, &mut text)?;
            let mut bytes = self.folder_charset.encode(&text, endian);
            while !bytes.len().is_multiple_of(4) {
                bytes.extend(self.folder_charset.encode(" ", endian));
            }
            if bytes.len() > limits::FOLDER_BYTES_MAX {
                return Err(Rfh2Error::TooLong(bytes.len()));
            }
            let length = i32::try_from(bytes.len()).map_err(|_| Rfh2Error::TooLong(bytes.len()))?;
            endian.write(length, &mut folders);
            folders.extend(bytes);
        }
        if self.folders.len() > limits::FOLDERS_MAX {
            return Err(Rfh2Error::TooMany("64 folders in a header"));
        }
        let whole = i32::try_from(FIXED_BYTES + folders.len())
            .map_err(|_| Rfh2Error::TooLong(folders.len()))?;
        let mut bytes = Vec::with_capacity(FIXED_BYTES + folders.len());
        bytes.extend(b"RFH ");
        for number in [2, whole, self.next.encoding, self.next.ccsid] {
            endian.write(number, &mut bytes);
        }
        bytes.extend(self.next.format);
        endian.write(self.flags, &mut bytes);
        endian.write(self.folder_charset.ccsid(), &mut bytes);
        bytes.extend(folders);
        Ok(bytes)
    }
}
