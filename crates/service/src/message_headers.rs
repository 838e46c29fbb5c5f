//! Headers and properties of a message as headers of HTTP, and back.
//!
//! A message's names may have any letters and its values any bytes and types; HTTP has names of
//! some ASCII characters, in whatever case, and values that are text on one line. What HTTP can't
//! carry is percent-encoded. The values of which that is so, and those that were no text, are
//! listed beside them: `Quorate-Headers-Typed: x-delay=long, note=percent`, and
//! `Quorate-Properties-Encoded: correlation-id`. A service that answers with the headers it was
//! given gives the message back as it was.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{
    AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode, percent_encode, utf8_percent_encode,
};
use quorate_proto::connector::{Header, HeaderType};

use super::message_error::MessageError;

/// Prefix of a header's name.
pub(crate) const OWN: &str = "quorate-header-";
/// Prefix of a property's name.
pub const PROPERTY: &str = "quorate-property-";
/// Number of headers that were not handed on.
const LEFT_OUT: HeaderName = HeaderName::from_static("quorate-headers-left-out");
/// Types of headers that are no plain text.
pub(crate) const TYPED: HeaderName = HeaderName::from_static("quorate-headers-typed");
/// Properties whose values are percent-encoded.
pub(crate) const ENCODED: HeaderName = HeaderName::from_static("quorate-properties-encoded");
/// Type of a text that is percent-encoded.
const PERCENT: &str = "percent";
/// Type of bytes, percent-encoded.
const BYTES: &str = "bytes";

/// Most headers of a message's own that are handed on, and most bytes of them: with what else a
/// request has it stays below the 100 headers and 8 KiB that common servers take. More would be
/// answered with 431 each time, and the message never handled.
const OWN_HEADERS: usize = 64;
const OWN_BYTES: usize = 6 << 10;
/// Bytes of properties that have room beside them; further ones take from their room.
const PROPERTY_BYTES: usize = 1 << 10;

/// All characters but those that a name may have in HTTP; the percent sign is the escape.
const NO_TOKEN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');
/// Characters that a value on one line can't have, or would lose at its ends.
const NO_VALUE: &AsciiSet = &CONTROLS.add(b'%').add(b' ');

/// Adds a message's own headers, as far as there is room beside what is there already: `types` are
/// those of the ones that are no text, `left_out` were left out before. Headers that are left out
/// are counted.
pub fn put_headers(into: &mut HeaderMap, own: &[Header], types: &[HeaderType], left_out: u32) {
    let types: BTreeMap<&str, &str> = types
        .iter()
        .map(|it| (it.name.as_str(), it.kind.as_str()))
        .collect();
    let ambiguous = differ_in_case(own);
    let there: usize = into
        .iter()
        .map(|(name, value)| name.as_str().len() + ": \r\n".len() + value.len())
        .sum();
    let mut bytes = there.saturating_sub(PROPERTY_BYTES);
    let (mut count, mut left_out) = (0, left_out as usize);
    let mut typed = Vec::new();
    for Header { name, value } in own {
        let kind = types.get(name.as_str()).copied();
        let mut name = utf8_percent_encode(name, NO_TOKEN).to_string();
        if ambiguous.contains(&name.to_ascii_lowercase()) {
            name = capitals_encoded(&name);
        }
        name.make_ascii_lowercase();
        let (value, encoded) = carried(value, kind == Some(BYTES));
        let kind = kind.or(encoded.then_some(PERCENT));
        let size = OWN.len()
            + ": \r\n".len()
            + name.len()
            + value.len()
            + kind.map_or(0, |kind| "=, ".len() + name.len() + kind.len());
        let full = count >= OWN_HEADERS || bytes + size > OWN_BYTES;
        let Some(header) = HeaderName::try_from(format!("{OWN}{name}"))
            .ok()
            .filter(|_| !full)
        else {
            left_out += 1;
            continue;
        };
        (count, bytes) = (count + 1, bytes + size);
        into.append(header, value);
        if let Some(kind) = kind {
            typed.push(format!("{name}={kind}"));
        }
    }
    put_list(into, TYPED, &typed);
    if left_out > 0 {
        into.insert(LEFT_OUT, HeaderValue::from(left_out));
    }
}

/// Adds these headers of HTTP, which stand for properties of a message by the names beside them.
pub fn put_properties<'a>(
    into: &mut HeaderMap,
    properties: impl Iterator<Item = (HeaderName, &'a str, &'a [u8])>,
) {
    let mut all_encoded: Vec<String> = Vec::new();
    for (header, name, value) in properties {
        let (value, encoded) = carried(value, false);
        into.append(header, value);
        if encoded && !all_encoded.iter().any(|it| it == name) {
            all_encoded.push(name.to_owned());
        }
    }
    put_list(into, ENCODED, &all_encoded);
}

/// Types of a message's headers, and its properties that are percent-encoded, as its sender lists
/// them.
pub(crate) struct HeaderEncodings {
    types: BTreeMap<String, String>,
    encoded: BTreeSet<String>,
}

impl HeaderEncodings {
    /// Reads the lists. The error names what is wrong.
    pub(crate) fn read(headers: &HeaderMap) -> Result<HeaderEncodings, MessageError> {
        let mut types = BTreeMap::new();
        for item in items(headers, &TYPED)? {
            let (name, kind) = item
                .rsplit_once('=')
                .ok_or_else(|| MessageError::NotTyped(item.to_owned()))?;
            types.insert(name.trim().to_ascii_lowercase(), kind.trim().to_owned());
        }
        let encoded = items(headers, &ENCODED)?
            .map(str::to_ascii_lowercase)
            .collect();
        Ok(HeaderEncodings { types, encoded })
    }

    /// Returns a header of the message's own, from its name in HTTP without the prefix, and its
    /// type where it is no text.
    pub(crate) fn header(
        &self,
        name: &str,
        value: &[u8],
    ) -> Result<(Header, Option<HeaderType>), MessageError> {
        let bare = percent_decode(name.as_bytes())
            .decode_utf8()
            .map_err(|_| MessageError::BadHeaderName(name.to_owned()))?
            .into_owned();
        let kind = self.types.get(name).map(String::as_str);
        let value = match kind {
            Some(PERCENT | BYTES) => percent_decode(value).collect(),
            _ => value.to_vec(),
        };
        let typed = kind.filter(|kind| *kind != PERCENT).map(|kind| HeaderType {
            name: bare.clone(),
            kind: kind.to_owned(),
        });
        let header = Header {
            name: bare,
            value: value.into(),
        };
        Ok((header, typed))
    }

    /// Returns the value of a property.
    pub(crate) fn property(&self, name: &str, value: &[u8]) -> Bytes {
        if self.encoded.contains(name) {
            percent_decode(value).collect::<Vec<u8>>().into()
        } else {
            Bytes::copy_from_slice(value)
        }
    }
}

fn items<'a>(
    headers: &'a HeaderMap,
    list: &HeaderName,
) -> Result<impl Iterator<Item = &'a str> + use<'a>, MessageError> {
    let texts: Result<Vec<&str>, _> = headers
        .get_all(list)
        .iter()
        .map(HeaderValue::to_str)
        .collect();
    let texts = texts.map_err(|_| MessageError::NotAscii(list.clone()))?;
    let items = texts.into_iter().flat_map(|text| text.split(','));
    Ok(items.map(str::trim).filter(|item| !item.is_empty()))
}

fn put_list(into: &mut HeaderMap, name: HeaderName, items: &[String]) {
    if let Ok(value) = HeaderValue::try_from(items.join(", "))
        && !items.is_empty()
    {
        into.insert(name, value);
    }
}

/// Returns the names, in lower case, that several different headers have.
fn differ_in_case(own: &[Header]) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut differ = BTreeSet::new();
    for Header { name, .. } in own {
        let lower = utf8_percent_encode(name, NO_TOKEN)
            .to_string()
            .to_ascii_lowercase();
        if *seen.entry(lower.clone()).or_insert(name) != name {
            differ.insert(lower);
        }
    }
    differ
}

fn capitals_encoded(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    let mut characters = name.chars();
    while let Some(one) = characters.next() {
        if one == '%' {
            // A header that is encoded already stays.
            encoded.push(one);
            encoded.extend(characters.by_ref().take(2));
        } else if one.is_ascii_uppercase() {
            encoded.push_str(&format!("%{:02X}", u32::from(one)));
        } else {
            encoded.push(one);
        }
    }
    encoded
}

/// Returns a value on one line, and true when it is percent-encoded for that.
fn carried(value: &[u8], always: bool) -> (HeaderValue, bool) {
    let at_end = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    let whole = !always && !at_end(value.first()) && !at_end(value.last());
    if whole && let Ok(as_it_is) = HeaderValue::from_bytes(value) {
        return (as_it_is, false);
    }
    let encoded = percent_encode(value, NO_VALUE).to_string();
    let encoded =
        HeaderValue::from_str(&encoded).expect("invariant: percent-encoded text is visible ASCII");
    (encoded, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &[u8]) -> Header {
        Header {
            name: name.into(),
            value: Bytes::copy_from_slice(value),
        }
    }

    fn typed(name: &str, kind: &str) -> HeaderType {
        HeaderType {
            name: name.into(),
            kind: kind.into(),
        }
    }

    /// Handed on, and sent back as it was given.
    #[test]
    fn names_and_values_survive_the_round_trip() {
        let own = [
            header("plain", b"a b"),
            header("Müller", "Grün".as_bytes()),
            header("Ok", b"1"),
            header("ok", b"2"),
            header("sp ace", b" at both ends "),
            header("100%", b"50%"),
            header("lines", b"a\r\nX: y"),
            header("raw", b"\xff\x00bytes"),
            header("n", b"-5"),
            header("empty", b""),
        ];
        let types = [typed("raw", BYTES), typed("n", "long")];
        let mut headers = HeaderMap::new();
        put_headers(&mut headers, &own, &types, 0);
        assert_eq!(headers.len(), own.len() + 1);
        assert_eq!(headers["quorate-header-plain"], "a b");
        assert_eq!(headers["quorate-header-%4fk"], "1");
        assert_eq!(headers["quorate-header-ok"], "2");
        assert_eq!(headers["quorate-header-lines"], "a%0D%0AX:%20y");
        let listed = HeaderEncodings::read(&headers).unwrap();
        let mut back = Vec::new();
        for (name, value) in &headers {
            if let Some(name) = name.as_str().strip_prefix(OWN) {
                back.push(listed.header(name, value.as_bytes()).unwrap());
            }
        }
        for (sent, kind) in [
            (&own[1], None),
            (&own[2], None),
            (&own[4], None),
            (&own[5], None),
            (&own[6], None),
            (&own[7], Some(BYTES)),
            (&own[8], Some("long")),
            (&own[9], None),
        ] {
            // HTTP has lower case, but where that would make two of them one.
            let same = |it: &&(Header, Option<HeaderType>)| {
                it.0.name == sent.name || it.0.name == sent.name.to_lowercase()
            };
            let found = back.iter().find(same);
            let (it, typed) = found.unwrap_or_else(|| panic!("{sent:?} is not in {back:?}"));
            assert_eq!(it.value, sent.value, "{}", sent.name);
            assert_eq!(typed.as_ref().map(|it| it.kind.as_str()), kind);
        }
    }

    // guarantee: MESSAGE-12
    #[test]
    fn headers_left_out_are_counted() {
        let many: Vec<Header> = (0..100).map(|n| header(&format!("h{n}"), b"v")).collect();
        let mut headers = HeaderMap::new();
        put_headers(&mut headers, &many, &[], 2);
        assert_eq!(headers["quorate-headers-left-out"], "38");
        let mut headers = HeaderMap::new();
        put_headers(&mut headers, &many[..1], &[], 0);
        assert!(!headers.contains_key("quorate-headers-left-out"));
        // Properties that are long, and longer once they are encoded, take from the room.
        let mut headers = HeaderMap::new();
        let control = [1_u8; 255];
        let name = HeaderName::from_static("quorate-property-reply-to");
        let long = (0..4).map(|_| (name.clone(), "reply-to", &control[..]));
        put_properties(&mut headers, long);
        let large: Vec<Header> = (0..6)
            .map(|n| header(&format!("h{n}"), &[b'v'; 1000]))
            .collect();
        put_headers(&mut headers, &large, &[], 0);
        assert_eq!(headers["quorate-headers-left-out"], "3");
    }

    #[test]
    fn unprintable_properties_are_encoded_and_listed() {
        let mut headers = HeaderMap::new();
        let name = |name: &'static str| HeaderName::from_static(name);
        let properties: [(HeaderName, &str, &[u8]); 3] = [
            (name("quorate-property-type"), "type", b"a\nb"),
            (name("quorate-property-app-id"), "app-id", b"a b"),
            (name("content-type"), "content-type", b"text/plain\r\nX: y"),
        ];
        put_properties(&mut headers, properties.into_iter());
        assert_eq!(headers["quorate-property-type"], "a%0Ab");
        assert_eq!(headers["quorate-property-app-id"], "a b");
        assert_eq!(headers["content-type"], "text/plain%0D%0AX:%20y");
        assert_eq!(headers["quorate-properties-encoded"], "type, content-type");
        let listed = HeaderEncodings::read(&headers).unwrap();
        assert_eq!(listed.property("type", b"a%0Ab"), &b"a\nb"[..]);
        assert_eq!(listed.property("app-id", b"a%0Ab"), &b"a%0Ab"[..]);
    }

    #[test]
    fn a_list_that_is_none_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(TYPED, HeaderValue::from_static("x-delay"));
        let wrong = HeaderEncodings::read(&headers).err().unwrap().to_string();
        assert!(wrong.contains("x-delay=long"), "{wrong}");
        let nothing = HeaderEncodings::read(&HeaderMap::new()).unwrap();
        assert!(nothing.header("a%FF", b"1").is_err());
    }
}
