//! Texts in MQ's character sets (CCSIDs).

use quorate_rfh2::Endian;

/// The upper half of code page 437.
const CP_437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
/// Windows-1252 from 0x80 to 0x9f; what has no character there stays a control character.
const CP_1252: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";

/// A text of this character set; `None` where it isn't known or the bytes are none of it.
pub fn decode(bytes: &[u8], ccsid: i32, encoding: i32) -> Option<String> {
    match ccsid {
        1208 => std::str::from_utf8(bytes).ok().map(str::to_owned),
        367 => bytes
            .is_ascii()
            .then(|| bytes.iter().map(|it| char::from(*it)).collect()),
        819 => Some(bytes.iter().map(|it| char::from(*it)).collect()),
        437 => Some(bytes.iter().map(|it| above(*it, 0x80, CP_437)).collect()),
        1252 | 5348 => Some(bytes.iter().map(|it| above(*it, 0x80, CP_1252)).collect()),
        1200 | 13488 | 17584 => utf_16(bytes, encoding),
        _ => None,
    }
}

fn above(byte: u8, first: u8, table: &str) -> char {
    byte.checked_sub(first)
        .and_then(|nth| table.chars().nth(usize::from(nth)))
        .unwrap_or(char::from(byte))
}

fn utf_16(bytes: &[u8], encoding: i32) -> Option<String> {
    let number = match Endian::of(encoding).ok()? {
        Endian::Big => u16::from_be_bytes,
        Endian::Little => u16::from_le_bytes,
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
    fn texts_in_known_sets_are_read_and_others_are_not() {
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
            (b"\xc8", 500),
            (b"a", 0),
        ] {
            assert_eq!(read(bytes, ccsid), None, "{ccsid}");
        }
        assert_eq!((CP_437.chars().count(), CP_1252.chars().count()), (128, 32));
    }
}
