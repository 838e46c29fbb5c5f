//! Conversion of texts in MQ's character sets (CCSIDs).

use quorate_rfh2::{ByteOrder, ENCODING_NATIVE, Rfh2Error};

use super::ebcdic;

/// Upper half of code page 437.
const CP_437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
/// Windows-1252 from 0x80 to 0x9f; what has no character there stays a control character.
const CP_1252: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";

/// Returns true if texts of this character set can be read here.
pub(super) fn is_known(ccsid: i32) -> bool {
    decode(&[], ccsid, ENCODING_NATIVE).is_some()
}

/// Decodes a text of this character set; `None` where the set isn't known or the bytes are not of
/// it.
pub(super) fn decode(bytes: &[u8], ccsid: i32, encoding: i32) -> Option<String> {
    match ccsid {
        1208 => std::str::from_utf8(bytes).ok().map(str::to_owned),
        367 => bytes
            .is_ascii()
            .then(|| bytes.iter().map(|it| char::from(*it)).collect()),
        819 => Some(bytes.iter().map(|it| char::from(*it)).collect()),
        437 => Some(bytes.iter().map(|it| above(*it, 0x80, CP_437)).collect()),
        1252 | 5348 => Some(bytes.iter().map(|it| above(*it, 0x80, CP_1252)).collect()),
        1200 | 13488 | 17584 => utf_16(bytes, encoding),
        other => ebcdic::decode(bytes, other),
    }
}

/// Text that can't be encoded in a character set.
#[derive(Debug, thiserror::Error)]
pub(super) enum EncodeError {
    #[error(
        "the character set {ccsid} has no {character:?} (U+{:04X})",
        u32::from(*.character)
    )]
    Lacks { ccsid: i32, character: char },
    #[error("the character set {0} is not known")]
    UnknownCharset(i32),
    #[error(transparent)]
    ByteOrder(#[from] Rfh2Error),
}

/// Encodes a text in this character set, with numbers in this encoding; an error names what of the
/// text the set lacks.
pub(super) fn encode(text: &str, ccsid: i32, encoding: i32) -> Result<Vec<u8>, EncodeError> {
    let lacks = |character: char| EncodeError::Lacks { ccsid, character };
    let each = |byte: &dyn Fn(char) -> Option<u8>| {
        let bytes = text.chars().map(|it| byte(it).ok_or(it));
        bytes.collect::<Result<Vec<u8>, char>>().map_err(lacks)
    };
    match ccsid {
        1208 => Ok(text.as_bytes().to_vec()),
        367 => each(&|it| u8::try_from(it).ok().filter(u8::is_ascii)),
        819 => each(&|it| u8::try_from(it).ok()),
        437 => each(&|it| below(it, 0x80, CP_437)),
        1252 | 5348 => each(&|it| below(it, 0x80, CP_1252)),
        1200 | 13488 | 17584 => {
            let number = match ByteOrder::from_encoding(encoding)? {
                ByteOrder::Big => u16::to_be_bytes,
                ByteOrder::Little => u16::to_le_bytes,
            };
            Ok(text.encode_utf16().flat_map(number).collect())
        }
        other => match ebcdic::encode(text, other) {
            Some(encoded) => encoded.map_err(lacks),
            None => Err(EncodeError::UnknownCharset(ccsid)),
        },
    }
}

/// Returns the byte of a character in a set whose other bytes from `first` on are in this table.
fn below(character: char, first: u8, table: &str) -> Option<u8> {
    let own = u8::try_from(character).ok();
    if own.is_some_and(|own| own < first) {
        return own;
    }
    let replaced = table.chars().count() + usize::from(first);
    match table.chars().position(|it| it == character) {
        Some(at) => u8::try_from(at).ok()?.checked_add(first),
        None => own.filter(|own| usize::from(*own) >= replaced),
    }
}

fn above(byte: u8, first: u8, table: &str) -> char {
    byte.checked_sub(first)
        .and_then(|nth| table.chars().nth(usize::from(nth)))
        .unwrap_or(char::from(byte))
}

fn utf_16(bytes: &[u8], encoding: i32) -> Option<String> {
    let number = match ByteOrder::from_encoding(encoding).ok()? {
        ByteOrder::Big => u16::from_be_bytes,
        ByteOrder::Little => u16::from_le_bytes,
    };
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| number(*pair));
    let text: Option<String> = char::decode_utf16(units).map(Result::ok).collect();
    text.filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_in_known_charsets_only_are_decoded() {
        let read = |bytes: &[u8], ccsid| decode(bytes, ccsid, 0x111);
        assert_eq!(read("Grüße".as_bytes(), 1208).as_deref(), Some("Grüße"));
        assert_eq!(read(b"Gr\xfc\xdfe", 819).as_deref(), Some("Grüße"));
        assert_eq!(
            read(b"Gr\x81\xe1e \xff", 437).as_deref(),
            Some("Grüße \u{a0}")
        );
        assert_eq!(read(b"1 \x80 \x9f \xfc", 1252).as_deref(), Some("1 € Ÿ ü"));
        assert_eq!(read(b"\0G\0\xfc", 1200).as_deref(), Some("Gü"));
        assert_eq!(decode(b"G\0\xfc\0", 1200, 0x222).as_deref(), Some("Gü"));
        for (bytes, ccsid) in [
            (&b"\xff"[..], 1208),
            (b"\xff", 367),
            (b"\0", 1200),
            (b"\xd8\0", 1200),
            (b"\xc8", 930),
            (b"a", 0),
        ] {
            assert_eq!(read(bytes, ccsid), None, "{ccsid}");
        }
        for other in [930, 939, 1399, 0, -2, 65535] {
            assert!(!is_known(other), "{other}");
        }
        assert_eq!((CP_437.chars().count(), CP_1252.chars().count()), (128, 32));
    }

    #[test]
    fn texts_are_encoded_in_every_allowed_charset() {
        for ccsid in quorate_resources::CCSIDS {
            let ccsid = i32::from(ccsid);
            assert!(is_known(ccsid), "{ccsid}");
            let text = if ccsid == 367 { "Gruss 1" } else { "Grüße 1" };
            let bytes = encode(text, ccsid, 0x222).unwrap();
            assert_eq!(
                decode(&bytes, ccsid, 0x222).as_deref(),
                Some(text),
                "{ccsid}"
            );
        }
        assert_eq!(encode("€ ÿ", 1252, 0x111).unwrap(), b"\x80 \xff");
        assert_eq!(encode("ü", 1200, 0x111).unwrap(), b"\0\xfc");
        for (text, ccsid) in [
            ("ł", 500),
            ("€", 819),
            ("ü", 367),
            ("\u{80}", 1252),
            ("é", 930),
        ] {
            let error = encode(text, ccsid, 0x111).unwrap_err().to_string();
            assert!(error.contains(&ccsid.to_string()), "{error}");
        }
    }
}
