//! Parser of a message to be sent, from its HTTP form.
//!
//! The body is the message's, `Content-Type` its content type, `Quorate-Header-NAME` a header of
//! its own, `Quorate-Property-NAME` a property of the broker's protocol, `Quorate-Message-Id` its
//! id. The same names stand on the call that a service gets for a message that has come (see
//! [`super::message_headers`]).

use bytes::Bytes;
use http::{HeaderMap, header};
use quorate_proto::connector::{Header, Send};

use super::{
    message_error::MessageError,
    message_headers::{HeaderEncodings, OWN, PROPERTY},
};

/// Longest value in a query, in bytes.
const VALUE_MAX: usize = 8 << 10;
/// Longest message id, in bytes: AMQP's bound, and enough for the others.
const ID_MAX: usize = 255;

/// Reads a message. In a query `routing_key=a` is the property `routing-key`. The error names what
/// is wrong.
pub fn parse_message(
    headers: &HeaderMap,
    query: Option<&str>,
    body: Bytes,
    cid: String,
) -> Result<Send, MessageError> {
    let mut message = Send {
        body,
        cid,
        ..Send::default()
    };
    let listed = HeaderEncodings::read(headers)?;
    for (name, value) in headers {
        let name = name.as_str();
        let header = |name: &str| Header {
            name: name.to_owned(),
            value: listed.property(name, value.as_bytes()),
        };
        if let Some(own) = name.strip_prefix(OWN) {
            let (header, typed) = listed.header(own, value.as_bytes())?;
            message.headers.push(header);
            message.types.extend(typed);
        } else if let Some(property) = name.strip_prefix(PROPERTY) {
            put(&mut message.properties, header(property))?;
        } else if name == header::CONTENT_TYPE.as_str() {
            message.content_type = text(name, &header(name).value)?;
        } else if name == header::CONTENT_ENCODING.as_str() {
            put(&mut message.properties, header(name))?;
        } else if name == "quorate-message-id" {
            message.message_id = text(name, &header("message-id").value)?;
        }
    }
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if value.len() > VALUE_MAX {
            return Err(MessageError::LongValue {
                name: name.into_owned(),
                bytes: value.len(),
                most: VALUE_MAX,
            });
        }
        let name = name.replace('_', "-").to_ascii_lowercase();
        if name == "message-id" {
            message.message_id = value.into_owned();
            continue;
        }
        let value = Bytes::from(value.into_owned());
        put(&mut message.properties, Header { name, value })?;
    }
    if message.message_id.len() > ID_MAX {
        return Err(MessageError::LongId {
            bytes: message.message_id.len(),
            most: ID_MAX,
        });
    }
    Ok(message)
}

/// Adds a property: one value for each.
fn put(properties: &mut Vec<Header>, property: Header) -> Result<(), MessageError> {
    if let Some(before) = properties.iter().find(|it| it.name == property.name) {
        // Content-Encoding stands for the property as well.
        if before.value == property.value {
            return Ok(());
        }
        return Err(MessageError::Twice(property.name));
    }
    properties.push(property);
    Ok(())
}

fn text(name: &str, value: &[u8]) -> Result<String, MessageError> {
    String::from_utf8(value.to_vec()).map_err(|_| MessageError::NotUtf8(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    http::HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    fn pairs(list: &[Header]) -> Vec<(&str, &[u8])> {
        list.iter()
            .map(|it| (it.name.as_str(), &*it.value))
            .collect()
    }

    #[test]
    fn a_message_is_read_from_headers_and_query() {
        let headers = headers(&[
            ("content-type", "application/json"),
            ("quorate-header-tenant", "a"),
            ("quorate-property-priority", "7"),
            ("quorate-message-id", "m-1"),
            ("x-other", "stays behind"),
        ]);
        let message = parse_message(
            &headers,
            Some("exchange=&routing_key=a%20b"),
            Bytes::from_static(b"{}"),
            "K1".into(),
        )
        .unwrap();
        assert_eq!(message.content_type, "application/json");
        assert_eq!(message.message_id, "m-1");
        assert_eq!(pairs(&message.headers), [("tenant", &b"a"[..])]);
        let properties = pairs(&message.properties);
        let wanted: [(&str, &[u8]); 3] = [
            ("priority", b"7"),
            ("exchange", b""),
            ("routing-key", b"a b"),
        ];
        assert_eq!(properties, wanted);
    }

    #[test]
    fn property_given_twice_is_refused() {
        let headers = headers(&[("quorate-property-routing-key", "a")]);
        let error =
            parse_message(&headers, Some("routing_key=b"), Bytes::new(), "K".into()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("routing-key"), "{error}");
        let long = format!("routing_key={}", "x".repeat(VALUE_MAX + 1));
        assert!(parse_message(&HeaderMap::new(), Some(&long), Bytes::new(), "K".into()).is_err());
    }
}
