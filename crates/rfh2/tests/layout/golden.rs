//! Bytes written by hand, field by field, as "MQRFH2 - Rules and formatting header 2" in IBM's
//! reference describes them.

use quorate_rfh2::{
    ByteOrder, ContentDescriptor, ENCODING_BIG, ENCODING_LITTLE, FolderCharset, FolderElement,
    JmsFolders, JmsMessageClass, MQHRF2, PropertyValue, Rfh2Error, Rfh2Header, read_all,
};

/// A JMS text message of a big endian machine: two folders and the body.
pub fn big_endian() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(b"RFH "); // StrucId
    bytes.extend([0, 0, 0, 2]); // Version
    bytes.extend([0, 0, 0, 128]); // StrucLength: 36 + (4 + 32) + (4 + 52)
    bytes.extend([0, 0, 0x01, 0x11]); // Encoding: 273, all big endian
    bytes.extend([0, 0, 0x04, 0xB8]); // CodedCharSetId: 1208
    bytes.extend(b"MQSTR   "); // Format
    bytes.extend([0, 0, 0, 0]); // Flags: MQRFH_NO_FLAGS
    bytes.extend([0, 0, 0x04, 0xB8]); // NameValueCCSID: 1208
    bytes.extend([0, 0, 0, 32]); // NameValueLength
    bytes.extend(b"<mcd><Msd>jms_text</Msd></mcd>  "); // NameValueData, two blanks to pad
    bytes.extend([0, 0, 0, 52]); // NameValueLength
    bytes.extend(b"<jms><Dst>queue:///ORDERS</Dst><Pri>4</Pri></jms>   "); // three blanks
    bytes.extend("Grüße".as_bytes()); // the body
    bytes
}

/// The same fields in the other order, with typed properties, no body.
pub fn little_endian() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(b"RFH "); // StrucId
    bytes.extend([2, 0, 0, 0]); // Version
    bytes.extend([120, 0, 0, 0]); // StrucLength: 36 + (4 + 80)
    bytes.extend([0x22, 0x02, 0, 0]); // Encoding: 546, all little endian
    bytes.extend([0xFE, 0xFF, 0xFF, 0xFF]); // CodedCharSetId: -2, MQCCSI_INHERIT
    bytes.extend(b"        "); // Format: MQFMT_NONE
    bytes.extend([0, 0, 0, 0]); // Flags
    bytes.extend([0xB8, 0x04, 0, 0]); // NameValueCCSID: 1208
    bytes.extend([80, 0, 0, 0]); // NameValueLength
    bytes.extend(
        b"<usr><n dt='i4'>-7</n><ok dt='boolean'>1</ok><s>a &amp; b &lt; &apos;</s></usr> ",
    );
    bytes
}

fn contents(encoding: i32) -> ContentDescriptor {
    ContentDescriptor {
        encoding,
        ccsid: 819,
        format: MQHRF2,
    }
}

#[test]
fn a_big_endian_text_message() {
    let message = big_endian();
    let (headers, body, at) = read_all(&message, contents(ENCODING_BIG)).unwrap();
    assert_eq!(headers.len(), 1);
    assert_eq!(
        (body.encoding, body.ccsid, &body.format),
        (273, 1208, b"MQSTR   ")
    );
    assert_eq!(&message[at..], "Grüße".as_bytes());
    let jms = JmsFolders::read(&headers).unwrap();
    assert_eq!(jms.class, Some(JmsMessageClass::Text));
    assert_eq!(jms.destination.as_deref(), Some("queue:///ORDERS"));
    assert_eq!(jms.priority, Some(4));
    assert_eq!(jms.properties, []);
}

#[test]
fn mainframe_header_has_names_in_ebcdic() {
    let mut message = big_endian();
    message[..4].copy_from_slice(b"\xd9\xc6\xc8\x40"); // RFH
    message[20..28].copy_from_slice(b"\xd4\xd8\xe2\xe3\xd9\x40\x40\x40"); // MQSTR
    let (headers, body, _) = read_all(&message, contents(ENCODING_BIG)).unwrap();
    assert_eq!(&body.format, b"MQSTR   ");
    assert_eq!(JmsFolders::read(&headers).unwrap().priority, Some(4));
    // What is written has them in ASCII.
    let written = headers[0].write(ByteOrder::Big).unwrap();
    assert_eq!(
        (&written[..4], &written[20..28]),
        (&b"RFH "[..], &b"MQSTR   "[..])
    );
}

#[test]
fn a_little_endian_message_with_typed_properties() {
    let (headers, body, at) = read_all(&little_endian(), contents(ENCODING_LITTLE)).unwrap();
    assert_eq!(at, little_endian().len());
    assert_eq!(
        (body.encoding, body.ccsid),
        (546, 819),
        "the set is the descriptor's"
    );
    let jms = JmsFolders::read(&headers).unwrap();
    assert_eq!(
        jms.properties,
        [
            ("n".to_owned(), PropertyValue::Int(-7)),
            ("ok".to_owned(), PropertyValue::Boolean(true)),
            ("s".to_owned(), PropertyValue::Text("a & b < '".to_owned())),
        ]
    );
}

#[test]
fn values_are_written_as_these_bytes() {
    let text = |name: &str, text: &str| FolderElement::text(name, text);
    let header = Rfh2Header {
        next: ContentDescriptor {
            encoding: ENCODING_BIG,
            ccsid: 1208,
            format: *b"MQSTR   ",
        },
        flags: 0,
        folder_charset: FolderCharset::Utf8,
        folders: vec![
            FolderElement::folder("mcd", vec![text("Msd", "jms_text")]),
            FolderElement::folder(
                "jms",
                vec![text("Dst", "queue:///ORDERS"), text("Pri", "4")],
            ),
        ],
    };
    let mut bytes = header.write(ByteOrder::Big).unwrap();
    bytes.extend("Grüße".as_bytes());
    assert_eq!(bytes, big_endian());

    let jms = JmsFolders {
        properties: vec![
            ("n".to_owned(), PropertyValue::Int(-7)),
            ("ok".to_owned(), PropertyValue::Boolean(true)),
            ("s".to_owned(), PropertyValue::Text("a & b < '".to_owned())),
        ],
        ..JmsFolders::default()
    };
    let header = Rfh2Header {
        next: ContentDescriptor {
            encoding: ENCODING_LITTLE,
            ccsid: -2,
            format: *b"        ",
        },
        flags: 0,
        folder_charset: FolderCharset::Utf8,
        folders: jms.write().unwrap(),
    };
    assert_eq!(header.write(ByteOrder::Little).unwrap(), little_endian());
}

/// A header of a big endian machine whose folders are in UTF-16, as bytes.
pub fn utf_16() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(b"RFH "); // StrucId
    bytes.extend([0, 0, 0, 2]); // Version
    bytes.extend([0, 0, 0, 68]); // StrucLength: 36 + (4 + 28)
    bytes.extend([0, 0, 0x02, 0x22]); // Encoding of what follows: 546
    bytes.extend([0, 0, 0x04, 0xB8]); // CodedCharSetId: 1208
    bytes.extend(b"MQSTR   "); // Format
    bytes.extend([0, 0, 0, 0]); // Flags
    bytes.extend([0, 0, 0x04, 0xB0]); // NameValueCCSID: 1200
    bytes.extend([0, 0, 0, 28]); // NameValueLength
    bytes.extend(b"\0<\0u\0s\0r\0/\0>\0<\0a\0>\x20\xac\0<\0/\0a\0>");
    bytes
}

#[test]
fn utf16_folders_have_the_header_byte_order() {
    let (headers, body, at) = read_all(&utf_16(), contents(ENCODING_BIG)).unwrap();
    assert_eq!((at, body.encoding), (68, 546));
    assert_eq!(headers[0].folder_charset, FolderCharset::Utf16);
    assert_eq!(
        headers[0].folders,
        [
            FolderElement::text("usr", ""),
            FolderElement::text("a", "€")
        ]
    );

    // Written in the other order, and in each of the three sets.
    for charset in FolderCharset::ALL.into_iter().skip(1) {
        let header = Rfh2Header {
            folder_charset: charset,
            folders: vec![FolderElement::text("a", "€")],
            ..headers[0].clone()
        };
        let written = header.write(ByteOrder::Little).unwrap();
        assert_eq!(written[32..36], charset.ccsid().to_le_bytes());
        assert_eq!(written[36..], *b"\x10\0\0\0<\0a\0>\0\xac\x20<\0/\0a\0>\0");
        assert_eq!(
            Rfh2Header::read(&written, contents(ENCODING_LITTLE))
                .unwrap()
                .0,
            header
        );
    }
}

#[test]
fn invalid_utf16_error_has_the_place() {
    let with = |at: usize, bytes: &[u8]| {
        let mut message = utf_16();
        message[at..at + bytes.len()].copy_from_slice(bytes);
        read_all(&message, contents(ENCODING_BIG)).map(|(mut headers, ..)| headers.remove(0))
    };
    // Half of a pair, and a folder of an odd number of bytes.
    assert_eq!(with(58, &[0xD8, 0]), Err(Rfh2Error::Utf16(40)));
    let mut odd = utf_16();
    odd.push(0);
    odd[11] += 1;
    odd[39] += 1;
    assert_eq!(
        read_all(&odd, contents(ENCODING_BIG)),
        Err(Rfh2Error::Utf16(40))
    );
    // A mark at the beginning is no part of it.
    let marked = with(40, b"\xfe\xff\0<\0a\0b\0/\0>").unwrap();
    assert_eq!(marked.folders[0].name, "ab");
}

#[test]
fn header_without_folders_accepts_any_charset() {
    let mut message = big_endian()[..36].to_vec();
    message[8..12].copy_from_slice(&[0, 0, 0, 36]);
    message[32..36].fill(0);
    let (header, _) = Rfh2Header::read(&message, contents(ENCODING_BIG)).unwrap();
    assert_eq!(header.folder_charset, FolderCharset::Utf8);
    assert!(header.write(ByteOrder::Big).is_ok());
}

#[test]
fn a_header_may_follow_a_header() {
    // The first says that an MQRFH2 of the other order follows.
    let mut message = Vec::new();
    message.extend(b"RFH ");
    message.extend([0, 0, 0, 2]);
    message.extend([0, 0, 0, 36]); // no folders
    message.extend([0, 0, 0x02, 0x22]); // Encoding of what follows: little endian
    message.extend([0, 0, 0x04, 0xB8]);
    message.extend(MQHRF2);
    message.extend([0; 4]);
    message.extend([0, 0, 0x04, 0xB8]);
    message.extend(little_endian());
    message.extend(b"body");
    let (headers, body, at) = read_all(&message, contents(ENCODING_BIG)).unwrap();
    assert_eq!(headers.len(), 2);
    assert_eq!((&message[at..], body.ccsid), (&b"body"[..], 1208));
    assert_eq!(JmsFolders::read(&headers).unwrap().properties.len(), 3);
}

#[test]
fn unsupported_header_error_has_the_reason() {
    let with = |at: usize, bytes: &[u8]| {
        let mut message = big_endian();
        message[at..at + bytes.len()].copy_from_slice(bytes);
        read_all(&message, contents(ENCODING_BIG)).unwrap_err()
    };
    assert_eq!(with(0, b"RFX "), Rfh2Error::StrucId("RFX ".to_owned()));
    assert_eq!(with(4, &[0, 0, 0, 1]), Rfh2Error::Version(1));
    assert_eq!(with(8, &[0, 0, 0, 35]), Rfh2Error::StrucLength(35));
    assert_eq!(with(8, &[0xFF; 4]), Rfh2Error::StrucLength(-1));
    assert_eq!(
        with(8, &[0, 1, 0, 0]),
        Rfh2Error::Short {
            needed: 65536,
            there: 135
        }
    );
    assert_eq!(
        with(32, &[0, 0, 0x03, 0x33]),
        Rfh2Error::NameValueCcsid(819)
    );
    // 32 bytes of UTF-8 are 16 characters of UTF-16, of which none begins an element.
    assert!(matches!(
        with(32, &[0, 0, 0x04, 0xB0]),
        Rfh2Error::Xml { .. }
    ));
    assert_eq!(
        with(36, &[0, 0, 0, 89]),
        Rfh2Error::FolderLength {
            at: 36,
            length: 89,
            left: 88
        }
    );
    assert_eq!(with(45, &[0xFF]), Rfh2Error::Utf8(40));
    assert_eq!(
        with(72, &[0, 0, 0, 49]),
        Rfh2Error::Short {
            needed: 129,
            there: 128
        },
        "three bytes after the last folder are no length"
    );
    assert_eq!(
        read_all(&big_endian(), contents(ENCODING_LITTLE)).unwrap_err(),
        Rfh2Error::Version(0x0200_0000)
    );
    assert_eq!(
        read_all(&big_endian(), contents(0)).unwrap_err(),
        Rfh2Error::Encoding(0)
    );
    assert!(matches!(with(40, b"<mxd>"), Rfh2Error::Xml { .. }));
}

#[test]
fn mistyped_values_are_refused() {
    let folder = |xml: &str| {
        let mut bytes = little_endian()[..36].to_vec();
        let mut text = xml.to_owned();
        while !text.len().is_multiple_of(4) {
            text.push(' ');
        }
        bytes.extend((text.len() as i32).to_le_bytes());
        bytes.extend(text.as_bytes());
        let length = bytes.len() as i32;
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        JmsFolders::read(&[Rfh2Header::read(&bytes, contents(ENCODING_LITTLE))
            .unwrap()
            .0])
    };
    for wrong in [
        "<usr><a dt='i1'>128</a></usr>",
        "<usr><a dt='boolean'>2</a></usr>",
        "<usr><a dt='bin.hex'>abc</a></usr>",
        "<usr><a dt='date'>today</a></usr>",
        "<jms><Pri>high</Pri></jms>",
    ] {
        assert!(
            matches!(folder(wrong), Err(Rfh2Error::Typed { .. })),
            "{wrong}"
        );
    }
    let all = "<usr><a dt='i1'>-1</a><b dt='i2'>2</b><c dt='i8'>3</c><d dt='int'>4</d><e dt='r4'>1.5</e><f dt='r8'>2.5E3</f><g dt='bin.hex'>00Ff</g><h dt='string'>h</h><i xsi:nil='true'></i><j><k>deep</k></j></usr>";
    let properties = folder(all).unwrap().properties;
    let values: Vec<PropertyValue> = properties.iter().map(|(_, value)| value.clone()).collect();
    assert_eq!(
        values,
        [
            PropertyValue::Byte(-1),
            PropertyValue::Short(2),
            PropertyValue::Long(3),
            PropertyValue::Long(4),
            PropertyValue::Float(1.5),
            PropertyValue::Double(2500.0),
            PropertyValue::Bytes(vec![0, 0xFF]),
            PropertyValue::Text("h".into()),
            PropertyValue::Null,
            PropertyValue::Text("deep".into()),
        ]
    );
    assert_eq!(properties[9].0, "j.k");
}

#[test]
fn unrepresentable_values_are_refused_when_written() {
    let jms = |name: &str, text: &str| JmsFolders {
        properties: vec![(name.to_owned(), PropertyValue::Text(text.to_owned()))],
        ..JmsFolders::default()
    };
    for name in ["", "order-id", "1st", "a b", "<a>", "a.b", "$a"] {
        assert_eq!(jms(name, "").write(), Err(Rfh2Error::Name(name.to_owned())));
    }
    let header = Rfh2Header {
        next: contents(ENCODING_BIG),
        flags: 0,
        folder_charset: FolderCharset::Utf8,
        folders: jms("a", "\u{0}").write().unwrap(),
    };
    assert_eq!(
        header.write(ByteOrder::Big),
        Err(Rfh2Error::Character("a".to_owned()))
    );
}
