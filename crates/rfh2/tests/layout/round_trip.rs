//! What is written is read back.

use proptest::{collection::vec, option, prelude::*, sample::select};
use quorate_rfh2::{
    ByteOrder, ContentDescriptor, ENCODING_BIG, ENCODING_LITTLE, FolderCharset, JmsFolders,
    JmsMessageClass, MQHRF2, PropertyValue, Rfh2Header, read_all,
};

fn text() -> impl Strategy<Value = String> {
    // All that XML has, with the characters that must be escaped more often than others.
    vec(
        prop_oneof![
            proptest::char::range(' ', '~'),
            prop_oneof![
                Just('&'),
                Just('<'),
                Just('>'),
                Just('\''),
                Just('"'),
                Just(';')
            ],
            prop_oneof![Just('\n'), Just('\r'), Just('\t')],
            proptest::char::range('\u{a0}', '\u{d7ff}'),
            proptest::char::range('\u{10000}', '\u{10ffff}'),
        ],
        0..40,
    )
    .prop_map(|it| it.into_iter().collect())
}

fn value() -> impl Strategy<Value = PropertyValue> {
    prop_oneof![
        Just(PropertyValue::Null),
        text().prop_map(PropertyValue::Text),
        any::<bool>().prop_map(PropertyValue::Boolean),
        any::<i8>().prop_map(PropertyValue::Byte),
        any::<i16>().prop_map(PropertyValue::Short),
        any::<i32>().prop_map(PropertyValue::Int),
        any::<i64>().prop_map(PropertyValue::Long),
        any::<f32>()
            .prop_filter("NaN is not itself", |it| !it.is_nan())
            .prop_map(PropertyValue::Float),
        any::<f64>()
            .prop_filter("NaN is not itself", |it| !it.is_nan())
            .prop_map(PropertyValue::Double),
        vec(any::<u8>(), 0..20).prop_map(PropertyValue::Bytes),
    ]
}

prop_compose! {
    fn jms()(
        class in option::of(prop_oneof![
            Just(JmsMessageClass::Text), Just(JmsMessageClass::Bytes), Just(JmsMessageClass::None),
            Just(JmsMessageClass::Other("jms_map".to_owned())),
        ]),
        texts in vec(option::of(text()), 6),
        priority in option::of(0..10),
        delivery_mode in option::of(1..3),
        expiration_ms in option::of(any::<i64>()),
        timestamp_ms in option::of(any::<i64>()),
        group_sequence in option::of(any::<i32>()),
        properties in vec(("[a-zA-Z_][a-zA-Z0-9_]{0,12}", value()), 0..12),
    ) -> JmsFolders {
        let mut texts = texts.into_iter();
        let mut text = || texts.next().flatten();
        JmsFolders {
            class,
            kind: text(),
            destination: text(),
            reply_to: text(),
            correlation_id: text(),
            priority,
            delivery_mode,
            expiration_ms,
            timestamp_ms,
            group_id: text(),
            group_sequence,
            client_id: text(),
            properties,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn written_message_is_read_back(
        jms in jms(),
        charset in select(&FolderCharset::ALL[..]),
        big in any::<bool>(),
        body in vec(any::<u8>(), 0..64),
    ) {
        let (endian, encoding) = if big { (ByteOrder::Big, ENCODING_BIG) } else { (ByteOrder::Little, ENCODING_LITTLE) };
        let header = Rfh2Header {
            next: ContentDescriptor { encoding, ccsid: 1208, format: *b"MQSTR   " },
            flags: 0,
            folder_charset: charset,
            folders: jms.write().unwrap(),
        };
        let mut message = header.write(endian).unwrap();
        prop_assert!(message.len().is_multiple_of(4));
        message.extend(&body);
        let contents = ContentDescriptor { encoding, ccsid: 1208, format: MQHRF2 };
        let (headers, after, at) = read_all(&message, contents).unwrap();
        prop_assert_eq!(after, header.next);
        prop_assert_eq!(headers[0].folder_charset, charset);
        prop_assert_eq!(&message[at..], &body[..]);
        prop_assert_eq!(JmsFolders::read(&headers).unwrap(), jms);
    }
}
