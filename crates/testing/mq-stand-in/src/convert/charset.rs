//! Texts from one character set to another.
//!
//! The tables are those of the program `iconv`, which Debian's and Ubuntu's C library brings
//! along: nobody here wrote them, and Quorate has its own, so that one is held against the
//! other.

use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
};

use libmqm_sys as mq;

use super::Form;
use crate::wire::Reason;

const UTF_8: i32 = 1208;
const LATIN_1: i32 = 819;
/// The code pages that are known beside Unicode and ISO 8859-1: those of PCs, those of
/// mainframes for one language, and those that mix characters of one and of two bytes.
const PAGES: [i32; 33] = [
    437, 850, 37, 273, 277, 278, 280, 284, 285, 297, 500, 871, 1047, 1140, 1141, 1142, 1143, 1144,
    1145, 1146, 1147, 1148, 1149, 930, 933, 935, 937, 939, 1364, 1371, 1388, 1390, 1399,
];
/// In a set that lacks a character, for that character.
const SUBSTITUTE: u8 = 0x1a;

/// Converts a text.
pub(super) fn convert(bytes: &[u8], from: Form, to: Form) -> Result<Vec<u8>, Reason> {
    let text = decode(bytes, from)?;
    encode(&text, to)
}

fn decode(bytes: &[u8], from: Form) -> Result<String, Reason> {
    let text = match from.ccsid {
        UTF_8 => String::from_utf8(bytes.to_vec()).ok(),
        LATIN_1 => Some(bytes.iter().copied().map(char::from).collect()),
        1200 | 13488 | 17584 => {
            let unit = if from.is_big() {
                u16::from_be_bytes
            } else {
                u16::from_le_bytes
            };
            let (pairs, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
            String::from_utf16(&units).ok().filter(|_| rest.is_empty())
        }
        page if PAGES.contains(&page) => {
            let text = iconv(&name(page), "UTF-8", bytes);
            // NL ends a line, as LF does, unless the queue manager is told otherwise.
            let text = text.and_then(|text| String::from_utf8(text).ok());
            text.map(|text| text.replace('\u{85}', "\n"))
        }
        _ => return Err(mq::MQRC_SOURCE_CCSID_ERROR),
    };
    text.ok_or(mq::MQRC_NOT_CONVERTED)
}

fn encode(text: &str, to: Form) -> Result<Vec<u8>, Reason> {
    match to.ccsid {
        UTF_8 => Ok(text.as_bytes().to_vec()),
        LATIN_1 => Ok(text
            .chars()
            .map(|it| u8::try_from(it).unwrap_or(SUBSTITUTE))
            .collect()),
        1200 | 13488 | 17584 => {
            let unit = if to.is_big() {
                u16::to_be_bytes
            } else {
                u16::to_le_bytes
            };
            Ok(text.encode_utf16().flat_map(unit).collect())
        }
        page if PAGES.contains(&page) => {
            let name = format!("{}//TRANSLIT", name(page));
            iconv("UTF-8", &name, text.as_bytes()).ok_or(mq::MQRC_NOT_CONVERTED)
        }
        _ => Err(mq::MQRC_TARGET_CCSID_ERROR),
    }
}

/// What `iconv` calls a code page.
fn name(page: i32) -> String {
    format!("IBM{page:03}")
}

fn iconv(from: &str, to: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new("iconv")
        .args(["-f", from, "-t", to])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take()?;
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            // It ends early where it finds what is no text.
            let _ = input.write_all(bytes);
        });
        child.wait_with_output()
    });
    output
        .ok()
        .filter(|it| it.status.success())
        .map(|it| it.stdout)
}
