//! MQGMO_CONVERT: what is converted here, and what is said of the rest.
//!
//! Texts (MQSTR) are, and MQRFH2 headers with what follows them. Whatever else would have to
//! be is given as it is, with a warning, as a queue manager gives what it has no table for.
//! A message is converted whole or not at all; IBM's queue manager may leave it at parts.

mod charset;
mod header;

use libmqm_sys as mq;

use crate::{
    descriptor::{CCSID, ENCODING, FORMAT, field, set_field},
    shared::CCSID as OWN,
    wire::Reason,
};

/// How texts and numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    ccsid: i32,
    encoding: i32,
}

impl Form {
    fn from_descriptor(descriptor: &[u8]) -> Form {
        Form {
            ccsid: field(descriptor, CCSID),
            encoding: field(descriptor, ENCODING),
        }
    }

    fn is_big(self) -> bool {
        self.encoding & 0xf == 1
    }
}

/// Converts a message to the character set and encoding of the caller's descriptor, if there
/// is room for it then; an error is the reason of the warning that it is not converted.
pub(crate) fn convert(
    wanted: &[u8],
    descriptor: &mut [u8],
    message: &mut Vec<u8>,
    room: usize,
) -> Result<(), Reason> {
    let mut target = Form::from_descriptor(wanted);
    if target.ccsid == mq::MQCCSI_Q_MGR {
        target.ccsid = OWN;
    }
    let from = Form::from_descriptor(descriptor);
    if from == target {
        return Ok(());
    }
    let format = &descriptor[FORMAT..FORMAT + 8];
    if *format == NONE {
        return Err(mq::MQRC_FORMAT_ERROR);
    }
    let (converted, _) = part(format, message, from, target)?;
    if converted.len() > room {
        return Err(mq::MQRC_CONVERTED_MSG_TOO_BIG);
    }
    *message = converted;
    set_field(descriptor, CCSID, target.ccsid);
    set_field(descriptor, ENCODING, target.encoding);
    Ok(())
}

/// MQFMT_NONE.
const NONE: [u8; 8] = *b"        ";

/// Converts what is of this format; gives the form that it has then, too.
fn part(format: &[u8], bytes: &[u8], from: Form, to: Form) -> Result<(Vec<u8>, Form), Reason> {
    match format {
        b"MQSTR   " => Ok((charset::convert(bytes, from, to)?, to)),
        b"MQHRF2  " => Ok((header::convert(bytes, from, to)?, to)),
        // Behind a header; bytes stay what they are.
        _ if format == NONE => Ok((bytes.to_vec(), from)),
        _ => Err(mq::MQRC_NOT_CONVERTED),
    }
}
