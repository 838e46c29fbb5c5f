//! EBCDIC: the Latin-1 code pages of mainframes, and the same with the euro sign.
//!
//! Each page has the 256 characters of Latin-1, in another order: the order of code page 37 is
//! listed here in full, those of the others as the differences from it. From 1140 on a page is an
//! older one whose currency sign became the euro's.
//!
//! The tables are those of glibc's iconv and of Python, where it has them, but for four pages in
//! which glibc has RFC 1345's readings: the overline in 273 and 285 (here a macron, as in 1141 and
//! 1146), and two characters each in 278 and 871, which are the other way round in 1143 and 1149,
//! and in IBM's own table of 278 (which ICU has).
//!
//! A line ends with NL (0x15) there as often as with LF (0x25). Both are read as `\n`, as IBM MQ
//! converts them by default, and `\n` is written as LF.

/// Code page 37, as characters of Latin-1.
#[rustfmt::skip]
const CP_37: [u8; 256] = [
    0x00, 0x01, 0x02, 0x03, 0x9c, 0x09, 0x86, 0x7f, 0x97, 0x8d, 0x8e, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
    0x10, 0x11, 0x12, 0x13, 0x9d, 0x85, 0x08, 0x87, 0x18, 0x19, 0x92, 0x8f, 0x1c, 0x1d, 0x1e, 0x1f,
    0x80, 0x81, 0x82, 0x83, 0x84, 0x0a, 0x17, 0x1b, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x05, 0x06, 0x07,
    0x90, 0x91, 0x16, 0x93, 0x94, 0x95, 0x96, 0x04, 0x98, 0x99, 0x9a, 0x9b, 0x14, 0x15, 0x9e, 0x1a,
    0x20, 0xa0, 0xe2, 0xe4, 0xe0, 0xe1, 0xe3, 0xe5, 0xe7, 0xf1, 0xa2, 0x2e, 0x3c, 0x28, 0x2b, 0x7c,
    0x26, 0xe9, 0xea, 0xeb, 0xe8, 0xed, 0xee, 0xef, 0xec, 0xdf, 0x21, 0x24, 0x2a, 0x29, 0x3b, 0xac,
    0x2d, 0x2f, 0xc2, 0xc4, 0xc0, 0xc1, 0xc3, 0xc5, 0xc7, 0xd1, 0xa6, 0x2c, 0x25, 0x5f, 0x3e, 0x3f,
    0xf8, 0xc9, 0xca, 0xcb, 0xc8, 0xcd, 0xce, 0xcf, 0xcc, 0x60, 0x3a, 0x23, 0x40, 0x27, 0x3d, 0x22,
    0xd8, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0xab, 0xbb, 0xf0, 0xfd, 0xfe, 0xb1,
    0xb0, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f, 0x70, 0x71, 0x72, 0xaa, 0xba, 0xe6, 0xb8, 0xc6, 0xa4,
    0xb5, 0x7e, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0xa1, 0xbf, 0xd0, 0xdd, 0xde, 0xae,
    0x5e, 0xa3, 0xa5, 0xb7, 0xa9, 0xa7, 0xb6, 0xbc, 0xbd, 0xbe, 0x5b, 0x5d, 0xaf, 0xa8, 0xb4, 0xd7,
    0x7b, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0xad, 0xf4, 0xf6, 0xf2, 0xf3, 0xf5,
    0x7d, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f, 0x50, 0x51, 0x52, 0xb9, 0xfb, 0xfc, 0xf9, 0xfa, 0xff,
    0x5c, 0xf7, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0xb2, 0xd4, 0xd6, 0xd2, 0xd3, 0xd5,
    0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0xb3, 0xdb, 0xdc, 0xd9, 0xda, 0x9f,
];

/// Other pages: the bytes that differ from 37, and their characters.
const OTHERS: [(i32, &[u8], &str); 10] = [
    (
        273,
        b"\x43\x4a\x4f\x59\x5a\x5f\x63\x6a\x7c\xa1\xb0\xb5\xba\xbb\xc0\xcc\xd0\xdc\xe0\xec\xfc",
        "{Ä!~Ü^[ö§ß¢@¬|ä¦ü}Ö\\]",
    ),
    (
        277,
        b"\x47\x4a\x4f\x5a\x5b\x5f\x67\x6a\x70\x7b\x7c\x80\x9c\x9e\x9f\xa1\xb0\xba\xbb\xc0\xd0\xdc",
        "}#!¤Å^$ø¦ÆØ@{[]ü¢¬|æå~",
    ),
    (
        278,
        b"\x43\x47\x4a\x4f\x51\x5a\x5b\x5f\x63\x67\x6a\x71\x79\x7b\x7c\x9f\xa1\xb0\xb5\xba\xbb\xc0\xcc\xd0\xdc\xe0\xec",
        "{}§!`¤Å^#$ö\\éÄÖ]ü¢[¬|ä¦å~É@",
    ),
    (
        280,
        b"\x44\x48\x4a\x4f\x51\x54\x58\x5a\x5f\x6a\x79\x7b\x7c\x90\xa1\xb0\xb1\xb5\xba\xbb\xc0\xcd\xd0\xdd\xe0",
        "{\\°!]}~é^òù£§[ì¢#@¬|à¦è`ç",
    ),
    (
        284,
        b"\x49\x4a\x5a\x69\x6a\x7b\xa1\xb0\xba\xbb\xbd",
        "¦[]#ñÑ¨¢^!~",
    ),
    (
        285,
        b"\x4a\x5b\xa1\xb0\xb1\xba\xbc",
        "$£¯¢[^~",
    ),
    (
        297,
        b"\x44\x48\x4a\x4f\x51\x54\x5a\x5f\x6a\x79\x7b\x7c\x90\xa0\xa1\xb0\xb1\xb5\xba\xbb\xbd\xc0\xd0\xdd\xe0",
        "@\\°!{}§^ùµ£à[`¨¢#]¬|~éè¦ç",
    ),
    (
        500,
        b"\x4a\x4f\x5a\x5f\xb0\xba\xbb",
        "[!]^¢¬|",
    ),
    (
        871,
        b"\x4a\x4f\x5a\x5f\x79\x7c\x8c\x8e\x9c\x9e\xa1\xac\xae\xb0\xba\xbb\xbe\xc0\xcc\xd0\xe0\xec",
        "Þ!ÆÖðÐ`{}]ö@[¢¬|\\þ~æ´^",
    ),
    (
        1047,
        b"\x5f\xad\xb0\xba\xbb\xbd",
        "^[¬Ý¨]",
    ),
];

/// Pages with a euro sign, and the older pages that they come from.
const EURO: [(i32, i32); 10] = [
    (1140, 37),
    (1141, 273),
    (1142, 277),
    (1143, 278),
    (1144, 280),
    (1145, 284),
    (1146, 285),
    (1147, 297),
    (1148, 500),
    (1149, 871),
];

const NL: usize = 0x15;
/// Macron of Latin-1, which others read as an overline.
const MACRON: u8 = 0xaf;

/// Returns the characters of a page, if it is one of these.
fn page(ccsid: i32) -> Option<[char; 256]> {
    let older = EURO.iter().find(|(page, _)| *page == ccsid);
    let latin = older.map_or(ccsid, |(_, older)| *older);
    let mut characters = CP_37.map(char::from);
    if latin != 37 {
        let (_, bytes, others) = OTHERS.iter().find(|(page, ..)| *page == latin)?;
        for (byte, other) in bytes.iter().zip(others.chars()) {
            characters[usize::from(*byte)] = other;
        }
    }
    if older.is_some() {
        let euro = |it: char| if it == '\u{a4}' { '€' } else { it };
        characters = characters.map(euro);
    }
    Some(characters)
}

/// Decodes a text of one of these pages; `None` where it is another one.
pub(super) fn decode(bytes: &[u8], ccsid: i32) -> Option<String> {
    let mut characters = page(ccsid)?;
    characters[NL] = '\n';
    Some(
        bytes
            .iter()
            .map(|byte| characters[usize::from(*byte)])
            .collect(),
    )
}

/// Encodes a text in one of these pages, or returns the first character that the page lacks; `None`
/// where it is another one.
pub(super) fn encode(text: &str, ccsid: i32) -> Option<Result<Vec<u8>, char>> {
    let characters = page(ccsid)?;
    // By character; the euro sign alone is not of Latin-1.
    let (mut bytes, mut euro) = ([None; 256], None);
    for (byte, character) in (0..=u8::MAX).zip(characters) {
        match u8::try_from(character) {
            Ok(latin) => bytes[usize::from(latin)] = Some(byte),
            Err(_) => euro = Some(byte),
        }
    }
    let byte = |wanted: char| match u8::try_from(wanted) {
        Ok(latin) => bytes[usize::from(latin)].ok_or(wanted),
        Err(_) if wanted == '‾' => bytes[usize::from(MACRON)].ok_or(wanted),
        Err(_) => euro.filter(|_| wanted == '€').ok_or(wanted),
    };
    Some(text.chars().map(byte).collect())
}

#[cfg(test)]
mod tests;
