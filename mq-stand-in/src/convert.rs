//! MQGMO_CONVERT: the little that is converted here, and what is said of the rest.
//!
//! A text is converted between UTF-8 and ISO 8859-1. Whatever else would have to be is given
//! as it is, with a warning, as a queue manager gives what it has no table for.

use libmqm_sys as mq;

use crate::{
    descriptor::{CCSID, ENCODING, FORMAT, field, set_field},
    manager::CCSID as OWN,
    store::Reason,
};

const UTF_8: i32 = 1208;
const LATIN_1: i32 = 819;

/// Converts a message to the character set and encoding of the caller's descriptor; an error
/// is the reason of the warning that it is not.
pub(crate) fn convert(
    wanted: &[u8],
    descriptor: &mut [u8],
    message: &mut Vec<u8>,
) -> Result<(), Reason> {
    let target = match field(wanted, CCSID) {
        mq::MQCCSI_Q_MGR => OWN,
        own => own,
    };
    let (from, encoding) = (field(descriptor, CCSID), field(wanted, ENCODING));
    if from == target && field(descriptor, ENCODING) == encoding {
        return Ok(());
    }
    match &descriptor[FORMAT..FORMAT + 8] {
        b"MQSTR   " => {}
        b"        " => return Err(mq::MQRC_FORMAT_ERROR),
        _ => return Err(mq::MQRC_NOT_CONVERTED),
    }
    let text = match from {
        UTF_8 => std::str::from_utf8(message).ok().map(str::to_owned),
        LATIN_1 => Some(message.iter().copied().map(char::from).collect()),
        _ => return Err(mq::MQRC_SOURCE_CCSID_ERROR),
    };
    let text: String = text.ok_or(mq::MQRC_NOT_CONVERTED)?;
    *message = match target {
        UTF_8 => text.into_bytes(),
        // What the set lacks becomes a substitute, as in MQ.
        LATIN_1 => text
            .chars()
            .map(|it| u8::try_from(it).unwrap_or(0x1a))
            .collect(),
        _ => return Err(mq::MQRC_TARGET_CCSID_ERROR),
    };
    set_field(descriptor, CCSID, target);
    set_field(descriptor, ENCODING, encoding);
    Ok(())
}
