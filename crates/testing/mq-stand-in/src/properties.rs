//! A message's properties, which travel in the MQRFH2 headers before its body.

use crate::descriptor::{CCSID, ENCODING, FORMAT, field, set_field};

/// Bytes of a header's fixed part.
pub(crate) const FIXED: usize = 36;
/// The folders that are properties to MQ; any other is part of the message.
const FOLDERS: [&[u8]; 5] = [b"<mcd", b"<jms", b"<usr", b"<mqext", b"<mqps"];

/// A message without its properties. Headers that hold something else as well stay.
pub(crate) fn without(descriptor: &[u8], message: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut descriptor, mut message) = (descriptor.to_vec(), message);
    while descriptor[FORMAT..FORMAT + 8] == *b"MQHRF2  " {
        let Some(length) = properties_only(&descriptor, message) else {
            break;
        };
        let big = big(&descriptor);
        set_field(&mut descriptor, ENCODING, number(message, 12, big));
        set_field(&mut descriptor, CCSID, number(message, 16, big));
        descriptor[FORMAT..FORMAT + 8].copy_from_slice(&message[20..28]);
        message = &message[length..];
    }
    (descriptor, message.to_vec())
}

fn big(descriptor: &[u8]) -> bool {
    field(descriptor, ENCODING) & 0xf == 1
}

/// The number at `at`, in this order of bytes; 0 where none is.
pub(crate) fn number(bytes: &[u8], at: usize, big: bool) -> i32 {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    let four = four.copied().unwrap_or_default();
    if big {
        i32::from_be_bytes(four)
    } else {
        i32::from_le_bytes(four)
    }
}

/// The length of the header that the message begins with, if it holds properties only.
fn properties_only(descriptor: &[u8], message: &[u8]) -> Option<usize> {
    let big = big(descriptor);
    if !message.starts_with(b"RFH ") || message.len() < FIXED || number(message, 4, big) != 2 {
        return None;
    }
    let length = usize::try_from(number(message, 8, big)).ok()?;
    let mut folders = message.get(FIXED..length)?;
    while !folders.is_empty() {
        let end = usize::try_from(number(folders, 0, big))
            .ok()?
            .checked_add(4)?;
        let folder = folders.get(4..end)?;
        if !FOLDERS.iter().any(|name| folder.starts_with(name)) {
            return None;
        }
        folders = &folders[end..];
    }
    Some(length)
}
