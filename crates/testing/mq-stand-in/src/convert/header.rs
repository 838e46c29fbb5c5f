//! MQRFH2 headers: their numbers, their names, and what follows them. Folders keep their
//! character set, and in UTF-16 get the order of bytes that the numbers get.

use libmqm_sys as mq;

use super::{Form, charset, part};
use crate::{
    properties::{FIXED, number},
    wire::Reason,
};

/// MQCCSI_INHERIT: the character set of the header itself.
const INHERIT: i32 = -2;
const FORMAT: std::ops::Range<usize> = 20..28;

/// Converts a header and all behind it.
pub(super) fn convert(bytes: &[u8], from: Form, to: Form) -> Result<Vec<u8>, Reason> {
    let read = |at| number(bytes, at, from.is_big());
    let length = usize::try_from(read(8)).unwrap_or(0);
    if length < FIXED || bytes.len() < length {
        return Err(mq::MQRC_RFH_ERROR);
    }
    let ascii = Form {
        ccsid: 1208,
        encoding: to.encoding,
    };
    let format = charset::convert(&bytes[FORMAT], from, ascii)?;
    let inner = Form {
        encoding: read(12),
        ccsid: match read(16) {
            INHERIT => from.ccsid,
            own => own,
        },
    };
    let (rest, inner) = part(&format, &bytes[length..], inner, to)?;
    let mut header = same_length(&bytes[..4], from, to)?;
    for number in [read(4), read(8), inner.encoding, inner.ccsid] {
        write(number, to, &mut header);
    }
    header.extend(same_length(&bytes[FORMAT], from, to)?);
    for at in [28, 32] {
        write(read(at), to, &mut header);
    }
    folders(&bytes[FIXED..length], read(32), from, to, &mut header)?;
    header.extend(rest);
    Ok(header)
}

/// A name, which must have as many bytes as before: sets of two bytes are none for headers.
fn same_length(bytes: &[u8], from: Form, to: Form) -> Result<Vec<u8>, Reason> {
    let converted = charset::convert(bytes, from, to)?;
    if converted.len() == bytes.len() {
        Ok(converted)
    } else {
        Err(mq::MQRC_TARGET_CCSID_ERROR)
    }
}

fn folders(
    mut folders: &[u8],
    ccsid: i32,
    from: Form,
    to: Form,
    header: &mut Vec<u8>,
) -> Result<(), Reason> {
    while !folders.is_empty() {
        let length = number(folders, 0, from.is_big());
        let end = usize::try_from(length)
            .ok()
            .and_then(|it| it.checked_add(4));
        let folder = end.and_then(|end| folders.get(4..end));
        let folder = folder.ok_or(mq::MQRC_RFH_ERROR)?;
        write(length, to, header);
        match ccsid {
            1208 => header.extend(folder),
            1200 | 13488 | 17584 if from.is_big() == to.is_big() => header.extend(folder),
            1200 | 13488 | 17584 => {
                let (pairs, rest) = folder.as_chunks::<2>();
                header.extend(pairs.iter().flat_map(|[first, second]| [*second, *first]));
                header.extend(rest);
            }
            _ => return Err(mq::MQRC_SOURCE_CCSID_ERROR),
        }
        folders = &folders[4 + folder.len()..];
    }
    Ok(())
}

fn write(number: i32, form: Form, to: &mut Vec<u8>) {
    to.extend(if form.is_big() {
        number.to_be_bytes()
    } else {
        number.to_le_bytes()
    });
}
