//! Message of MQ as the run loop knows messages.

use bytes::Bytes;
use libmqm_sys as mq;
use quorate_proto::connector::Header;
use quorate_rfh2::{ContentDescriptor, JmsFolders, JmsMessageClass, PropertyValue, Rfh2Error};

use super::{
    super::broker_link::IncomingMessage,
    charset::{decode, is_known},
    conversion::{BrowsedMessage, NotConverted},
    fixed_fields::{id, text},
    message_headers::{contents, read_headers},
    put_time::put_time_ms,
};

const TEXT: &str = "text/plain; charset=utf-8";
const XML: &str = "text/xml; charset=utf-8";
const BINARY: &str = "application/octet-stream";
const JAVA: &str = "application/x-java-serialized-object";

/// Message as it was read.
pub(super) struct MqReadMessage {
    pub message: IncomingMessage,
    /// True if the text is in a character set that the tables here lack, and the queue manager has
    /// not been asked for it.
    pub needs_conversion: bool,
}

/// Reads a message. `raw` is what was got: headers, and then the body. `browsed` is what the queue
/// manager made of it, if it was asked.
///
/// A message whose headers can't be read is handed on whole, as bytes, with the reason in the
/// property `malformed`. It would be wrong to decide more here: only the holder of the lease may
/// take it from its queue, and only the service knows whether it can do without headers. A service
/// that can't refuses it, and after its tries it goes to the backout queue as any other.
pub(super) fn read(
    descriptor: &mq::MQMD2,
    raw: &Bytes,
    jms: bool,
    browsed: Option<&BrowsedMessage>,
) -> MqReadMessage {
    let contents = contents(descriptor);
    let mut properties = PropertyList::default();
    let read = read_headers(raw, contents);
    properties.add("malformed", read.as_ref().err().map(Rfh2Error::to_string));
    let (headers, inner, at) = read.unwrap_or((JmsFolders::default(), contents, 0));
    let headers = if jms { headers } else { JmsFolders::default() };
    let body = raw.slice(at..);
    let kind = content_type(headers.class.as_ref(), &inner.format);
    let message_headers = property_headers(properties.add_all(descriptor, headers, inner));

    let textual = matches!(kind, TEXT | XML);
    let askable = textual && !is_known(inner.ccsid) && is_set(inner.ccsid);
    let (content_type, body) = if textual {
        let asked = browsed.filter(|_| askable);
        match text_of(&body, inner, asked) {
            Ok(text) => (kind, Bytes::from(text)),
            Err(why) => {
                properties.add("ccsid", Some(inner.ccsid.to_string()));
                properties.add("not-converted", Some(why.to_string()));
                (BINARY, body)
            }
        }
    } else {
        (kind, body)
    };
    let message = IncomingMessage {
        id: id(&descriptor.MsgId),
        content_type: content_type.to_owned(),
        headers: message_headers,
        properties: properties.0,
        body,
        redelivered: descriptor.BackoutCount > 0,
        delivery_count: u32::try_from(descriptor.BackoutCount).unwrap_or(0),
        ..IncomingMessage::default()
    };
    MqReadMessage {
        message,
        needs_conversion: askable && browsed.is_none(),
    }
}

/// Properties of a message, in the order in which they are added.
#[derive(Default)]
struct PropertyList(Vec<Header>);

impl PropertyList {
    fn add(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.0.push(Header {
                name: name.to_owned(),
                value: value.into(),
            });
        }
    }

    /// Adds the properties from the descriptor and the JMS folders; returns the sender's own.
    fn add_all(
        &mut self,
        descriptor: &mq::MQMD2,
        headers: JmsFolders,
        inner: ContentDescriptor,
    ) -> Vec<(String, PropertyValue)> {
        let zero = |id: &[u8; 24]| id.iter().all(|byte| *byte == 0);
        let correlation = || {
            let own = &descriptor.CorrelId;
            (!zero(own)).then(|| id(own))
        };
        let reply = || {
            let queue = text(&descriptor.ReplyToQ);
            (!queue.is_empty())
                .then(|| format!("queue://{}/{queue}", text(&descriptor.ReplyToQMgr)))
        };
        self.add(
            "correlation-id",
            headers.correlation_id.or_else(correlation),
        );
        self.add("reply-to", headers.reply_to.or_else(reply));
        self.add("destination", headers.destination);
        self.add("type", headers.kind);
        self.add("priority", Some(descriptor.Priority.to_string()));
        let persistent = descriptor.Persistence == mq::MQPER_PERSISTENT;
        let mode = if persistent { "2" } else { "1" };
        self.add("delivery-mode", Some(mode.to_owned()));
        let left = i64::from(descriptor.Expiry);
        self.add(
            "expiration-ms",
            (left > 0).then(|| (left * 100).to_string()),
        );
        let sent = headers.timestamp_ms.or_else(|| put_time_ms(descriptor));
        self.add("timestamp-ms", sent.map(|it| it.to_string()));
        self.add("group-id", headers.group_id);
        self.add(
            "group-sequence",
            headers.group_sequence.map(|it| it.to_string()),
        );
        self.add(
            "message-class",
            headers.class.as_ref().map(|it| it.name().to_owned()),
        );
        self.add(
            "format",
            Some(String::from_utf8_lossy(&inner.format).trim_end().to_owned()),
        );
        self.add("app-id", Some(text(&descriptor.PutApplName)));
        self.add("user-id", Some(text(&descriptor.UserIdentifier)));
        headers.properties
    }
}

/// Returns true if this is the number of a character set: some numbers refer to one given
/// elsewhere.
fn is_set(ccsid: i32) -> bool {
    (1..65535).contains(&ccsid)
}

/// Returns the text of a body by our tables, or as the queue manager converted it; or why there is
/// none.
fn text_of(
    body: &[u8],
    inner: ContentDescriptor,
    browsed: Option<&BrowsedMessage>,
) -> Result<String, NotConverted> {
    if let Some(text) = decode(body, inner.ccsid, inner.encoding) {
        return Ok(text);
    }
    match browsed {
        Some(browsed) => browsed.text().map(str::to_owned),
        None if is_known(inner.ccsid) => Err(NotConverted::NoText),
        None => Err(NotConverted::UnknownCharset),
    }
}

fn property_headers(properties: Vec<(String, PropertyValue)>) -> Vec<Header> {
    let with_value = properties
        .into_iter()
        .filter(|(_, it)| *it != PropertyValue::Null);
    with_value
        .map(|(name, value)| Header {
            name,
            value: value.to_string().into(),
        })
        .collect()
}

/// Returns the content type by the JMS class; without one, by the format.
fn content_type(class: Option<&JmsMessageClass>, format: &[u8; 8]) -> &'static str {
    match class {
        Some(JmsMessageClass::Text) => TEXT,
        Some(JmsMessageClass::Bytes) => BINARY,
        Some(JmsMessageClass::Other(name)) if matches!(name.as_str(), "jms_map" | "jms_stream") => {
            XML
        }
        Some(JmsMessageClass::Other(name)) if name == "jms_object" => JAVA,
        _ if format == b"MQSTR   " => TEXT,
        Some(JmsMessageClass::None) => "",
        _ => BINARY,
    }
}
