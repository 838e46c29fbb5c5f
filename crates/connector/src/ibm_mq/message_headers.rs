//! Headers before the body of a message, and the descriptor's account of them.

use libmqm_sys as mq;
use quorate_rfh2::{ContentDescriptor, JmsFolders, Rfh2Error, Rfh2Header, read_all};

use super::fixed_fields::bytes;

/// Returns the descriptor's account of what follows it.
pub(super) fn contents(descriptor: &mq::MQMD2) -> ContentDescriptor {
    ContentDescriptor {
        encoding: descriptor.Encoding,
        ccsid: descriptor.CodedCharSetId,
        format: bytes(&descriptor.Format),
    }
}

/// Reads the headers before a body; returns them, the format of the body, and where it begins.
pub(super) fn read_headers(
    raw: &[u8],
    contents: ContentDescriptor,
) -> Result<(JmsFolders, ContentDescriptor, usize), Rfh2Error> {
    let (headers, inner, at): (Vec<Rfh2Header>, _, _) = read_all(raw, contents)?;
    Ok((JmsFolders::read(&headers)?, inner, at))
}
