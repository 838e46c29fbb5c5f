//! Copy of a message for the backout queue.

use libmqm_sys as mq;
use quorate_rfh2::{
    ByteOrder, ContentDescriptor, ENCODING_NATIVE, FolderCharset, FolderElement, JmsFolders,
    MQHRF2, PropertyValue, Rfh2Error, Rfh2Header,
};

use super::{super::broker_link::DeadLetterInfo, message_headers::contents};

/// Longest reason in a property, in bytes.
const REASON_MAX: usize = 1000;

/// Returns the copy: the message as it was, but persistent, without what would let it expire or
/// have reports made of it, and with the reason in its `usr` folder. A message without a header
/// gets one; a message whose header can't be read keeps that, behind ours.
pub(super) fn copy(
    descriptor: &mq::MQMD2,
    raw: &[u8],
    info: &DeadLetterInfo,
) -> Result<(mq::MQMD2, Vec<u8>), Rfh2Error> {
    let mut to = *descriptor;
    to.Persistence = mq::MQPER_PERSISTENT;
    to.Expiry = mq::MQEI_UNLIMITED;
    to.Report = mq::MQRO_NONE;
    let own = contents(descriptor);
    let (mut header, endian, at) = match first(raw, own) {
        Some(first) => first,
        None => {
            let bare = Rfh2Header {
                next: own,
                flags: 0,
                folder_charset: FolderCharset::Utf8,
                folders: Vec::new(),
            };
            to.Encoding = ENCODING_NATIVE;
            let endian = ByteOrder::from_encoding(ENCODING_NATIVE)?;
            (bare, endian, 0)
        }
    };
    // Whatever the character set was: the header's names are written in ASCII.
    to.CodedCharSetId = 1208;
    to.Format = MQHRF2.map(|byte| byte as mq::MQCHAR);
    note(&mut header, info)?;
    let mut body = header.write(endian)?;
    body.extend(&raw[at..]);
    Ok((to, body))
}

/// Returns the message's first header, if it has one that can be read and written.
fn first(raw: &[u8], own: ContentDescriptor) -> Option<(Rfh2Header, ByteOrder, usize)> {
    if own.format != MQHRF2 {
        return None;
    }
    let endian = ByteOrder::from_encoding(own.encoding).ok()?;
    let (header, at) = Rfh2Header::read(raw, own).ok()?;
    header.write(endian).ok()?;
    Some((header, endian, at))
}

fn note(header: &mut Rfh2Header, info: &DeadLetterInfo) -> Result<(), Rfh2Error> {
    let notes = JmsFolders {
        properties: vec![
            (
                "quorate_reason".to_owned(),
                PropertyValue::Text(clean(&info.reason)),
            ),
            (
                "quorate_attempts".to_owned(),
                PropertyValue::Int(i32::try_from(info.attempts).unwrap_or(i32::MAX)),
            ),
            (
                "quorate_cid".to_owned(),
                PropertyValue::Text(clean(&info.cid)),
            ),
            (
                "quorate_channel".to_owned(),
                PropertyValue::Text(clean(&info.channel)),
            ),
        ],
        ..JmsFolders::default()
    };
    let notes = notes.write()?;
    let notes = notes.into_iter().flat_map(|folder| folder.children);
    match header
        .folders
        .iter_mut()
        .find(|folder| folder.name == "usr")
    {
        Some(usr) => {
            usr.children
                .retain(|child| !child.name.starts_with("quorate_"));
            usr.children.extend(notes);
        }
        None => header
            .folders
            .push(FolderElement::folder("usr", notes.collect())),
    }
    Ok(())
}

/// Returns the text cut to the bound, without characters that XML can't carry.
fn clean(text: &str) -> String {
    let mut end = text.len().min(REASON_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let plain = |it: char| {
        if it.is_control() || matches!(it, '\u{fffe}' | '\u{ffff}') {
            ' '
        } else {
            it
        }
    };
    text[..end].chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use libmqm_default::MQMD2_DEFAULT;
    use quorate_rfh2::{ENCODING_BIG, read_all};

    use super::*;

    fn info() -> DeadLetterInfo {
        DeadLetterInfo {
            reason: format!("no\u{1} {}", "é".repeat(800)),
            attempts: 5,
            cid: "K1".into(),
            channel: "orders".into(),
        }
    }

    fn descriptor(format: &[u8; 8]) -> mq::MQMD2 {
        mq::MQMD2 {
            Format: format.map(|byte| byte as mq::MQCHAR),
            Encoding: ENCODING_BIG,
            CodedCharSetId: 819,
            Expiry: 7,
            Report: 1,
            Persistence: mq::MQPER_NOT_PERSISTENT,
            MsgId: [7; 24],
            ..MQMD2_DEFAULT
        }
    }

    fn read(
        descriptor: &mq::MQMD2,
        body: &[u8],
    ) -> (usize, JmsFolders, ContentDescriptor, Vec<u8>) {
        let (headers, inner, at) = read_all(body, contents(descriptor)).unwrap();
        let jms = JmsFolders::read(&headers).unwrap();
        (headers.len(), jms, inner, body[at..].to_vec())
    }

    fn names(jms: &JmsFolders) -> Vec<&str> {
        jms.properties
            .iter()
            .map(|(name, _)| name.as_str())
            .collect()
    }

    const NOTES: [&str; 4] = [
        "quorate_reason",
        "quorate_attempts",
        "quorate_cid",
        "quorate_channel",
    ];

    #[test]
    fn plain_message_gets_header_and_keeps_content() {
        let (to, body) = copy(&descriptor(b"MQSTR   "), b"Gr\xfc\xdfe", &info()).unwrap();
        assert_eq!((to.Persistence, to.Expiry, to.Report), (1, -1, 0));
        assert_eq!(to.MsgId, [7; 24]);
        let (_, jms, inner, body) = read(&to, &body);
        assert_eq!(
            (inner.ccsid, inner.encoding, &inner.format),
            (819, ENCODING_BIG, b"MQSTR   ")
        );
        assert_eq!(body, b"Gr\xfc\xdfe");
        assert_eq!(names(&jms), NOTES);
        let (_, PropertyValue::Text(reason)) = &jms.properties[0] else {
            panic!()
        };
        assert!(
            reason.starts_with("no  é") && reason.len() <= REASON_MAX,
            "{reason}"
        );
    }

    #[test]
    fn jms_message_keeps_header_and_one_note() {
        let own = JmsFolders {
            kind: Some("order".into()),
            properties: vec![("region".into(), PropertyValue::Text("north".into()))],
            ..JmsFolders::default()
        };
        for folder_charset in FolderCharset::ALL {
            let header = Rfh2Header {
                next: contents(&descriptor(b"MQSTR   ")),
                flags: 0,
                folder_charset,
                folders: own.write().unwrap(),
            };
            let mut message = header.write(ByteOrder::Big).unwrap();
            message.extend(b"body");
            let (to, once) = copy(&descriptor(&MQHRF2), &message, &info()).unwrap();
            let (to, twice) = copy(&to, &once, &info()).unwrap();
            let (headers, jms, _, body) = read(&to, &twice);
            assert_eq!((headers, jms.kind.as_deref()), (1, Some("order")));
            assert_eq!(names(&jms)[0], "region");
            assert_eq!(names(&jms)[1..], NOTES);
            assert_eq!(body, b"body");
            let (header, _) = Rfh2Header::read(&twice, contents(&to)).unwrap();
            assert_eq!(header.folder_charset, folder_charset);
        }
    }

    #[test]
    fn unreadable_header_stays_behind_ours() {
        let (to, body) = copy(&descriptor(&MQHRF2), b"RFH garbage", &info()).unwrap();
        let (header, length) = Rfh2Header::read(&body, contents(&to)).unwrap();
        assert_eq!(header.next.format, MQHRF2);
        assert_eq!(&body[length..], b"RFH garbage");
    }
}
