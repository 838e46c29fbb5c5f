//! Message whose properties or routing key can't be read: the readable part, and what is wrong.
//!
//! The [`frame_sanitizer`](super::frame_sanitizer) hands such a message on with its properties as
//! bytes. They are read here as far as they go, for the dead-letter queue: texts that are no UTF-8
//! are percent-encoded, and values of an unknown type are left out. The bytes go along.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString, parsing::parse_value},
};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::{field_extent::extent, frame_sanitizer, header_value::DEPTH};

/// Header with the properties as they came.
const RAW: &str = "x-quorate-raw-properties";
/// Header with the routing key as it came.
const RAW_KEY: &str = "x-quorate-raw-routing-key";
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// Readable part of a message, and what is wrong.
pub(super) struct UnreadableMessage {
    /// Properties, as far as they could be read.
    pub properties: BasicProperties,
    /// Reason, and who can do something about it.
    pub reason: String,
}

/// Returns the readable part of a message that could not be read; `None` of any other.
pub(super) fn unreadable(properties: &BasicProperties) -> Option<UnreadableMessage> {
    let marks = properties.headers().as_ref()?.inner();
    let raw = bytes(marks.get(frame_sanitizer::mark())?)?;
    let key = marks.get(frame_sanitizer::key_mark()).and_then(bytes);
    let mut reader = PropertiesReader {
        left: raw,
        wrong: Vec::new(),
    };
    if let Some(key) = key {
        reader.wrong.push(format!(
            "its routing key or exchange is not UTF-8: {}",
            text(key)
        ));
    }
    let mut properties = BasicProperties::default();
    if reader.properties(&mut properties).is_none() {
        reader.wrong.push("its properties end too early".to_owned());
    }
    let mut headers = properties.headers().clone().unwrap_or_default();
    let mut note = |name: &str, value: &[u8]| {
        headers.insert(name.into(), AMQPValue::ByteArray(value.to_vec().into()));
    };
    note(RAW, raw);
    if let Some(key) = key {
        note(RAW_KEY, key);
    }
    Some(UnreadableMessage {
        properties: properties.with_headers(headers),
        reason: format!(
            "the message can't be read: {}; its sender is to be corrected",
            reader.wrong.join(", ")
        ),
    })
}

fn bytes(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::ByteArray(bytes) => Some(bytes.as_slice()),
        _ => None,
    }
}

/// Returns the text as it is where it is UTF-8, else percent-encoded, and no longer than AMQP has
/// it.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => percent_encode(bytes, ENCODED).to_string(),
    }
}

fn short(bytes: &[u8]) -> ShortString {
    let mut text = text(bytes);
    // Longer texts are percent-encoded, hence ASCII.
    text.truncate(255);
    ShortString::try_new(text).unwrap_or_default()
}

struct PropertiesReader<'a> {
    left: &'a [u8],
    /// Errors found so far.
    wrong: Vec<String>,
}

impl<'a> PropertiesReader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(count)?;
        self.left = left;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn short(&mut self, what: &str) -> Option<ShortString> {
        let length = usize::from(self.byte()?);
        let bytes = self.take(length)?;
        if std::str::from_utf8(bytes).is_err() {
            self.wrong.push(format!("{what} is not UTF-8"));
        }
        Some(short(bytes))
    }

    /// Reads the properties in the order of their flags. `None`: they end too early.
    fn properties(&mut self, to: &mut BasicProperties) -> Option<()> {
        let flags = self.take(2)?;
        let flags = u16::from_be_bytes([flags[0], flags[1]]);
        let has = |bit: u32| flags & (1 << bit) != 0;
        self.keep(
            to,
            has(15),
            "content type",
            BasicProperties::with_content_type,
        )?;
        self.keep(
            to,
            has(14),
            "content encoding",
            BasicProperties::with_content_encoding,
        )?;
        if has(13) {
            let headers = self.headers()?;
            *to = std::mem::take(to).with_headers(headers);
        }
        if has(12) {
            let mode = self.byte()?;
            *to = std::mem::take(to).with_delivery_mode(mode);
        }
        if has(11) {
            let priority = self.byte()?;
            *to = std::mem::take(to).with_priority(priority);
        }
        self.keep(
            to,
            has(10),
            "correlation id",
            BasicProperties::with_correlation_id,
        )?;
        self.keep(to, has(9), "reply-to", BasicProperties::with_reply_to)?;
        self.keep(to, has(8), "expiration", BasicProperties::with_expiration)?;
        self.keep(to, has(7), "message id", BasicProperties::with_message_id)?;
        if has(6) {
            let at = self.take(8)?.try_into().ok()?;
            *to = std::mem::take(to).with_timestamp(u64::from_be_bytes(at));
        }
        self.keep(to, has(5), "type", BasicProperties::with_type)?;
        self.keep(to, has(4), "user id", BasicProperties::with_user_id)?;
        self.keep(to, has(3), "app id", BasicProperties::with_app_id)?;
        self.keep(to, has(2), "cluster id", BasicProperties::with_cluster_id)
    }

    fn keep(
        &mut self,
        to: &mut BasicProperties,
        there: bool,
        what: &str,
        with: fn(BasicProperties, ShortString) -> BasicProperties,
    ) -> Option<()> {
        if there {
            let value = self.short(what)?;
            *to = with(std::mem::take(to), value);
        }
        Some(())
    }

    fn headers(&mut self) -> Option<FieldTable> {
        let length = self.take(4)?.try_into().ok()?;
        let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
        let mut entries = PropertiesReader {
            left: self.take(length)?,
            wrong: Vec::new(),
        };
        let mut table = FieldTable::default();
        while !entries.left.is_empty() {
            let Some((name, value)) = entries.entry() else {
                entries
                    .wrong
                    .push("the rest of its headers can't be read".to_owned());
                break;
            };
            if let Some(value) = value {
                table.insert(name, value);
            }
        }
        self.wrong.append(&mut entries.wrong);
        Some(table)
    }

    /// Reads a header; without a value where that can't be read and its end is known.
    fn entry(&mut self) -> Option<(ShortString, Option<AMQPValue>)> {
        let name = self.short("the name of a header")?;
        let extent = self
            .left
            .split_first()
            .and_then(|(kind, rest)| extent(*kind, rest));
        // Deeper values are not read here, as that takes stack.
        if extent.is_some_and(|it| it.depth <= DEPTH)
            && let Ok((left, value)) = parse_value(self.left)
        {
            self.left = left;
            return Some((name, Some(value)));
        }
        let kind = self.byte()?;
        if !matches!(kind, b'F' | b'A') {
            let of = char::from(kind);
            self.wrong.push(format!(
                "the header {name:?} has a value of the unknown type {of:?}"
            ));
            return None;
        }
        let length = self.take(4)?.try_into().ok()?;
        self.take(usize::try_from(u32::from_be_bytes(length)).ok()?)?;
        self.wrong.push(format!(
            "a name or a type in the header {name:?} is wrong, or it is too deep"
        ));
        Some((name, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the message as the frame sanitizer hands it on.
    fn of(flags: u16, properties: &[u8], key: Option<&[u8]>) -> UnreadableMessage {
        let mut marks = FieldTable::default();
        let raw = [&flags.to_be_bytes()[..], properties].concat();
        marks.insert(
            frame_sanitizer::mark().into(),
            AMQPValue::ByteArray(raw.into()),
        );
        if let Some(key) = key {
            let key = AMQPValue::ByteArray(key.to_vec().into());
            marks.insert(frame_sanitizer::key_mark().into(), key);
        }
        unreadable(&BasicProperties::default().with_headers(marks)).unwrap()
    }

    #[test]
    fn readable_part_is_kept_and_error_named() {
        let flags = 1 << 15 | 1 << 12 | 1 << 10 | 1 << 7;
        let it = of(flags, b"\x0atext/plain\x02\x03\xff\xfe\x01\x02m1", None);
        let told = &it.properties;
        let text = |it: &Option<ShortString>| it.as_ref().map(ToString::to_string).unwrap();
        assert_eq!(text(told.content_type()), "text/plain");
        assert_eq!(text(told.correlation_id()), "%FF%FE%01");
        assert_eq!(text(told.message_id()), "m1");
        assert_eq!(*told.delivery_mode(), Some(2));
        assert!(
            it.reason.contains("correlation id is not UTF-8"),
            "{}",
            it.reason
        );
        assert!(told.headers().as_ref().unwrap().contains_key(RAW));
    }

    #[test]
    fn headers_around_a_wrong_one_are_kept() {
        let entry = |name: &[u8], value: &[u8]| [&[name.len() as u8], name, value].concat();
        let nested = entry(b"\xff", b"t\x01");
        let nested = [b"F", &(nested.len() as u32).to_be_bytes()[..], &nested].concat();
        let table = [
            entry(b"good", b"t\x01"),
            entry(b"b\xffd", b"t\x00"),
            entry(b"deep", &nested),
            entry(b"after", b"t\x01"),
            entry(b"odd", b"?1234"),
        ]
        .concat();
        let table = [&(table.len() as u32).to_be_bytes()[..], &table].concat();
        let it = of(1 << 13, &table, None);
        let headers = it.properties.headers().as_ref().unwrap();
        for name in ["good", "b%FFd", "after"] {
            assert!(headers.contains_key(name), "{name}: {headers:?}");
        }
        for part in ["the name of a header", "\"deep\"", "unknown type '?'"] {
            assert!(it.reason.contains(part), "{part}: {}", it.reason);
        }
    }

    #[test]
    fn no_unreadable_message_ends_the_process() {
        for properties in [&b"\xff"[..], b"\x05ab", b"", b"\x00\x00\x00\xff"] {
            for flags in [1 << 15, 1 << 13, 1 << 6, u16::MAX] {
                assert!(of(flags, properties, None).reason.contains("can't be read"));
            }
        }
        let key = of(0, b"", Some(b"\xffkey"));
        assert!(key.reason.contains("%FFkey"), "{}", key.reason);
    }

    #[test]
    fn a_message_without_marks_is_none_of_these() {
        assert!(unreadable(&BasicProperties::default()).is_none());
    }
}
